//go:build unix

// Package benchmark is what the benchmarks have in common: how they run, train, and tell what they measured.
package benchmark

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// Main runs a benchmark until it is done or Ctrl-C, and exits with 1 if it failed.
func Main(name string, run func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Machine says on what a number was measured: cores and the load of the last minute, which on a shared machine explains
// most outliers.
func Machine() string {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return fmt.Sprintf("%d cores", runtime.NumCPU())
	}
	minute, _, _ := strings.Cut(string(load), " ")
	return fmt.Sprintf("%d cores, load %s", runtime.NumCPU(), minute)
}

// Median of at least one value; of an even number the upper of the middle two.
func Median(values []float64) float64 { return Quantile(values, 0.5) }

// Quantile is the value nearest to this part (0 to 1) of at least one value in order.
func Quantile(values []float64, part float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(math.Round(part*float64(len(sorted)-1)))]
}

// Verdict says whether a measured value keeps its limit.
func Verdict(value, limit float64) string {
	if value <= limit {
		return "kept"
	}
	return "MISSED"
}
