package runner_test

import (
	"context"
	"encoding/json"
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

// faulty is a real runner that fails as a test says, by way of workers/peft/tests/faults, and a warm parent for it.
type faulty struct {
	t       *testing.T
	folder  string
	starter *runner.Starter
}

func newFaulty(t *testing.T) *faulty {
	t.Helper()
	p := python(t)
	f := &faulty{t: t, folder: t.TempDir()}
	require.NoError(t, os.Symlink(filepath.Join(p.Source, "vibeflow_peft"), filepath.Join(f.folder, "vibeflow_peft")))
	faults, err := os.ReadFile(filepath.Join(p.Source, "tests", "faults", "sitecustomize.py"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(f.folder, "sitecustomize.py"), faults, 0o600)) // it looks beside itself
	p.Source, p.Key = f.folder, "faulty"
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	scratch, err := runner.OpenScratch(filepath.Join(t.TempDir(), "warm"))
	require.NoError(t, err)
	warm := runner.NewWarm(scratch, p, log)
	kept, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); warm.Keep(kept) }()
	t.Cleanup(func() {
		cancel()
		<-done
		require.NoError(t, warm.Stop())
		require.NoError(t, scratch.Close())
	})
	f.starter = &runner.Starter{Python: p, Warm: warm, Log: log}
	return f
}

// arm sets what goes wrong from here on.
func (f *faulty) arm(faults ...map[string]any) {
	f.t.Helper()
	data, err := json.Marshal(faults)
	require.NoError(f.t, err)
	require.NoError(f.t, os.WriteFile(filepath.Join(f.folder, "faults.json"), data, 0o600))
	marks, err := filepath.Glob(filepath.Join(f.folder, "struck-*"))
	require.NoError(f.t, err)
	for _, mark := range marks {
		require.NoError(f.t, os.Remove(mark))
	}
}

// train trains the tiny model of realBench with a changed recipe to its end.
func (f *faulty) train(change func(*contract.Training)) (*bench, contract.RunOutput, error) {
	b := realBench(f.t)
	b.gateway.Look(job, func(r *gatewaytest.Run) { change(r.Spec.Training) })
	out, err := b.run(b.realSupervisor(f.starter.Start)).wait()
	return b, out, err
}

func same(*contract.Training) {}

func plain(t *contract.Training) { t.LoRA.Dropout = 0 }

