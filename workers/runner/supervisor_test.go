package runner_test

import (
	"context"
	"encoding/json"
	"fmt"
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

func TestMain(m *testing.M) {
	runnertest.Main()
	os.Exit(m.Run())
}

const job = "job_0123456789ab"

// bench is a worker's folder, a gateway that knows one job, and supervisors that come and go.
type bench struct {
	t       *testing.T
	gateway *gatewaytest.Gateway
	scratch *runner.Scratch
	hold    string
	starts  []runner.Process
	folders []string // of the launches
	doomed  []string
	lives   int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	gateway := gatewaytest.New(t)
	rows := gateway.AddBlob([]byte(strings.Repeat(`{"text":"row"}`+"\n", 100)))
	gateway.AddRun(job, contract.KindJob, contract.RunSpec{
		Version: 1, Verb: contract.VerbTrain, Model: contract.ModelRef{Source: "tiny:llama"},
		Dataset: &contract.DatasetRef{ID: "ds_1", Format: "text", Train: contract.Input{SHA256: rows.SHA256, Size: rows.Size}},
	})
	scratch, err := runner.OpenScratch(filepath.Join(t.TempDir(), "scratch"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = scratch.Close() })
	hold := filepath.Join(t.TempDir(), "hold")
	require.NoError(t, os.WriteFile(hold, nil, 0o600))
	return &bench{t: t, gateway: gateway, scratch: scratch, hold: hold}
}

// dropLater and dropNow lose content at the gateway, as a broken disk would.
func (b *bench) dropLater(digest string) { b.doomed = append(b.doomed, digest) }

func (b *bench) dropNow() {
	for _, digest := range b.doomed {
		b.gateway.DropBlob(digest)
	}
}

// letGo ends the hold that a script stops at.
func (b *bench) letGo() { require.NoError(b.t, os.Remove(b.hold)) }

// supervisor is a new life of the worker; each of its launches takes the next script, the last one for all that follow.
func (b *bench) supervisor(scripts ...runnertest.Script) *runner.Supervisor {
	b.lives++
	launches := 0
	return runner.New(runner.Config{
		Scratch: b.scratch, Gateway: b.gateway.Client(b.t), Worker: fmt.Sprintf("host/instance/boot%d", b.lives), MinFree: 1,
		PauseGrace: 20 * time.Second, RelaunchPause: time.Millisecond,
		Start: func(_ context.Context, launch runner.Launch) (runner.Process, error) {
			s := scripts[min(launches, len(scripts)-1)]
			launches++
			s.Hold = b.hold
			process, err := runnertest.Start(b.t, s, launch)
			b.starts, b.folders = append(b.starts, process), append(b.folders, launch.Folder)
			return process, err
		},
	})
}

// going is a Run under way.
type going struct {
	t      *testing.T
	cancel context.CancelFunc
	pause  chan struct{}
	done   chan struct{}
	out    contract.RunOutput
	err    error
}

func (b *bench) run(s *runner.Supervisor) *going {
	ctx, cancel := context.WithCancel(context.Background())
	b.t.Cleanup(cancel)
	g := &going{t: b.t, cancel: cancel, pause: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(g.done)
		g.out, g.err = s.Run(ctx, gpu.RunRequest{Input: contract.RunInput{RunID: job, Kind: contract.KindJob}, Pause: g.pause})
	}()
	return g
}

func (g *going) wait() (contract.RunOutput, error) {
	g.t.Helper()
	select {
	case <-g.done:
		return g.out, g.err
	case <-time.After(5 * time.Minute): // a real runner on a machine that is busy
		require.Fail(g.t, "the run did not end")
		return contract.RunOutput{}, nil
	}
}

// awaitStep blocks until the log has a step of an epoch.
func (b *bench) awaitStep(epoch int64, step int) {
	b.t.Helper()
	b.gateway.Await(b.t, job, func(r *gatewaytest.Run) bool {
		steps := stepsOf(r.Lines[epoch])
		return len(steps) > 0 && steps[len(steps)-1] >= step
	})
}

func stepsOf(lines []json.RawMessage) []int {
	var steps []int
	for _, line := range lines {
		var event struct {
			Type string  `json:"type"`
			Step int     `json:"step"`
			Loss float64 `json:"loss"`
		}
		if json.Unmarshal(line, &event) == nil && event.Type == "metrics" && event.Loss == runnertest.LossAt(event.Step) {
			steps = append(steps, event.Step)
		}
	}
	return steps
}

func count(from, to int) []int {
	var steps []int
	for i := from; i <= to; i++ {
		steps = append(steps, i)
	}
	return steps
}

// requireTold checks which steps each epoch's events in the log tell of.
func (b *bench) requireTold(epochs ...[]int) {
	b.t.Helper()
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		require.Equal(b.t, int64(len(epochs)), r.State.Epoch)
		for i, want := range epochs {
			require.Equal(b.t, want, stepsOf(r.Lines[int64(i+1)]), "epoch %d", i+1)
		}
	})
}

