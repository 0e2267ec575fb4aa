//go:build unix

// Command demo measures the whole main job as a newcomer sees it, from the command to the verdict:
//
//	go run ./bench/demo [--bin bin/vibeflow] [--rounds 1] [--config JSON]
//
// Each round runs `vibeflow demo --json` on a data folder of its own with the runner's environment in the cache (it is
// built first if it is not, which is not counted): start of the three processes, import of the bundled model,
// fine-tuning on the sample set, evaluation of base and tuned, deployment, a question to both. The verdict is there when
// the demo says that the evaluation is done; the median of that is held against 240 s, the limit for 2 cores. Stages
// are the demo's own, with the waiting for a slot in them. It needs the default port, 127.0.0.1:8400.
// --config is handed to the demo: {"max_steps":2} shows that the benchmark works, and its seconds say nothing.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vibeflow/vibeflow/bench/internal/benchmark"
	"github.com/vibeflow/vibeflow/internal/platform"
	"github.com/vibeflow/vibeflow/internal/pyenv"
	"github.com/vibeflow/vibeflow/workers/peft"
)

const (
	limit = 240.0 // seconds from command to verdict
	// stopPatience is what the demo may need to stop what it started, after Ctrl-C.
	stopPatience = 2 * time.Minute
	ready        = "VibeFlow is ready"
	evaluated    = "✓ evaluate"
)

// The demo's stages in order, before them what they do not cover.
var stages = []string{"start", "ingest", "analyze", "recommend", "train", "evaluate", "deploy", "ask"}

// round is one demo.
type round struct {
	ready, verdict, whole float64 // seconds since the command
	result                result
}

// result is what `vibeflow demo --json` prints, as far as it is told here.
type result struct {
	LossBase        float64            `json:"loss_base"`
	LossTuned       float64            `json:"loss_tuned"`
	LossDeltaCI     [2]float64         `json:"loss_delta_ci"`
	Verdict         string             `json:"verdict"`
	TokensPerSecond float64            `json:"tokens_per_second"`
	Stages          map[string]float64 `json:"stages"`
}

func main() { benchmark.Main("demo", run) }

func run(ctx context.Context) error {
	bin := flag.String("bin", "", "program to measure (default: $VIBEFLOW_BIN, else bin/vibeflow)")
	rounds := flag.Int("rounds", 1, "demos")
	config := flag.String("config", "{}", "training configuration as JSON; what is absent is the recommender's")
	flag.Parse()
	binary, err := platform.Binary(*bin)
	if err != nil {
		return err
	}
	if _, err := pyenv.Ensure(ctx, pyenv.Options{Files: peft.Files, Python: os.Getenv("VIBEFLOW_PYTHON"), UV: os.Getenv("VIBEFLOW_UV")}, nil); err != nil {
		return err
	}
	fmt.Printf("demo: %s\n", benchmark.Machine())
	var done []round
	for range max(*rounds, 1) {
		r, err := measure(ctx, binary, *config)
		if err != nil {
			return err
		}
		done = append(done, r)
	}
	report(done)
	return nil
}

// measure runs one demo on a folder of its own.
func measure(ctx context.Context, binary, config string) (r round, err error) {
	folder, err := os.MkdirTemp("", "vf-") // short: Unix sockets lie in it
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, "demo", "--json", "--config", config, "--data", filepath.Join(folder, "d"))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = stopPatience
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C at the terminal comes once, from us
	cmd.Stdout = &stdout
	progress, writer := io.Pipe()
	cmd.Stderr = writer
	began, read := time.Now(), make(chan struct{})
	go func() {
		defer close(read)
		r.follow(io.TeeReader(progress, &stderr), began)
	}()
	err = cmd.Run()
	_ = writer.Close()
	<-read
	r.whole = time.Since(began).Seconds()
	if err != nil {
		return r, fmt.Errorf("vibeflow demo: %w\n%s", err, stderr.String())
	}
	if err := json.Unmarshal(stdout.Bytes(), &r.result); err != nil {
		return r, fmt.Errorf("vibeflow demo printed %q: %w", stdout.String(), err)
	}
	if r.ready == 0 || r.verdict == 0 {
		return r, fmt.Errorf("vibeflow demo said neither %q nor %q as expected:\n%s", ready, evaluated, stderr.String())
	}
	r.result.Stages["start"] = r.ready
	return r, nil
}

// follow notes when the demo says what is measured.
func (r *round) follow(progress io.Reader, began time.Time) {
	for lines := bufio.NewScanner(progress); lines.Scan(); {
		switch at := time.Since(began).Seconds(); {
		case strings.HasPrefix(lines.Text(), ready):
			r.ready = at
		case strings.HasPrefix(lines.Text(), evaluated):
			r.verdict = at
		}
	}
	_, _ = io.Copy(io.Discard, progress) // a line too long must not block the demo
}

func report(rounds []round) {
	median := func(of func(round) float64) float64 {
		var values []float64
		for _, r := range rounds {
			values = append(values, of(r))
		}
		return benchmark.Median(values)
	}
	for _, name := range stages {
		fmt.Printf("%-20s %7.1f s\n", name, median(func(r round) float64 { return r.result.Stages[name] }))
	}
	verdict := median(func(r round) float64 { return r.verdict })
	fmt.Printf("%-20s %7.1f s   limit %.0f s: %s (median of %d)\n", "command to verdict", verdict, limit, benchmark.Verdict(verdict, limit), len(rounds))
	fmt.Printf("%-20s %7.1f s\n", "command to end", median(func(r round) float64 { return r.whole }))
	last := rounds[len(rounds)-1].result
	fmt.Printf("held-out loss %.3f → %.3f, change within [%+.3f, %+.3f]: %s; %.0f tokens/s in training\n",
		last.LossBase, last.LossTuned, last.LossDeltaCI[0], last.LossDeltaCI[1], last.Verdict, last.TokensPerSecond)
}
