package workers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/embedded/embeddedtest"
	"github.com/vibeflow/vibeflow/internal/gatewayclient/gatewaytest"
	"github.com/vibeflow/vibeflow/internal/hardware"
	"github.com/vibeflow/vibeflow/internal/pyenv"
	"github.com/vibeflow/vibeflow/workers/runner"
	"github.com/vibeflow/vibeflow/workers/runner/runnertest"
)

// gpuBench is a real Temporal, a gateway with one job, a workflow that trains it, and GPU workers that come and go.
type gpuBench struct {
	t        *testing.T
	temporal *embeddedtest.Temporal
	gateway  *gatewaytest.Gateway
	queue    string
	job      string
	scratch  string
	hold     string
	script   runnertest.Script

	mu     sync.Mutex
	starts []runner.Process
}

// outcome is what the test workflow tells of its end.
type outcome struct {
	Out       contract.RunOutput
	Cancelled bool
	Ref       contract.CheckpointRef
	Failure   string
}

func trainOnce(ctx workflow.Context, queue, job string) (outcome, error) {
	work := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: queue, StartToCloseTimeout: time.Hour, HeartbeatTimeout: time.Minute, WaitForCancellation: true,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: 50 * time.Millisecond},
	})
	var out outcome
	err := workflow.ExecuteActivity(work, contract.ActivityTrain, contract.RunInput{RunID: job, Kind: contract.KindJob}).Get(ctx, &out.Out)
	var cancelled *temporal.CanceledError
	var failed *temporal.ApplicationError
	switch {
	case errors.As(err, &cancelled):
		out.Cancelled = true
		if cancelled.HasDetails() {
			err = cancelled.Details(&out.Ref)
			return out, err
		}
	case errors.As(err, &failed):
		out.Failure = failed.Type()
	case err != nil:
		return out, err
	}
	return out, nil
}

func newGPUBench(t *testing.T) *gpuBench {
	t.Helper()
	t.Parallel()
	b := &gpuBench{
		t: t, temporal: embeddedtest.Start(t), gateway: gatewaytest.New(t), job: contract.NewID(contract.PrefixJob),
		scratch: filepath.Join(t.TempDir(), "scratch"), hold: filepath.Join(t.TempDir(), "hold"),
		script: runnertest.Script{Steps: 10, HoldAt: 5},
	}
	b.queue = b.temporal.Name(t, "gpu")
	b.gateway.AddRun(b.job, contract.KindJob, contract.RunSpec{Version: 1, Verb: contract.VerbTrain, Model: contract.ModelRef{Source: "tiny:llama"}})
	require.NoError(t, os.WriteFile(b.hold, nil, 0o600))
	w := worker.New(b.temporal.Client, b.queue+".wf", worker.Options{})
	w.RegisterWorkflowWithOptions(trainOnce, workflow.RegisterOptions{Name: "trainOnce"})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	return b
}

func (b *gpuBench) letGo() { require.NoError(b.t, os.Remove(b.hold)) }

// train starts the workflow.
func (b *gpuBench) train() client.WorkflowRun {
	run, err := b.temporal.Client.ExecuteWorkflow(b.t.Context(), client.StartWorkflowOptions{
		ID: contract.WorkflowID(contract.KindJob, b.job), TaskQueue: b.queue + ".wf",
	}, "trainOnce", b.queue, b.job)
	require.NoError(b.t, err)
	return run
}

func (b *gpuBench) outcome(run client.WorkflowRun) outcome {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	var out outcome
	require.NoError(b.t, run.Get(ctx, &out))
	return out
}

// gpuLife is one start of the worker.
type gpuLife struct {
	t      *testing.T
	detach context.CancelFunc
	stop   chan struct{}
	ready  chan struct{}
	done   chan error
}

