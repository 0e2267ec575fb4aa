package runner_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient/gatewaytest"
	"github.com/vibeflow/vibeflow/workers/runner"
)

// python is the runner's environment, or a skip: VIBEFLOW_TEST_PYTHON names an interpreter that has it.
func python(t *testing.T) runner.Python {
	t.Helper()
	path := os.Getenv("VIBEFLOW_TEST_PYTHON")
	if path == "" {
		t.Skip("VIBEFLOW_TEST_PYTHON names no interpreter with the runner's environment")
	}
	source, err := filepath.Abs(filepath.Join("..", "peft"))
	require.NoError(t, err)
	return runner.Python{Path: path, Source: source, Key: "test"}
}

// realBench is a bench whose job trains the tiny model for real: 16 steps over two epochs of 32 rows.
func realBench(t *testing.T) *bench {
	t.Helper()
	gateway := gatewaytest.New(t)
	var rows strings.Builder
	for i := range 32 {
		fmt.Fprintf(&rows, `{"prompt":"What is %d plus %d?","completion":"It is %d."}`+"\n", i, i+1, 2*i+1)
	}
	train := gateway.AddBlob([]byte(rows.String()))
	gateway.AddRun(job, contract.KindJob, contract.RunSpec{
		Version: 1, Verb: contract.VerbTrain, Model: contract.ModelRef{Source: "tiny:llama"},
		Dataset: &contract.DatasetRef{ID: "ds_1", Format: "prompt_completion", Train: contract.Input{SHA256: train.SHA256, Size: train.Size}},
		Training: &contract.Training{
			Method: "lora", Epochs: 2, LearningRate: 1e-3, Scheduler: "cosine", BatchSize: 4, GradientAccumulationSteps: 1,
			MaxGradNorm: 1, MaxLength: 64, CompletionOnly: true, Precision: "fp32", Seed: 42,
			LoRA:       contract.LoRA{Rank: 4, Alpha: 4, Dropout: 0.05, TargetModules: "all-linear"},
			Checkpoint: contract.Checkpoint{EverySteps: 3},
		},
	})
	scratch, err := runner.OpenScratch(filepath.Join(t.TempDir(), "scratch"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = scratch.Close() })
	return &bench{t: t, gateway: gateway, scratch: scratch}
}

func (b *bench) realSupervisor(start func(context.Context, runner.Launch) (runner.Process, error)) *runner.Supervisor {
	b.lives++
	return runner.New(runner.Config{
		Scratch: b.scratch, Gateway: b.gateway.Client(b.t), Worker: fmt.Sprintf("host/instance/boot%d", b.lives), MinFree: 1,
		Threads: 1,
		Start: func(ctx context.Context, launch runner.Launch) (runner.Process, error) {
			process, err := start(ctx, launch)
			b.starts = append(b.starts, process)
			b.t.Cleanup(process.Kill)
			return process, err
		},
	})
}

// losses are what every step brought, over all epochs; a step told twice must have brought the same, unless a
// failure has changed the recipe.
func (b *bench) losses() map[int]float64 {
	b.t.Helper()
	all := map[int]float64{}
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		for _, lines := range r.Lines {
			for _, line := range lines {
				var event struct {
					Type string
					Step int
					Loss float64
				}
				require.NoError(b.t, json.Unmarshal(line, &event))
				if event.Type != "metrics" {
					continue
				}
				if before, ok := all[event.Step]; ok && len(r.Adjusted) == 0 {
					require.Equal(b.t, before, event.Loss, "step %d, trained again", event.Step) //nolint:testifylint // bit for bit
				}
				all[event.Step] = event.Loss
			}
		}
	})
	return all
}

func (b *bench) awaitRealStep(epoch int64, step int) {
	b.gateway.Await(b.t, job, func(r *gatewaytest.Run) bool {
		for _, line := range r.Lines[epoch] {
			var event struct {
				Type string
				Step int
			}
			if json.Unmarshal(line, &event) == nil && event.Type == "metrics" && event.Step >= step {
				return true
			}
		}
		return false
	})
}

// adapter is the digest of each of the final adapter's weights.
func (b *bench) adapter() map[string]string {
	files := map[string]string{}
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		for _, artifact := range r.Artifacts {
			for _, file := range artifact.Files {
				if strings.HasSuffix(file.Path, ".safetensors") {
					files[artifact.Name+"/"+file.Path] = file.SHA256
				}
			}
		}
	})
	return files
}

// TestRealRunnerIsExactThroughKillAndPause trains the tiny model undisturbed, and again with a kill -9 in the first
// epoch and a pause in the second: every loss and the adapter must be the same.
func TestRealRunnerIsExactThroughKillAndPause(t *testing.T) {
	python := python(t)
	calm := realBench(t)
	warm := runner.NewWarm(calm.scratch, python, slog.New(slog.NewTextHandler(t.Output(), nil)))
	kept, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); warm.Keep(kept) }()
	t.Cleanup(func() {
		cancel()
		<-done
		require.NoError(t, warm.Stop())
	})
	starter := &runner.Starter{Python: python, Warm: warm, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}

	out, err := calm.run(calm.realSupervisor(starter.Start)).wait()
	require.NoError(t, err)
	require.Equal(t, contract.OutcomeCompleted, out.Outcome)
	require.Len(t, calm.losses(), 16)

	wild := realBench(t)
	run := wild.run(wild.realSupervisor(starter.Start))
	wild.awaitRealStep(1, 5)
	wild.starts[0].Kill()
	wild.awaitRealStep(2, 9)
	close(run.pause)
	out, err = run.wait()
	require.NoError(t, err)
	if out.Outcome == contract.OutcomePaused { // it may have been faster than the pause
		out, err = wild.run(wild.realSupervisor(starter.Start)).wait()
		require.NoError(t, err)
	}
	require.Equal(t, contract.OutcomeCompleted, out.Outcome)
	require.Equal(t, calm.losses(), wild.losses())
	require.NotEmpty(t, calm.adapter())
	require.Equal(t, calm.adapter(), wild.adapter())
	t.Logf("%d launches", len(wild.starts))
}

// TestRealRunnerStartsCold proves the way without a warm parent.
func TestRealRunnerStartsCold(t *testing.T) {
	starter := &runner.Starter{Python: python(t), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	b := realBench(t)
	out, err := b.run(b.realSupervisor(starter.Start)).wait()
	require.NoError(t, err)
	require.Equal(t, contract.OutcomeCompleted, out.Outcome)
	require.Len(t, b.losses(), 16)
}