// requireFinished checks that the adapter of all steps is with the gateway, and the scratch folder empty.
func (b *bench) requireFinished(g *going, steps int) {
	b.t.Helper()
	out, err := g.wait()
	require.NoError(b.t, err)
	require.Equal(b.t, contract.OutcomeCompleted, out.Outcome)
	require.Equal(b.t, steps, out.Step)
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		require.Len(b.t, r.Artifacts, 1)
		require.Equal(b.t, steps, r.Artifacts[0].Step)
		require.Equal(b.t, contract.OutcomeCompleted, r.State.Result.Outcome)
	})
	require.NoDirExists(b.t, filepath.Join(b.scratch.Root, "runs", job))
}

func TestRunCompletes(t *testing.T) {
	b := newBench(t)
	run := b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 4}))
	b.requireFinished(run, 10)
	b.requireTold(count(1, 10))
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		require.Equal(t, 8, r.State.Checkpoint.Step, "the newest checkpoint is committed")
		require.Equal(t, []int{0}, r.Claims)
	})
}

func TestKilledRunnerResumesUnderNewEpoch(t *testing.T) {
	b := newBench(t)
	run := b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 4, HoldAt: 6}, runnertest.Script{Steps: 10, SaveEvery: 4}))
	b.gateway.Await(t, job, func(r *gatewaytest.Run) bool { return r.State.Checkpoint != nil })
	b.awaitStep(1, 6)
	b.starts[0].Kill()
	b.requireFinished(run, 10)
	b.requireTold(count(1, 6), count(5, 10))
	b.gateway.Look(job, func(r *gatewaytest.Run) { require.Equal(t, []int{0, 4}, r.Claims) })
}

func TestTornLastLineIsDropped(t *testing.T) {
	b := newBench(t)
	run := b.run(b.supervisor(runnertest.Script{Steps: 6, SaveEvery: 2, CrashAt: 3, Torn: true}, runnertest.Script{Steps: 6, SaveEvery: 2}))
	b.requireFinished(run, 6)
	b.requireTold(count(1, 3), count(3, 6))
}

func TestNextSupervisorAdoptsLiveRunner(t *testing.T) {
	b := newBench(t)
	first := b.run(b.supervisor(runnertest.Script{Steps: 10, HoldAt: 5}))
	b.awaitStep(1, 5)
	first.cancel()
	_, err := first.wait()
	require.ErrorIs(t, err, gpu.ErrDetached)
	require.True(t, b.starts[0].Alive(), "a detached worker leaves its runner running")

	second := b.run(b.supervisor(runnertest.Script{}))
	b.gateway.Await(t, job, func(r *gatewaytest.Run) bool { return r.Adoptions == 1 })
	b.letGo()
	b.requireFinished(second, 10)
	b.requireTold(count(1, 10))
	require.Len(t, b.starts, 1, "nothing was started anew")
}