// TestFaultsOfTheRealRunner produces each failure in the real runner, training the tiny model, and looks at what the run
// comes to.
func TestFaultsOfTheRealRunner(t *testing.T) {
	f := newFaulty(t)
	f.arm()
	calm, _, err := f.train(plain)
	require.NoError(t, err)
	require.Len(t, calm.losses(), 16)

	for _, way := range []string{"allocate", "memory_error", "cuda"} {
		t.Run("memory is short, "+way, func(t *testing.T) {
			f.arm(map[string]any{"do": way, "after": 7, "above": 2})
			b, out, err := f.train(plain)
			require.NoError(t, err)
			require.Equal(t, contract.OutcomeCompleted, out.Outcome)
			require.Len(t, b.starts, 2)
			require.Len(t, b.losses(), 16)
			for step, loss := range calm.losses() {
				if step <= 6 {
					require.Equal(t, loss, b.losses()[step], "step %d", step) //nolint:testifylint // bit for bit
				}
				require.InDelta(t, loss, b.losses()[step], 2e-4, "step %d: the same rows, in smaller pieces", step)
			}
			require.Equal(t, calm.samples(), b.samples(), "in the same order")
			b.gateway.Look(job, func(r *gatewaytest.Run) {
				require.Equal(t, []int{0, 6}, r.Claims)
				require.Equal(t, contract.Adjustment{Code: contract.CodeOutOfMemory, Step: 7, BatchSize: 2, GradientAccumulationSteps: 2}, r.Adjusted[0])
			})
			require.Contains(t, strings.Join(b.logLines(2), "\n"), "exact until step 6: micro_batch: 4 → 2")
		})
	}
	t.Run("memory is short for a single row", func(t *testing.T) {
		f.arm(map[string]any{"do": "allocate", "after": 4})
		b, _, err := f.train(plain)
		require.Equal(t, contract.CodeOutOfMemory, contract.CodeOf(err))
		require.Len(t, b.starts, 3, "4 rows, 2, 1")
	})
	t.Run("a loss that is no number", func(t *testing.T) {
		f.arm(map[string]any{"do": "nan", "after": 7, "above_rate": 6e-4})
		b, out, err := f.train(same)
		require.NoError(t, err)
		require.Equal(t, contract.OutcomeCompleted, out.Outcome)
		require.Len(t, b.starts, 2)
		b.gateway.Look(job, func(r *gatewaytest.Run) {
			require.Equal(t, []int{0, 6}, r.Claims)
			require.Contains(t, r.Notes[0], "The training diverged: the loss became nan after step 7")
			require.Contains(t, r.Notes[0], "half the learning rate, 0.0005 instead of 0.001")
		})
	})
	t.Run("a gradient without bounds, three times", func(t *testing.T) {
		f.arm(map[string]any{"do": "inf_gradient", "after": 5})
		b, _, err := f.train(same)
		require.Equal(t, contract.CodeNonFiniteLoss, contract.CodeOf(err))
		require.ErrorContains(t, err, "the gradient's norm became inf after step 5, also with a learning rate of 0.00025")
		require.Len(t, b.starts, 3)
	})
	for _, way := range []string{"deadlock", "stop"} {
		t.Run("it hangs, "+way, func(t *testing.T) {
			f.arm(map[string]any{"do": way, "after": 8, "once": true}, map[string]any{"do": "impatient", "seconds": 2})
			b, out, err := f.train(plain)
			require.NoError(t, err)
			require.Equal(t, contract.OutcomeCompleted, out.Outcome)
			require.Len(t, b.starts, 2)
			require.Equal(t, calm.losses(), b.losses())
			require.Equal(t, calm.adapter(), b.adapter())
			b.gateway.Look(job, func(r *gatewaytest.Run) {
				require.Equal(t, []int{0, 6}, r.Claims)
				require.Contains(t, r.Notes[0], "The runner hung after step 8: a step had not ended")
				require.Contains(t, r.Notes[0], "in faulty_loss", "its stacks")
			})
		})
	}
	t.Run("it hangs in the held-out loss", func(t *testing.T) {
		f.arm(map[string]any{"do": "deadlock_held_out", "after": 8, "once": true}, map[string]any{"do": "impatient", "seconds": 2})
		b := realBench(t)
		b.gateway.Look(job, func(r *gatewaytest.Run) {
			r.Spec.Dataset.Eval = r.Spec.Dataset.Train
			r.Spec.Training.LoRA.Dropout, r.Spec.Training.EvalEverySteps = 0, 4
		})
		out, err := b.run(b.realSupervisor(f.starter.Start)).wait()
		require.NoError(t, err)
		require.Equal(t, contract.OutcomeCompleted, out.Outcome)
		require.Len(t, b.starts, 2)
		require.Equal(t, calm.losses(), b.losses())
		b.gateway.Look(job, func(r *gatewaytest.Run) {
			require.Contains(t, r.Notes[0], "The runner hung after step 8: a batch of held-out rows had not ended")
		})
	})
	t.Run("an evaluation hangs", func(t *testing.T) {
		f.arm(map[string]any{"do": "deadlock_evaluation", "once": true}, map[string]any{"do": "impatient", "seconds": 2})
		b := realBench(t)
		b.gateway.Look(job, func(r *gatewaytest.Run) {
			r.Spec.Verb, r.Spec.Training = contract.VerbEvaluate, nil
			r.Spec.Dataset.Eval = r.Spec.Dataset.Train
			r.Spec.Evaluate = &contract.Evaluation{MaxLength: 64, BatchSize: 4, Precision: "fp32", MaxGenerations: 2, MaxNewTokens: 4}
		})
		out, err := b.run(b.realSupervisor(f.starter.Start)).wait()
		require.NoError(t, err)
		require.Equal(t, contract.OutcomeCompleted, out.Outcome)
		require.Len(t, b.starts, 2)
		b.gateway.Look(job, func(r *gatewaytest.Run) {
			require.Contains(t, r.Notes[0], "The runner hung: a batch of rows had not ended")
			require.Contains(t, r.Notes[0], "in faulty_row_losses", "its stacks")
		})
	})
	t.Run("a full disk", func(t *testing.T) {
		f.arm(map[string]any{"do": "full_disk", "after": 3})
		b, _, err := f.train(plain)
		require.Equal(t, contract.CodeDiskFull, contract.CodeOf(err))
		f.arm()
		out, err := b.run(b.realSupervisor(f.starter.Start)).wait()
		require.NoError(t, err)
		require.Equal(t, contract.OutcomeCompleted, out.Outcome)
		require.Equal(t, calm.losses(), b.losses())
		require.Equal(t, calm.adapter(), b.adapter())
	})
	t.Run("a slow save is no hang", func(t *testing.T) {
		f.arm(map[string]any{"do": "slow_save", "seconds": 0.5}, map[string]any{"do": "impatient", "seconds": 1})
		b, _, err := f.train(func(t *contract.Training) { t.LoRA.Dropout, t.Checkpoint.EverySteps = 0, 12 })
		require.NoError(t, err)
		require.Len(t, b.starts, 1)
		require.Equal(t, calm.losses(), b.losses())
	})
}

// samples are the hashes of each step's rows.
func (b *bench) samples() map[int]string {
	all := map[int]string{}
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		for _, lines := range r.Lines {
			for _, line := range lines {
				var event struct {
					Step    int
					Samples string
				}
				require.NoError(b.t, json.Unmarshal(line, &event))
				if event.Samples != "" {
					all[event.Step] = event.Samples
				}
			}
		}
	})
	return all
}

// logLines are what an epoch's runner told people.
func (b *bench) logLines(epoch int64) (said []string) {
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		for _, line := range r.Lines[epoch] {
			var event struct{ Type, Message string }
			require.NoError(b.t, json.Unmarshal(line, &event))
			if event.Type == "log" {
				said = append(said, event.Message)
			}
		}
	})
	return said
}
