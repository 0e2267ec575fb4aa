//go:build unix

// Command ingest measures how long VibeFlow takes to inspect a JSON Lines file, and its peak memory, beside pandas doing
// the same counts on the same file:
//
//	go run ./bench/ingest [FILE]
//
// Without FILE it generates 200 MB of instruction data. pandas runs in the Python of $VIBEFLOW_PYTHON ("python3" if that
// is not set). Each side is a process of its own, run alternately three times after a warm-up that fills the page cache;
// the medians are printed, and the last lines are the ratios pandas ÷ VibeFlow.
package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/vibeflow/vibeflow/internal/dataset"
)

const (
	rounds         = 3
	generatedBytes = 200 << 20
)

//go:embed counts.py
var pandasScript string

// counts are what both sides compute; they must agree.
type counts struct {
	Rows       int64              `json:"rows"`
	Duplicates int64              `json:"duplicates"`
	Empties    map[string]int64   `json:"empties"`
	MaxChars   map[string]int64   `json:"max_chars"`
	MeanChars  map[string]float64 `json:"mean_chars"`
}

// measurement is one process, from start to end.
type measurement struct {
	seconds float64
	peakMiB float64
	counts  counts
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "ingest:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) == 3 && os.Args[1] == "-inspect" {
		return inspect(os.Args[2])
	}
	file, done, err := input()
	if err != nil {
		return err
	}
	defer done()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ours := []string{self, "-inspect", file}
	theirs := []string{cmp.Or(os.Getenv("VIBEFLOW_PYTHON"), "python3"), "-c", pandasScript, file}
	return compare(file, ours, theirs)
}

// input is the file named on the command line, or a generated one that done removes.
func input() (file string, done func(), err error) {
	if len(os.Args) > 1 {
		return os.Args[1], func() {}, nil
	}
	f, err := os.CreateTemp("", "vibeflow-ingest-*.jsonl")
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	done = func() { os.Remove(f.Name()) }
	if err := generate(f, generatedBytes); err != nil {
		done()
		return "", nil, err
	}
	return f.Name(), done, nil
}

// inspect is the measured process of our side.
func inspect(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	source, err := dataset.FromFile(f)
	if err != nil {
		return err
	}
	file, err := dataset.Open(context.Background(), source)
	if err != nil {
		return err
	}
	profile, err := file.Inspect(context.Background(), dataset.Options{}, nil)
	if err != nil {
		return err
	}
	out := counts{
		Rows: profile.Rows, Duplicates: profile.Duplicates.Rows,
		Empties: map[string]int64{}, MaxChars: map[string]int64{}, MeanChars: map[string]float64{},
	}
	for _, c := range profile.Columns {
		out.Empties[c.Name], out.MaxChars[c.Name], out.MeanChars[c.Name] = c.Empties, c.MaxChars, c.MeanChars
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

func compare(file string, ours, theirs []string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	var runs [2][]measurement
	for round := range rounds + 1 {
		for side, command := range [][]string{ours, theirs} {
			m, err := measure(command)
			if err != nil {
				return err
			}
			if round > 0 {
				runs[side] = append(runs[side], m)
			}
		}
	}
	report(file, info.Size(), median(runs[0]), median(runs[1]))
	return nil
}

func measure(command []string) (measurement, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return measurement{}, fmt.Errorf("%s: %w\n%s", command[0], err, stderr.String())
	}
	m := measurement{seconds: time.Since(start).Seconds(), peakMiB: peakMiB(cmd.ProcessState)}
	if err := json.Unmarshal(stdout.Bytes(), &m.counts); err != nil {
		return measurement{}, fmt.Errorf("%s printed %q: %w", command[0], stdout.String(), err)
	}
	return m, nil
}

func peakMiB(state *os.ProcessState) float64 {
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	unit := float64(1 << 10) // Linux counts in KiB, macOS in bytes
	if runtime.GOOS == "darwin" {
		unit = 1
	}
	return float64(usage.Maxrss) * unit / (1 << 20)
}

// median is the run of median time.
func median(runs []measurement) measurement {
	slices.SortFunc(runs, func(a, b measurement) int { return cmp.Compare(a.seconds, b.seconds) })
	return runs[len(runs)/2]
}

func report(file string, size int64, ours, theirs measurement) {
	fmt.Printf("%s: %.1f MB, %d rows, %d duplicates\n", file, float64(size)/1e6, ours.counts.Rows, ours.counts.Duplicates)
	fmt.Printf("VibeFlow  %6.2f s  %7.1f MiB peak\n", ours.seconds, ours.peakMiB)
	fmt.Printf("pandas    %6.2f s  %7.1f MiB peak\n", theirs.seconds, theirs.peakMiB)
	if ours.counts.Rows != theirs.counts.Rows {
		fmt.Printf("the row counts differ: VibeFlow %d, pandas %d\n", ours.counts.Rows, theirs.counts.Rows)
	}
	if ours.counts.Duplicates != theirs.counts.Duplicates {
		fmt.Printf("the duplicate counts differ (VibeFlow disregards white space): VibeFlow %d, pandas %d\n", ours.counts.Duplicates, theirs.counts.Duplicates)
	}
	fmt.Printf("ratio pandas / VibeFlow: time %.1f, memory %.1f\n", theirs.seconds/ours.seconds, theirs.peakMiB/ours.peakMiB)
}