func TestResultLeftWhileNoWorkerLooked(t *testing.T) {
	b := newBench(t)
	first := b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 4, HoldAt: 5}))
	b.awaitStep(1, 5)
	first.cancel()
	_, err := first.wait()
	require.ErrorIs(t, err, gpu.ErrDetached)
	b.letGo()
	require.Eventually(t, func() bool { return !b.starts[0].Alive() }, 30*time.Second, 10*time.Millisecond)

	second := b.run(b.supervisor(runnertest.Script{}))
	b.requireFinished(second, 10)
	b.requireTold(count(1, 10))
	require.Len(t, b.starts, 1)
	b.gateway.Look(job, func(r *gatewaytest.Run) { require.Equal(t, 8, r.State.Checkpoint.Step) })
}

func TestRunnerDiedWhileNoWorkerLooked(t *testing.T) {
	b := newBench(t)
	first := b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2, HoldAt: 5}))
	b.awaitStep(1, 5)
	b.gateway.SetDown(true) // what it does from here on reaches nobody
	first.cancel()
	_, err := first.wait()
	require.ErrorIs(t, err, gpu.ErrDetached)
	b.starts[0].Kill()
	require.True(t, b.starts[0].AwaitExit(time.Minute))
	b.gateway.SetDown(false)

	second := b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2}))
	b.requireFinished(second, 10)
	b.requireTold(count(1, 5), count(5, 10))
}

func TestDeathsThatNobodySawDoNotCount(t *testing.T) {
	b := newBench(t)
	for life := range 4 {
		run := b.run(b.supervisor(runnertest.Script{Steps: 10, HoldAt: 5}))
		b.awaitStep(int64(life+1), 5)
		run.cancel()
		_, err := run.wait()
		require.ErrorIs(t, err, gpu.ErrDetached)
		b.starts[life].Kill() // the whole machine went down
		require.True(t, b.starts[life].AwaitExit(time.Minute))
	}
	b.requireFinished(b.run(b.supervisor(runnertest.Script{Steps: 10})), 10)
}

func TestPauseSavesAndCommits(t *testing.T) {
	b := newBench(t)
	run := b.run(b.supervisor(runnertest.Script{Steps: 10, HoldAt: 5}))
	b.awaitStep(1, 5)
	close(run.pause)
	out, err := run.wait()
	require.NoError(t, err)
	require.Equal(t, contract.RunOutput{Outcome: contract.OutcomePaused, Step: 5, TotalSteps: 10, Checkpoint: "step-00000005"}, out)
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		require.Equal(t, 5, r.State.Checkpoint.Step)
		require.Equal(t, contract.OutcomePaused, r.State.Result.Outcome)
	})

	resumed := b.run(b.supervisor(runnertest.Script{Steps: 10}))
	b.requireFinished(resumed, 10)
	b.requireTold(count(1, 5), count(6, 10))
}

func TestResumeOnAnotherMachine(t *testing.T) {
	b := newBench(t)
	run := b.run(b.supervisor(runnertest.Script{Steps: 10, HoldAt: 5}))
	b.awaitStep(1, 5)
	close(run.pause)
	_, err := run.wait()
	require.NoError(t, err)

	b.scratch, err = runner.OpenScratch(filepath.Join(t.TempDir(), "elsewhere"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.scratch.Close() })
	resumed := b.run(b.supervisor(runnertest.Script{Steps: 10}))
	b.requireFinished(resumed, 10)
	b.requireTold(count(1, 5), count(6, 10))
}

func TestPauseBeforeLaunchStartsNothing(t *testing.T) {
	b := newBench(t)
	s := b.supervisor(runnertest.Script{Steps: 10})
	pause := make(chan struct{})
	close(pause)
	out, err := s.Run(t.Context(), gpu.RunRequest{Input: contract.RunInput{RunID: job, Kind: contract.KindJob}, Pause: pause})
	require.NoError(t, err)
	require.Equal(t, contract.OutcomePaused, out.Outcome)
	require.Empty(t, b.starts)
	b.gateway.Look(job, func(r *gatewaytest.Run) { require.Zero(t, r.State.Epoch) })
}

func TestPauseKillsDeafRunner(t *testing.T) {
	b := newBench(t)
	s := b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2, HoldAt: 5, Deaf: true})
	s.PauseGrace = 50 * time.Millisecond
	run := b.run(s)
	b.awaitStep(1, 5)
	close(run.pause)
	out, err := run.wait()
	require.NoError(t, err)
	require.Equal(t, contract.OutcomePaused, out.Outcome)
	require.Equal(t, "step-00000004", out.Checkpoint, "the last committed checkpoint stands")
	require.False(t, b.starts[0].Alive())
}

