//go:build unix

// Command recovery measures how long a run stands still after a death, beside a stock TRL script that somebody who waited
// for it starts again from its last checkpoint (bare.py):
//
//	go run ./bench/recovery [--bin bin/vibeflow] [--rounds 5] [--pauses 20]
//
// Both train the tiny model, the same rows in the same batches, with a checkpoint every 30 steps, and are killed (kill -9)
// at a random moment. Recovery is the time from the death until a step was seen that was trained after it, and beyond the
// last one before it. The script's imports are its floor, as they are VibeFlow's where everything died; where a runner
// died, the warm parent has paid them. The rest of the matrix is `vibeflow chaos`.
//
// Pause latency is the time from the call until the log tells `paused`: the slot is free then.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	_ "embed"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/bench/internal/benchmark"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/chaos"
	"github.com/vibeflow/vibeflow/internal/platform"
	"github.com/vibeflow/vibeflow/internal/pyenv"
	"github.com/vibeflow/vibeflow/workers/peft"
)

const (
	// limit is for a death of the server, Temporal, the worker or the runner.
	limit = 3.0
	// The rows, epochs and checkpoints of the chaos trainings.
	rows, epochs, saveSteps = 240, "2", "30"
	steps                   = 240
)

//go:embed bare.py
var bareScript string

var killed = []chaos.Target{chaos.Server, chaos.Temporal, chaos.Worker, chaos.Runner, chaos.WarmParent, chaos.Everything}

func main() { benchmark.Main("recovery", run) }

func run(ctx context.Context) error {
	bin := flag.String("bin", "", "program to measure (default: $VIBEFLOW_BIN, else bin/vibeflow)")
	rounds := flag.Int("rounds", 5, "deaths of each kind")
	pauses := flag.Int("pauses", 20, "pauses")
	flag.Parse()
	fmt.Printf("recovery: %s\n", benchmark.Machine())
	binary, err := platform.Binary(*bin)
	if err != nil {
		return err
	}
	bare, err := restarts(ctx, binary, *rounds)
	if err != nil {
		return err
	}
	fmt.Printf("%-42s median %6.2f s   p95 %6.2f s   most %6.2f s   most steps lost %d\n", "TRL script, killed and started again",
		benchmark.Median(bare.seconds), benchmark.Quantile(bare.seconds, 0.95), slices.Max(bare.seconds), bare.lost)
	if err := deaths(ctx, binary, *rounds, benchmark.Median(bare.seconds)); err != nil {
		return err
	}
	return pauseLatency(ctx, binary, *pauses)
}

// deaths has chaos kill each process in the second epoch.
func deaths(ctx context.Context, binary string, rounds int, bare float64) error {
	var cells []chaos.Cell
	for _, target := range killed {
		cells = append(cells, chaos.Cell{Process: target, Stage: chaos.Epoch2})
	}
	report, err := chaos.Run(ctx, chaos.Options{Binary: binary, Rounds: rounds, Cells: cells, Own: true,
		Progress: func(line string) { fmt.Fprintln(os.Stderr, line) }})
	if err != nil {
		return err
	}
	for _, cell := range report.Cells {
		if !cell.Passed() {
			return fmt.Errorf("%s: %s", cell.Process, strings.Join(cell.Problems, "; "))
		}
		verdict := ""
		if cell.Process != chaos.Everything && cell.Process != chaos.WarmParent {
			verdict = fmt.Sprintf("   limit %.0f s: %s", limit, benchmark.Verdict(cell.Recovery.Median, limit))
		}
		fmt.Printf("%-42s median %6.2f s   p95 %6.2f s   most %6.2f s   most steps lost %d   script ÷ ours %.1f%s\n", "VibeFlow, killed: "+string(cell.Process),
			cell.Recovery.Median, cell.Recovery.P95, cell.Recovery.Max, cell.StepsLost, bare/cell.Recovery.Median, verdict)
	}
	return nil
}

// pauseLatency pauses trainings of the tiny model at random steps.
func pauseLatency(ctx context.Context, binary string, pauses int) error {
	return benchmark.On(binary, func(p *platform.Platform) error {
		if _, err := p.Start(ctx); err != nil {
			return err
		}
		ds, err := p.Upload(ctx, "sums.jsonl", chaos.Rows(rows))
		if err != nil {
			return err
		}
		var took []float64
		for range pauses {
			seconds, err := pauseOnce(ctx, p, ds.ID)
			if err != nil {
				return p.Explain(err)
			}
			took = append(took, seconds)
		}
		fmt.Printf("%-42s p50 %9.2f s   p99 %7.2f s   (of %d)\n", "pause, from the call until the slot is free", benchmark.Median(took), benchmark.Quantile(took, 0.99), pauses)
		return nil
	})
}

