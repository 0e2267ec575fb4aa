//go:build unix

// Command up measures how long `vibeflow up` takes until everything is ready, and the memory of its idle processes:
//
//	go run ./bench/up [--bin bin/vibeflow] [--rounds 5] [--settle 30s]
//
// The first start makes the data folder and its databases and is told apart; the rounds after it are warm starts on the
// same folder, and their median is held against 3 s. Ready is when `up` says so: Temporal and its UI serve, the API
// answers, control worker and GPU worker poll. After the last start nothing is asked of it for the settle time; then the
// PSS of the four Go processes together (from /proc/PID/smaps_rollup, so Linux alone; what they share is counted once)
// is held against 400 MiB. The warm Python parent and the CPU that idling takes are told beside it, without a limit.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/bench/internal/benchmark"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/platform"
)

const (
	secondsLimit = 3.0
	memoryLimit  = 400.0 // MiB
	// ticks a second, in which Linux tells CPU time to programs.
	ticks = 100
)

var goProcesses = []datadir.Process{datadir.ProcessUp, datadir.ProcessTemporal, datadir.ProcessServer, datadir.ProcessWorker}

func main() { benchmark.Main("up", run) }

func run(ctx context.Context) error {
	bin := flag.String("bin", "", "program to measure (default: $VIBEFLOW_BIN, else bin/vibeflow)")
	rounds := flag.Int("rounds", 5, "warm starts")
	settle := flag.Duration("settle", 30*time.Second, "quiet time before memory is read")
	flag.Parse()
	return benchmark.On(*bin, func(p *platform.Platform) error {
		fmt.Printf("up: %s\n", benchmark.Machine())
		if err := starts(ctx, p, max(*rounds, 1)); err != nil {
			return err
		}
		return idle(ctx, p, *settle)
	})
}

// starts measures the first start and the warm ones, and leaves the last one running.
func starts(ctx context.Context, p *platform.Platform, rounds int) error {
	first, err := p.Start(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("first start, databases made   %6.2f s\n", first.Seconds())
	var warm []float64
	for range rounds {
		if err := p.Stop(); err != nil {
			return err
		}
		took, err := p.Start(ctx)
		if err != nil {
			return err
		}
		warm = append(warm, took.Seconds())
	}
	median := benchmark.Median(warm)
	fmt.Printf("warm start, median of %d       %6.2f s   limit %.0f s: %s   (%s)\n", rounds, median, secondsLimit,
		benchmark.Verdict(median, secondsLimit), list(warm))
	return nil
}

func list(values []float64) string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = strconv.FormatFloat(value, 'f', 2, 64)
	}
	return strings.Join(texts, " ")
}

// idle measures what the processes hold, and what they compute, while nobody asks anything.
func idle(ctx context.Context, p *platform.Platform, settle time.Duration) error {
	before, err := cpuSeconds(p)
	if err != nil {
		return err
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := cpuSeconds(p)
	if err != nil {
		return err
	}
	total := 0.0
	for _, process := range goProcesses {
		pid, _ := p.Dir.Owner(string(process))
		mib, err := pss(pid)
		if err != nil {
			return err
		}
		fmt.Printf("idle memory, %-8s         %6.0f MiB\n", process, mib)
		total += mib
	}
	fmt.Printf("idle memory, Go together      %6.0f MiB   limit %.0f MiB: %s\n", total, memoryLimit, benchmark.Verdict(total, memoryLimit))
	if mib, ok := warmParent(p); ok {
		fmt.Printf("beside it, the warm parent    %6.0f MiB   (Python, everything imported)\n", mib)
	}
	fmt.Printf("idle CPU, Go together         %6.1f %%   of one core, over %s\n", 100*(after-before)/settle.Seconds(), settle)
	return nil
}

// pss is a process's proportional set size in MiB.
func pss(pid int) (float64, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, fmt.Errorf("memory is read from /proc, which is Linux's: %w", err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // "Pss:   12345 kB"
		if len(fields) == 3 && fields[0] == "Pss:" {
			kib, err := strconv.ParseFloat(fields[1], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("%s has no Pss line", file.Name())
}

// cpuSeconds is what the Go processes have computed since their start.
func cpuSeconds(p *platform.Platform) (float64, error) {
	total := 0.0
	for _, process := range goProcesses {
		pid, held := p.Dir.Owner(string(process))
		if !held {
			return 0, p.Explain(fmt.Errorf("%s does not run", process))
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		_, after, _ := strings.Cut(string(stat), ") ") // from the third field on: the second may hold spaces
		fields := strings.Fields(after)
		for _, field := range fields[11:13] { // utime, stime
			value, err := strconv.ParseFloat(field, 64)
			if err != nil {
				return 0, err
			}
			total += value / ticks
		}
	}
	return total, nil
}

// warmParent is the memory of the Python process that forks runners; ok is false while there is none.
func warmParent(p *platform.Platform) (mib float64, ok bool) {
	scratch, err := p.Dir.WorkerScratch("main")
	if err != nil {
		return 0, false
	}
	data, err := os.ReadFile(filepath.Join(scratch, "warm.json"))
	if err != nil {
		return 0, false
	}
	var state struct {
		PID int `json:"pid"`
	}
	if json.Unmarshal(data, &state) != nil {
		return 0, false
	}
	mib, err = pss(state.PID)
	return mib, err == nil
}