func TestSupersededRunnerIsKilled(t *testing.T) {
	b := newBench(t)
	run := b.run(b.supervisor(runnertest.Script{Steps: 10, HoldAt: 5, Chatty: true}))
	b.awaitStep(1, 5)
	_, err := b.gateway.Client(t).Claim(t.Context(), job, contract.ClaimRequest{ExpectEpoch: 1, Worker: "elsewhere/x/y"})
	require.NoError(t, err)
	_, err = run.wait()
	require.Equal(t, contract.CodeEpochSuperseded, contract.CodeOf(err))
	require.False(t, b.starts[0].Alive())
}

func TestOlderRunnerIsKilledBeforeLaunch(t *testing.T) {
	b := newBench(t)
	first := b.run(b.supervisor(runnertest.Script{Steps: 10, HoldAt: 5}))
	b.awaitStep(1, 5)
	first.cancel()
	_, err := first.wait()
	require.ErrorIs(t, err, gpu.ErrDetached)
	_, err = b.gateway.Client(t).Claim(t.Context(), job, contract.ClaimRequest{ExpectEpoch: 1, Worker: "elsewhere/x/y"})
	require.NoError(t, err)

	second := b.run(b.supervisor(runnertest.Script{Steps: 10}))
	b.requireFinished(second, 10)
	require.False(t, b.starts[0].Alive())
	b.requireTold(count(1, 5), nil, count(1, 10))
}

func TestGatewayOutageKeepsRunner(t *testing.T) {
	b := newBench(t)
	run := b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 4, HoldAt: 5}))
	b.awaitStep(1, 5)
	b.gateway.SetDown(true)
	b.letGo()
	require.Eventually(t, func() bool { return !b.starts[0].Alive() }, 30*time.Second, 10*time.Millisecond, "it trains on, and finishes")
	b.gateway.SetDown(false)
	b.requireFinished(run, 10)
	b.requireTold(count(1, 10))
	require.Len(t, b.starts, 1)
}

func TestExpiredTokenIsRenewed(t *testing.T) {
	b := newBench(t)
	run := b.run(b.supervisor(runnertest.Script{Steps: 10, HoldAt: 5}))
	b.awaitStep(1, 5)
	b.gateway.ExpireToken(job)
	b.letGo()
	b.requireFinished(run, 10)
	require.Len(t, b.starts, 1)
}

func TestCrashLoopEndsWithNoProgress(t *testing.T) {
	b := newBench(t)
	run := b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2, CrashAt: 5}))
	_, err := run.wait()
	require.Equal(t, contract.CodeNoProgress, contract.CodeOf(err))
	require.Len(t, b.starts, 3)
	var problem *contract.Error
	require.ErrorAs(t, err, &problem)
	require.Contains(t, problem.Message, "ValueError: the fake gave up")
	require.Contains(t, problem.Detail, "Traceback")
	require.NotContains(t, problem.Detail, "triton", "known noise is left out")
	b.gateway.Look(job, func(r *gatewaytest.Run) { require.Equal(t, []int{0, 4, 4}, r.Claims) })
}

func TestRunnerKilledAgainAndAgainGoesOn(t *testing.T) {
	b := newBench(t)
	held := runnertest.Script{Steps: 10, SaveEvery: 2, HoldAt: 5}
	run := b.run(b.supervisor(held, held, held, held, runnertest.Script{Steps: 10, SaveEvery: 2}))
	for life := range 4 {
		b.awaitStep(int64(life+1), 5)
		b.starts[life].Kill()
	}
	b.requireFinished(run, 10)
	require.Len(t, b.starts, 5)
}

func TestCrashesWithProgressGoOn(t *testing.T) {
	b := newBench(t)
	var scripts []runnertest.Script
	for step := 2; step <= 6; step++ {
		scripts = append(scripts, runnertest.Script{Steps: 8, SaveEvery: 1, CrashAt: step})
	}
	run := b.run(b.supervisor(append(scripts, runnertest.Script{Steps: 8, SaveEvery: 1})...))
	b.requireFinished(run, 8)
	require.Len(t, b.starts, 6)
}