func pauseOnce(ctx context.Context, p *platform.Platform, dataset string) (seconds float64, err error) {
	job, err := apiclient.Start[apigen.Job](ctx, p.Client, "/api/training/start", apigen.StartTraining{DatasetID: dataset, ModelID: catalog.Tiny,
		Config: apigen.TrainingOverrides{"method": "lora", "epochs": 20, "max_steps": 0, "batch_size": 2, "gradient_accumulation_steps": 1, "max_length": 64}})
	if err != nil {
		return 0, err
	}
	path, at := "/api/training/"+job.ID, 5+rand.IntN(steps)
	var asked time.Time
	seen := 0
	err = p.Client.Follow(ctx, path+"/events", 0, func(e contract.Event) error {
		switch {
		case e.Type == contract.RunnerMetrics:
			if seen++; seen == at {
				asked = time.Now()
				_, err := apiclient.Post[apigen.Job](ctx, p.Client, path+"/pause", nil)
				return err
			}
		case e.Type == contract.EventType(contract.KindJob, contract.EventPaused):
			seconds = time.Since(asked).Seconds()
			_, err := apiclient.Post[apigen.Job](ctx, p.Client, path+"/cancel", nil)
			return err
		}
		return nil
	}, nil)
	if err == nil && seconds == 0 {
		err = errors.New("the job ended and was not paused")
	}
	return seconds, err
}

// restarted is what became of the script's deaths.
type restarted struct {
	seconds []float64
	lost    int
}

// restarts kills the script at random steps of its second epoch and starts it again at once.
func restarts(ctx context.Context, binary string, rounds int) (out restarted, err error) {
	env, err := pyenv.Ensure(ctx, pyenv.Options{Files: peft.Files, Python: os.Getenv("VIBEFLOW_PYTHON"), UV: os.Getenv("VIBEFLOW_UV")}, nil)
	if err != nil {
		return out, err
	}
	folder, err := os.MkdirTemp("", "recovery-")
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	model, err := tinyModel(ctx, binary, folder)
	if err != nil {
		return out, err
	}
	for name, content := range map[string][]byte{"bare.py": []byte(bareScript), "rows.jsonl": chaos.Rows(rows)} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			return out, err
		}
	}
	for round := range rounds {
		s := script{python: env.Python, folder: folder, model: model, out: filepath.Join(folder, fmt.Sprint("out-", round))}
		seconds, lost, err := s.dieAndGoOn(ctx)
		if err != nil {
			return out, err
		}
		out.seconds, out.lost = append(out.seconds, seconds), max(out.lost, lost)
	}
	return out, nil
}

// tinyModel has a worker make the tiny model, and copies it.
func tinyModel(ctx context.Context, binary, folder string) (path string, err error) {
	return filepath.Join(folder, "tiny"), benchmark.On(binary, func(p *platform.Platform) error {
		if _, err := p.Start(ctx); err != nil {
			return err
		}
		ds, err := p.Upload(ctx, "sums.jsonl", chaos.Rows(rows))
		if err != nil {
			return err
		}
		if _, err := benchmark.Train(ctx, p, apigen.StartTraining{DatasetID: ds.ID, ModelID: catalog.Tiny, Config: apigen.TrainingOverrides{"max_steps": 1}}, nil); err != nil {
			return err
		}
		made, err := filepath.Glob(filepath.Join(p.Dir.Root(), "worker", "main", "models", "tiny-llama-*"))
		if err != nil || len(made) != 1 {
			return errors.Join(err, fmt.Errorf("the worker has %d tiny models", len(made)))
		}
		return os.CopyFS(filepath.Join(folder, "tiny"), os.DirFS(made[0]))
	})
}

// script is a training by bare.py.
type script struct{ python, folder, model, out string }

func (s script) start(ctx context.Context) (*exec.Cmd, *bufio.Scanner, error) {
	cmd := exec.CommandContext(ctx, s.python, filepath.Join(s.folder, "bare.py"), s.model, filepath.Join(s.folder, "rows.jsonl"), s.out, epochs, saveSteps) //nolint:gosec // our own
	cmd.Env = append(os.Environ(), "HF_HUB_OFFLINE=1", "HF_HOME="+filepath.Join(s.folder, "hf"),
		"TQDM_DISABLE=1", "TRANSFORMERS_VERBOSITY=error", "PYTHONWARNINGS=ignore")
	cmd.Stderr = os.Stderr
	told, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	return cmd, bufio.NewScanner(told), cmd.Start()
}

// dieAndGoOn returns the seconds from the kill until a step beyond it, and the steps that were trained again.
func (s script) dieAndGoOn(ctx context.Context) (seconds float64, lost int, err error) {
	cmd, told, err := s.start(ctx)
	if err != nil {
		return 0, 0, err
	}
	at := steps/2 + rand.IntN(steps/2-30)
	last, err := await(told, at)
	if err != nil {
		return 0, 0, errors.Join(err, cmd.Wait())
	}
	died := time.Now()
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	cmd, told, err = s.start(ctx)
	if err != nil {
		return 0, 0, err
	}
	first, err := await(told, 1)
	if err != nil {
		return 0, 0, errors.Join(err, cmd.Wait())
	}
	if _, err := await(told, last+1); err != nil {
		return 0, 0, errors.Join(err, cmd.Wait())
	}
	seconds = time.Since(died).Seconds()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return seconds, last + 1 - first, nil
}

// await reads until the script has told at least this step.
func await(told *bufio.Scanner, step int) (now int, err error) {
	for told.Scan() {
		if n, _ := fmt.Sscanf(told.Text(), "step %d", &now); n == 1 && now >= step {
			return now, nil
		}
	}
	return 0, errors.Join(errors.New("the script ended early"), told.Err())
}
