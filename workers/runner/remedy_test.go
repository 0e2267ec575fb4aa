package runner_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/activities/gpu"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient/gatewaytest"
	"github.com/vibeflow/vibeflow/workers/runner"
	"github.com/vibeflow/vibeflow/workers/runner/runnertest"
)

// trainingBench is a bench whose job has a recipe: the policies of failures change it.
func trainingBench(t *testing.T, recipe contract.Training) *bench {
	b := newBench(t)
	b.gateway.Look(job, func(r *gatewaytest.Run) { r.Spec.Training = &recipe })
	return b
}

func failing(code contract.Code, step int) runnertest.Script {
	return runnertest.Script{Steps: 10, SaveEvery: 4, FailAt: step, Fail: contract.Errorf(code, "it went wrong")}
}

// recipes are what each launch was given, in order.
func (b *bench) recipes() (all []contract.Training) {
	b.t.Helper()
	for _, folder := range b.folders {
		data, err := os.ReadFile(filepath.Join(folder, "spec.json"))
		require.NoError(b.t, err)
		var spec contract.RunSpec
		require.NoError(b.t, json.Unmarshal(data, &spec))
		all = append(all, *spec.Training)
	}
	return all
}

func TestShortMemoryTrainsTheSameBatchInSmallerPieces(t *testing.T) {
	b := trainingBench(t, contract.Training{BatchSize: 6, GradientAccumulationSteps: 2})
	held := runnertest.Script{Steps: 10, SaveEvery: 4, HoldAt: 9}
	run := b.run(b.supervisor(failing(contract.CodeOutOfMemory, 6), failing(contract.CodeOutOfMemory, 7), held))
	b.awaitStep(3, 9)
	var sizes [][2]int
	for _, recipe := range b.recipes() {
		sizes = append(sizes, [2]int{recipe.BatchSize, recipe.GradientAccumulationSteps})
	}
	require.Equal(t, [][2]int{{6, 2}, {3, 4}, {1, 12}}, sizes)
	b.letGo()
	b.requireFinished(run, 10)
	b.requireTold(count(1, 6), count(5, 7), count(5, 10))
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		require.Equal(t, []int{0, 4, 4}, r.Claims)
		require.Equal(t, contract.Adjustment{Code: contract.CodeOutOfMemory, Step: 6, BatchSize: 3, GradientAccumulationSteps: 4}, r.Adjusted[0])
		require.Contains(t, r.Notes[0], "Memory was short after step 6 with micro-batch 6 × accumulation 2")
		require.Contains(t, r.Notes[0], "goes on with micro-batch 3 × accumulation 4")
		require.Equal(t, "It goes on from step 4.", r.Notes[1])
	})
}

func TestMemoryThatIsShortForASingleRowEndsTheRun(t *testing.T) {
	b := trainingBench(t, contract.Training{BatchSize: 2, GradientAccumulationSteps: 1})
	_, err := b.run(b.supervisor(failing(contract.CodeOutOfMemory, 3))).wait()
	var problem *contract.Error
	require.ErrorAs(t, err, &problem)
	require.Equal(t, contract.CodeOutOfMemory, problem.Code)
	require.Equal(t, "memory is short even with a single row at a time", problem.Message)
	require.Contains(t, problem.Remedy, "gradient_checkpointing")
	require.Len(t, b.starts, 2)
}

func TestAModelThatDoesNotFitIsNotTriedInSmallerPieces(t *testing.T) {
	b := trainingBench(t, contract.Training{BatchSize: 8, GradientAccumulationSteps: 1})
	script := failing(contract.CodeOutOfMemory, 0)
	script.Fail.Field = "model"
	_, err := b.run(b.supervisor(script)).wait()
	require.Equal(t, contract.CodeOutOfMemory, contract.CodeOf(err))
	require.Len(t, b.starts, 1)
}