func TestTypedFailureIsHandedIn(t *testing.T) {
	b := newBench(t)
	run := b.run(b.supervisor(runnertest.Script{Steps: 10, Fail: contract.Errorf(contract.CodeBadData, "row 7 has no text").On("dataset")}))
	_, err := run.wait()
	require.Equal(t, contract.CodeBadData, contract.CodeOf(err))
	b.gateway.Look(job, func(r *gatewaytest.Run) { require.Equal(t, contract.CodeBadData, r.State.Result.Error.Code) })
	require.Len(t, b.starts, 1)

	// A workflow that has mended the cause starts it anew, and is not told the old failure again.
	b.requireFinished(b.run(b.supervisor(runnertest.Script{Steps: 10})), 10)
}

func TestCheckpointsArriveInOrderThoughPruned(t *testing.T) {
	b := newBench(t)
	run := b.run(b.supervisor(runnertest.Script{Steps: 40, SaveEvery: 1, KeepLast: 2}))
	b.requireFinished(run, 40)
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		last := 0
		for _, manifest := range r.Checkpoints {
			require.Greater(t, manifest.Step, last)
			last = manifest.Step
		}
		require.Equal(t, 40, last)
	})
}

func TestDamagedCommittedCheckpointFallsBack(t *testing.T) {
	b := newBench(t)
	run := b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2, HoldAt: 5}))
	b.gateway.Await(t, job, func(r *gatewaytest.Run) bool { return r.State.Checkpoint != nil && r.State.Checkpoint.Step == 4 })
	close(run.pause)
	out, err := run.wait()
	require.NoError(t, err)
	require.Equal(t, 5, out.Step)
	// Both copies of step 5 are lost.
	var digest string
	b.gateway.Look(job, func(r *gatewaytest.Run) { digest = r.State.Checkpoint.Files[0].SHA256 })
	b.gateway.DropBlob(digest)
	folder := filepath.Join(b.scratch.Root, "runs", job, "checkpoints", "step-00000005", "state.bin")
	require.NoError(t, os.WriteFile(folder, []byte("rubbish"), 0o600))
	b.letGo()

	resumed := b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2}))
	b.requireFinished(resumed, 10)
	b.gateway.Look(job, func(r *gatewaytest.Run) { require.Equal(t, []int{0, 5, 4}, r.Claims) })
}

// pausedElsewhere pauses the run at step 5, whose checkpoint this machine has not.
func (b *bench) pausedElsewhere() {
	b.t.Helper()
	run := b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2, HoldAt: 5}))
	b.awaitStep(1, 5)
	close(run.pause)
	_, err := run.wait()
	require.NoError(b.t, err)
	require.NoError(b.t, os.RemoveAll(filepath.Join(b.scratch.Root, "runs", job, "checkpoints")))
	b.letGo()
}

func TestAMachineThatChangesWhatItFetchesLosesNoCheckpoint(t *testing.T) {
	b := newBench(t)
	b.pausedElsewhere()
	b.gateway.Garble(2)
	_, err := b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2})).wait()
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err), "the next attempt tries again: %v", err)
	b.requireFinished(b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2})), 10)
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		require.Equal(t, []int{0, 5, 5}, r.Claims)
		require.Empty(t, r.Lost)
	})
}

func TestProxyThatLeadsAstrayLosesNoCheckpoint(t *testing.T) {
	b := newBench(t)
	b.pausedElsewhere()
	b.gateway.Mislead(3)
	b.requireFinished(b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2})), 10)
	require.Zero(t, b.gateway.Misled())
	b.gateway.Look(job, func(r *gatewaytest.Run) { require.Equal(t, []int{0, 5}, r.Claims, "it goes on from the newest") })
}

func TestDiskFullRefusesLaunch(t *testing.T) {
	b := newBench(t)
	s := b.supervisor(runnertest.Script{Steps: 10})
	s.MinFree = 1 << 60
	_, err := b.run(s).wait()
	require.Equal(t, contract.CodeDiskFull, contract.CodeOf(err))
	require.Empty(t, b.starts)
}