func (b *gpuBench) worker() *gpuLife {
	ctx, cancel := context.WithCancel(context.Background())
	life := &gpuLife{t: b.t, detach: cancel, stop: make(chan struct{}), ready: make(chan struct{}), done: make(chan error, 1)}
	config := GPUConfig{
		Client: b.temporal.Client, GatewayURL: b.gateway.URL(), GatewayToken: gatewaytest.WorkerToken, Scratch: b.scratch,
		Queue: b.queue, Version: "test", Stopping: life.stop, Ready: func() { close(life.ready) },
		Ensure:   func(context.Context) (*pyenv.Env, error) { return &pyenv.Env{Kind: pyenv.KindCPU}, nil },
		Hardware: func(context.Context) hardware.Hardware { return hardware.Hardware{OS: "test"} },
		start: func(_ context.Context, launch runner.Launch) (runner.Process, error) {
			script := b.script
			script.Hold = b.hold
			process, err := runnertest.Start(b.t, script, launch)
			b.mu.Lock()
			defer b.mu.Unlock()
			b.starts = append(b.starts, process)
			return process, err
		},
	}
	go func() { life.done <- RunGPU(ctx, config) }()
	b.t.Cleanup(func() { cancel(); <-life.done })
	return life
}

func (l *gpuLife) wait() error {
	l.t.Helper()
	select {
	case err := <-l.done:
		l.done <- nil
		return err
	case <-time.After(time.Minute):
		require.Fail(l.t, "the worker did not end in a minute")
		return nil
	}
}

func (b *gpuBench) runners() []runner.Process {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.starts
}

// awaitLine blocks until the log has a line of an epoch.
func (b *gpuBench) awaitLine(epoch int64, part string) {
	b.t.Helper()
	b.gateway.Await(b.t, b.job, func(r *gatewaytest.Run) bool {
		for _, line := range r.Lines[epoch] {
			if strings.Contains(string(line), part) {
				return true
			}
		}
		return false
	})
}

func TestGPUWorkerTrains(t *testing.T) {
	b := newGPUBench(t)
	b.script.HoldAt = 0
	b.worker()
	out := b.outcome(b.train())
	require.Equal(t, contract.OutcomeCompleted, out.Out.Outcome)
	require.Equal(t, 10, out.Out.Step)
	b.gateway.AwaitReport(t, func(r contract.WorkerReport) bool { return r.State == contract.WorkerReady })
}

func TestGPUWorkerPausesOnCancel(t *testing.T) {
	b := newGPUBench(t)
	b.worker()
	run := b.train()
	b.awaitLine(1, `"step":5`)
	asked := time.Now()
	require.NoError(t, b.temporal.Client.CancelWorkflow(t.Context(), run.GetID(), ""))
	out := b.outcome(run)
	require.True(t, out.Cancelled)
	require.Equal(t, contract.CheckpointRef{Name: "step-00000005", Step: 5}, out.Ref)
	t.Logf("pause took %s", time.Since(asked))
	b.gateway.Look(b.job, func(r *gatewaytest.Run) { require.Equal(t, 5, r.State.Checkpoint.Step) })
}

func TestDetachedGPUWorkerIsContinuedByTheNext(t *testing.T) {
	b := newGPUBench(t)
	first := b.worker()
	run := b.train()
	b.awaitLine(1, `"step":5`)
	first.detach()
	require.NoError(t, first.wait())
	require.True(t, b.runners()[0].Alive())

	b.worker()
	b.gateway.Await(t, b.job, func(r *gatewaytest.Run) bool { return r.Adoptions > 0 })
	b.letGo()
	require.Equal(t, contract.OutcomeCompleted, b.outcome(run).Out.Outcome)
	require.Len(t, b.runners(), 1, "the runner was adopted")
}

func TestStoppedGPUWorkerSavesItsRunners(t *testing.T) {
	b := newGPUBench(t)
	first := b.worker()
	run := b.train()
	b.awaitLine(1, `"step":5`)
	close(first.stop)
	require.NoError(t, first.wait())
	require.False(t, b.runners()[0].Alive())
	b.gateway.Look(b.job, func(r *gatewaytest.Run) { require.Equal(t, 5, r.State.Checkpoint.Step) })

	b.worker()
	require.Equal(t, contract.OutcomeCompleted, b.outcome(run).Out.Outcome)
	require.Len(t, b.runners(), 2)
}