func TestDivergenceGoesBackWithHalfTheRateAndAtMostTwice(t *testing.T) {
	b := trainingBench(t, contract.Training{BatchSize: 1, GradientAccumulationSteps: 1, LearningRate: 0.5})
	_, err := b.run(b.supervisor(failing(contract.CodeNonFiniteLoss, 6))).wait()
	var problem *contract.Error
	require.ErrorAs(t, err, &problem)
	require.Equal(t, contract.CodeNonFiniteLoss, problem.Code)
	require.Contains(t, problem.Message, "also with a learning rate of 0.125")
	require.Contains(t, problem.Remedy, "learning_rate well below 0.125")
	require.Len(t, b.starts, 3)
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		require.Equal(t, []int{0, 4, 4}, r.Claims)
		require.InDelta(t, 0.5, r.Adjusted[0].LearningRateScale, 0)
		require.InDelta(t, 0.25, r.Adjusted[1].LearningRateScale, 0)
		require.Contains(t, r.Notes[0], "half the learning rate, 0.25 instead of 0.5")
	})
}

func TestAWorkerThatDiesBeforeItMendsLeavesItToTheNext(t *testing.T) {
	b := trainingBench(t, contract.Training{BatchSize: 4, GradientAccumulationSteps: 1})
	script := failing(contract.CodeOutOfMemory, 6)
	script.HoldAt = 5
	first := b.run(b.supervisor(script))
	b.awaitStep(1, 5)
	first.cancel()
	_, err := first.wait()
	require.ErrorIs(t, err, gpu.ErrDetached)
	b.letGo()
	require.True(t, b.starts[0].AwaitExit(time.Minute))

	b.requireFinished(b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 4})), 10)
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		require.Equal(t, 2, r.Adjusted[0].BatchSize)
		require.Equal(t, []int{0, 4}, r.Claims)
	})
}

func TestAPauseWinsOverAFailureThatIsMended(t *testing.T) {
	b := trainingBench(t, contract.Training{BatchSize: 4, GradientAccumulationSteps: 1})
	script := failing(contract.CodeOutOfMemory, 6)
	script.HoldAt, script.Deaf = 6, true
	run := b.run(b.supervisor(script))
	b.awaitStep(1, 6)
	close(run.pause)
	b.letGo()
	out, err := run.wait()
	require.NoError(t, err)
	require.Equal(t, contract.OutcomePaused, out.Outcome)
	require.Equal(t, 4, out.Step)
	require.Len(t, b.starts, 1)
}

// pausedAt5 is a run that has committed step 2, 4 and 5, and has paused.
func pausedAt5(t *testing.T) *bench {
	b := newBench(t)
	run := b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2, HoldAt: 5}))
	b.gateway.Await(t, job, func(r *gatewaytest.Run) bool { return r.State.Checkpoint != nil && r.State.Checkpoint.Step == 4 })
	close(run.pause)
	out, err := run.wait()
	require.NoError(t, err)
	require.Equal(t, 5, out.Step)
	b.letGo()
	return b
}

func (b *bench) elsewhere() {
	scratch, err := runner.OpenScratch(filepath.Join(b.t.TempDir(), "elsewhere"))
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = scratch.Close() })
	b.scratch = scratch
}

func TestAnotherMachineFallsBackToTheCheckpointBefore(t *testing.T) {
	b := pausedAt5(t)
	b.elsewhere()
	b.gateway.Look(job, func(r *gatewaytest.Run) { b.dropLater(r.State.Checkpoint.Files[0].SHA256) })
	b.dropNow()
	b.requireFinished(b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2})), 10)
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		require.Equal(t, []int{0, 5, 4}, r.Claims)
		require.Equal(t, []string{"step-00000005"}, r.Lost)
		require.Contains(t, r.Notes[0], "Checkpoint step-00000005 is damaged")
		require.Equal(t, "The checkpoint before it is used: exact from step 4 again.", r.Notes[1])
	})
}

func TestWithNoCheckpointLeftItStartsAgainAndSaysSo(t *testing.T) {
	b := pausedAt5(t)
	b.elsewhere()
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		for _, m := range append(r.State.Earlier, *r.State.Checkpoint) {
			b.dropLater(m.Files[0].SHA256)
		}
	})
	b.dropNow()
	b.requireFinished(b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2})), 10)
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		require.Equal(t, 0, r.Claims[len(r.Claims)-1])
		require.Len(t, r.Lost, len(b.doomed))
		require.Contains(t, strings.Join(r.Notes, "\n"), "the training starts at step 1 again")
		require.Equal(t, 10, r.State.Checkpoint.Step, "what is made again is committed again")
	})
}