func TestFullGatewayEndsTheRunnerToo(t *testing.T) {
	b := newBench(t)
	held := b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2, HoldAt: 5, Chatty: true}))
	b.awaitStep(1, 5)
	b.gateway.SetFull(true)
	_, err := held.wait()
	require.Equal(t, contract.CodeDiskFull, contract.CodeOf(err))
	require.False(t, b.starts[0].Alive(), "a run that pauses for want of room must not train on")

	b.gateway.SetFull(false)
	b.letGo()
	b.requireFinished(b.run(b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2})), 10)
	b.gateway.Look(job, func(r *gatewaytest.Run) { require.Equal(t, []int{0, 5}, r.Claims, "what it saved is gone on from") })
}

func TestStrangeIDsNeverBecomePaths(t *testing.T) {
	b := newBench(t)
	s := b.supervisor(runnertest.Script{})
	for _, id := range []string{"", "..", "job_../x", "/etc", "job_a/b", strings.Repeat("a", 300)} {
		_, err := s.Run(t.Context(), gpu.RunRequest{Input: contract.RunInput{RunID: id}})
		require.Equal(t, contract.CodeInvalid, contract.CodeOf(err), id)
	}
}

func TestScratchHasOneOwner(t *testing.T) {
	b := newBench(t)
	_, err := runner.OpenScratch(b.scratch.Root)
	require.Equal(t, contract.CodeInUse, contract.CodeOf(err))
	instance := b.scratch.Instance
	require.NoError(t, b.scratch.Close())
	again, err := runner.OpenScratch(b.scratch.Root)
	require.NoError(t, err)
	require.Equal(t, instance, again.Instance)
	require.NotEqual(t, b.scratch.Boot, again.Boot)
	require.NoError(t, again.Close())
}

func TestReconcile(t *testing.T) {
	b := newBench(t)
	first := b.run(b.supervisor(runnertest.Script{Steps: 10, HoldAt: 5}))
	b.awaitStep(1, 5)
	first.cancel()
	_, err := first.wait()
	require.ErrorIs(t, err, gpu.ErrDetached)

	// The worker died while it was pausing: the next one has the runner save, and commits.
	b.gateway.Look(job, func(r *gatewaytest.Run) { r.State.Status = contract.StatusPausing })
	next := b.supervisor(runnertest.Script{})
	require.NoError(t, next.Reconcile(t.Context()))
	require.False(t, b.starts[0].Alive())
	b.gateway.Look(job, func(r *gatewaytest.Run) {
		require.Equal(t, 5, r.State.Checkpoint.Step)
		r.State.Status = contract.StatusCancelled
	})

	require.NoError(t, next.Reconcile(t.Context()))
	require.NoDirExists(t, filepath.Join(b.scratch.Root, "runs", job))
}

func TestReconcileKillsARunnerWhoseRunGoesOnElsewhere(t *testing.T) {
	b := newBench(t)
	supervisor := b.supervisor(runnertest.Script{Steps: 10, HoldAt: 5})
	run := b.run(supervisor)
	b.awaitStep(1, 5)
	run.cancel() // its heartbeat was lost
	_, err := run.wait()
	require.ErrorIs(t, err, gpu.ErrDetached)
	select {
	case <-supervisor.LetGo():
	default:
		require.Fail(t, "nobody was told that the run was let go")
	}

	require.NoError(t, supervisor.Reconcile(t.Context()))
	require.True(t, b.starts[0].Alive(), "nobody else has the run: its runner waits for the next attempt")
	_, err = b.gateway.Client(t).Claim(t.Context(), job, contract.ClaimRequest{ExpectEpoch: 1, Worker: "elsewhere/x/y"})
	require.NoError(t, err)
	b.gateway.SetDown(true)
	require.Error(t, supervisor.Reconcile(t.Context()), "a run that could not be looked at is not passed over")
	b.gateway.SetDown(false)
	require.NoError(t, supervisor.Reconcile(t.Context()))
	require.False(t, b.starts[0].Alive())
}