// killed leaves an activity in the hands of an earlier start of the worker that is no more: it holds the task, and will
// neither heartbeat nor answer.
func (b *gpuBench) killed() {
	scratch, err := runner.OpenScratch(b.scratch)
	require.NoError(b.t, err)
	host, err := os.Hostname()
	require.NoError(b.t, err)
	self := Identity{Host: host, Instance: scratch.Instance, Boot: scratch.Boot}
	require.NoError(b.t, scratch.Close())
	taken := make(chan struct{})
	w := worker.New(b.temporal.Client, b.queue, worker.Options{Identity: self.String(), DisableWorkflowWorker: true})
	w.RegisterActivityWithOptions(func(context.Context, contract.RunInput) error {
		close(taken)
		<-b.t.Context().Done()
		return activity.ErrResultPending
	}, activity.RegisterOptions{Name: contract.ActivityTrain})
	require.NoError(b.t, w.Start())
	select {
	case <-taken:
	case <-time.After(time.Minute):
		require.Fail(b.t, "nobody took the task")
	}
	w.Stop() // waits for nothing
}

func TestSweepTakesOverFromAKilledWorker(t *testing.T) {
	b := newGPUBench(t)
	b.script.HoldAt = 0
	run := b.train()
	b.killed()
	began := time.Now()
	b.worker()
	require.Equal(t, contract.OutcomeCompleted, b.outcome(run).Out.Outcome)
	require.Less(t, time.Since(began), 30*time.Second, "long before the heartbeat timeout of a minute")
}

func TestSweepFinishesThePauseOfAKilledWorker(t *testing.T) {
	b := newGPUBench(t)
	// An earlier worker started a runner, was asked to pause it, and died.
	first := b.worker()
	run := b.train()
	b.awaitLine(1, `"step":5`)
	first.detach()
	require.NoError(t, first.wait())
	b.killed() // takes the next attempt
	require.NoError(t, b.temporal.Client.CancelWorkflow(t.Context(), run.GetID(), ""))
	require.Eventually(t, func() bool {
		described, err := b.temporal.Client.DescribeWorkflowExecution(t.Context(), run.GetID(), "")
		return err == nil && len(described.GetPendingActivities()) == 1 &&
			described.GetPendingActivities()[0].GetState().String() == "CancelRequested"
	}, time.Minute, 20*time.Millisecond)

	b.worker()
	out := b.outcome(run)
	require.True(t, out.Cancelled)
	require.Equal(t, contract.CheckpointRef{Name: "step-00000005", Step: 5}, out.Ref)
	require.False(t, b.runners()[0].Alive())
}

func TestGPUWorkerReportsWhileItPrepares(t *testing.T) {
	b := newGPUBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	built := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- RunGPU(ctx, GPUConfig{
			Client: b.temporal.Client, GatewayURL: b.gateway.URL(), GatewayToken: gatewaytest.WorkerToken, Scratch: b.scratch, Queue: b.queue,
			Hardware: func(context.Context) hardware.Hardware { return hardware.Hardware{} },
			Ensure: func(ctx context.Context) (*pyenv.Env, error) {
				close(built)
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})
	}()
	<-built
	b.gateway.AwaitReport(t, func(r contract.WorkerReport) bool { return r.State == contract.WorkerPreparing })
	cancel()
	require.NoError(t, <-done)
}

func TestGPUWorkerNeedsItsEnvironment(t *testing.T) {
	b := newGPUBench(t)
	err := RunGPU(t.Context(), GPUConfig{
		Client: b.temporal.Client, GatewayURL: b.gateway.URL(), GatewayToken: gatewaytest.WorkerToken, Scratch: b.scratch, Queue: b.queue,
		Hardware: func(context.Context) hardware.Hardware { return hardware.Hardware{} },
		Ensure: func(context.Context) (*pyenv.Env, error) {
			return nil, contract.Errorf(contract.CodePrerequisite, "no Python here")
		},
	})
	require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err))
}

func TestGPUWorkerWithAWrongTokenTakesNoWork(t *testing.T) {
	b := newGPUBench(t)
	err := RunGPU(t.Context(), GPUConfig{
		Client: b.temporal.Client, GatewayURL: b.gateway.URL(), GatewayToken: "wrong", Scratch: b.scratch, Queue: b.queue,
		Hardware: func(context.Context) hardware.Hardware { return hardware.Hardware{} },
		Ensure: func(ctx context.Context) (*pyenv.Env, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	})
	require.Equal(t, contract.CodeUnauthenticated, contract.CodeOf(err))
}