// TestStoredFilesThatAreAwayAreWaitedFor: a server whose disk is not mounted costs no checkpoint.
func TestStoredFilesThatAreAwayAreWaitedFor(t *testing.T) {
	b := pausedAt5(t)
	b.elsewhere()
	b.gateway.SetAway(true)
	run := b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2}))
	b.gateway.AwaitTurnedAway(t)
	require.Empty(t, b.starts[1:], "nothing is started before its checkpoint is there")
	b.gateway.SetAway(false)
	b.requireFinished(run, 10)
	b.requireTold(count(1, 5), count(6, 10))
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		require.Equal(t, []int{0, 5}, r.Claims)
		require.Empty(t, r.Lost)
	})
}

func TestARunThatWaitsForStoredFilesIsPaused(t *testing.T) {
	b := pausedAt5(t)
	b.elsewhere()
	b.gateway.SetAway(true)
	run := b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2}))
	b.gateway.AwaitTurnedAway(t)
	close(run.pause)
	out, err := run.wait()
	require.NoError(t, err)
	require.Equal(t, contract.RunOutput{Outcome: contract.OutcomePaused, Step: 5, Checkpoint: "step-00000005"}, out)
	b.gateway.SetAway(false)
	b.requireFinished(b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2})), 10)
	b.gateway.Look(job, func(r *gatewaytest.Run) { require.Equal(t, 5, r.Claims[len(r.Claims)-1]) })
}

func TestTrainingGoesOnWhileStoredFilesAreAway(t *testing.T) {
	b := newBench(t)
	run := b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2, HoldAt: 1}))
	b.awaitStep(1, 1)
	b.gateway.SetAway(true)
	b.letGo()
	b.awaitStep(1, 10)
	b.gateway.AwaitTurnedAway(t)
	b.gateway.Look(job, func(r *gatewaytest.Run) { require.Nil(t, r.State.Checkpoint) })
	b.gateway.SetAway(false)
	b.requireFinished(run, 10)
	b.requireTold(count(1, 10))
}

func TestACheckpointThatIsDamagedUnderTheRunnerIsLookedAtAgain(t *testing.T) {
	b := pausedAt5(t)
	spoilt := runnertest.Script{Steps: 10, FailAt: 0, Fail: contract.Errorf(contract.CodeBadData, "checkpoint is damaged").On("resume_from")}
	b.requireFinished(b.run(b.supervisor(spoilt, runnertest.Script{Steps: 10})), 10)
	require.Len(t, b.starts, 3)
}

func TestAHungRunnerIsKilledAndStartedAgain(t *testing.T) {
	b := newBench(t)
	hung := runnertest.Script{Steps: 10, SaveEvery: 2, HoldAt: 5, Patience: 0.5, Deaf: true}
	b.requireFinished(b.run(b.supervisor(hung, runnertest.Script{Steps: 10, SaveEvery: 2})), 10)
	b.requireTold(count(1, 5), count(5, 10))
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		require.Contains(t, r.Notes[0], "The runner hung after step 5: a step had not ended")
		require.Contains(t, r.Notes[0], `File "fake.py", line 1 in hold`, "its stacks")
		require.Equal(t, "It goes on from step 4.", r.Notes[1])
	})
}

func TestARunnerThatHangsAgainAndAgainEndsTheRun(t *testing.T) {
	b := newBench(t)
	hung := runnertest.Script{Steps: 10, SaveEvery: 2, HoldAt: 5, Patience: 0.1, Deaf: true}
	_, err := b.run(b.supervisor(hung)).wait()
	require.Equal(t, contract.CodeNoProgress, contract.CodeOf(err))
	require.ErrorContains(t, err, "died 3 times in a row without getting further: the runner hung")
}
