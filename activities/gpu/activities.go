package gpu

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/vibeflow/vibeflow/contract"
)

// Types of application errors that say what became of the worker, not of the run. All are tried again.
const (
	TypeWorkerDetached  = "WorkerDetached"  // the worker let go; its runner goes on
	TypeWorkerStopping  = "WorkerStopping"  // the worker was stopped; its runner has saved and left
	TypeEpochSuperseded = "EpochSuperseded" // a newer launch owns the run
	TypeOperatorPaused  = "OperatorPaused"  // paused from Temporal's UI
)

// beatEvery is how often a running activity heartbeats; the worker throttles to one a second.
const beatEvery = time.Second

// Activities are registered on a slot queue (the runs) and on its serve queue (Serve, ShowTokens).
type Activities struct {
	Runner    Runner
	Engines   Engines
	Tokenizer Tokenizer
	Room      Room
	// SaveOnStop is asked when the worker stops: true has the runners save and leave (Ctrl-C on `up`), false leaves them
	// running for the next worker (SIGTERM, an upgrade). Nil is false.
	SaveOnStop func() bool
}

// RunTraining trains until it is finished, paused or failed.
func (a *Activities) RunTraining(ctx context.Context, in contract.RunInput) (contract.RunOutput, error) {
	return a.run(ctx, in)
}

// RunEvaluation measures a tuned model beside its base.
func (a *Activities) RunEvaluation(ctx context.Context, in contract.RunInput) (contract.RunOutput, error) {
	return a.run(ctx, in)
}

// RunExport makes a downloadable folder of a model.
func (a *Activities) RunExport(ctx context.Context, in contract.RunInput) (contract.RunOutput, error) {
	return a.run(ctx, in)
}

func (a *Activities) run(ctx context.Context, in contract.RunInput) (contract.RunOutput, error) {
	var hint atomic.Pointer[Hint]
	stopBeating := keepBeating(ctx, func() any { return hint.Load() })
	defer stopBeating()

	end := a.watchEnd(ctx)
	defer end.release()
	out, err := a.Runner.Run(end.work, RunRequest{
		Input:    in,
		Pause:    end.leave,
		Advanced: func(h Hint) { hint.Store(&h) },
	})
	switch {
	case err != nil:
		return contract.RunOutput{}, end.failure(err)
	case out.Outcome == contract.OutcomePaused:
		return contract.RunOutput{}, end.paused(out)
	default:
		return out, nil
	}
}

// Serve keeps a deployment (in.RunID is its id) answering until it is cancelled.
func (a *Activities) Serve(ctx context.Context, in contract.RunInput) error {
	stopBeating := keepBeating(ctx, func() any { return nil })
	defer stopBeating()

	end := a.watchEnd(ctx)
	defer end.release()
	err := a.Engines.Serve(end.work, ServeRequest{DeploymentID: in.RunID, Stop: end.leave})
	if err != nil {
		return end.failure(err)
	}
	return end.left()
}

// ShowTokens answers a question that the gateway holds.
func (a *Activities) ShowTokens(ctx context.Context, in contract.TokensInput) error {
	if err := a.Tokenizer.Answer(ctx, in.QuestionID); err != nil {
		return Failure(err)
	}
	return nil
}

// roomLook is how often a disk that was full is looked at.
const roomLook = 10 * time.Second

// AwaitRoom waits until this machine's disk has room for a run again. When the worker stops the next one waits on.
func (a *Activities) AwaitRoom(ctx context.Context, in contract.RunInput) error {
	look := time.NewTicker(roomLook)
	defer look.Stop()
	for {
		there, err := a.Room.HasRoom(in.RunID)
		if err != nil || there {
			return err
		}
		activity.RecordHeartbeat(ctx)
		select {
		case <-look.C:
		case <-activity.GetWorkerStopChannel(ctx):
			return temporal.NewApplicationError("the worker was stopped", TypeWorkerStopping)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// keepBeating heartbeats on a context that outlives the activity's: a save that takes longer than the heartbeat timeout
// would otherwise be lost, and with it the pause.
func keepBeating(ctx context.Context, detail func() any) (stop func()) {
	beat, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(beatEvery)
		defer ticker.Stop()
		for {
			activity.RecordHeartbeat(context.WithoutCancel(ctx), detail())
			select {
			case <-ticker.C:
			case <-beat.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}

// ending watches all the ways in which an activity may be asked to end.
type ending struct {
	work    context.Context // ends when the process is to be let go
	leave   chan struct{}   // closed when the process is to save and leave
	why     atomic.Pointer[wish]
	release context.CancelFunc
}

// wish is the first reason that arrived.
type wish string

const (
	wishCancelled wish = "cancelled" // by the workflow
	wishOperator  wish = "operator"  // paused from Temporal's UI
	wishStopping  wish = "stopping"  // Ctrl-C
	wishDetaching wish = "detaching" // SIGTERM, a lost heartbeat, a deadline
)

func (a *Activities) watchEnd(ctx context.Context) *ending {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	end := &ending{work: work, leave: make(chan struct{}), release: cancel}
	go func() {
		select {
		case <-ctx.Done():
			end.want(reasonOf(ctx), cancel)
		case <-activity.GetWorkerStopChannel(ctx):
			end.want(a.onStop(), cancel)
		case <-work.Done():
		}
	}()
	return end
}

func (a *Activities) onStop() wish {
	if a.SaveOnStop != nil && a.SaveOnStop() {
		return wishStopping
	}
	return wishDetaching
}

func (e *ending) want(w wish, letGo context.CancelFunc) {
	e.why.Store(&w)
	if w == wishDetaching {
		letGo()
		return
	}
	close(e.leave)
}

// reasonOf tells a wish of the user's from a failure of the connection: only the first may stop a runner.
func reasonOf(ctx context.Context) wish {
	cause := context.Cause(ctx)
	switch {
	case temporal.IsCanceledError(cause):
		return wishCancelled
	case errors.Is(cause, activity.ErrActivityPaused):
		return wishOperator
	default:
		return wishDetaching
	}
}

func (e *ending) reason() wish {
	if w := e.why.Load(); w != nil {
		return *w
	}
	return ""
}

// paused is what a paused run returns: the workflow's cancellation carries the checkpoint; any other pause is the
// worker's own affair, and the run is to go on elsewhere or later.
func (e *ending) paused(out contract.RunOutput) error {
	switch e.reason() {
	case wishCancelled:
		return temporal.NewCanceledError(contract.CheckpointRef{Name: out.Checkpoint, Step: out.Step})
	case wishOperator:
		return temporal.NewApplicationError("paused from Temporal's UI", TypeOperatorPaused)
	default:
		return temporal.NewApplicationError("the worker was stopped; the run has saved", TypeWorkerStopping)
	}
}

// left is what a deployment that was taken down returns.
func (e *ending) left() error {
	switch e.reason() {
	case wishCancelled:
		return temporal.NewCanceledError()
	case wishOperator:
		return temporal.NewApplicationError("paused from Temporal's UI", TypeOperatorPaused)
	default:
		return temporal.NewApplicationError("the worker was stopped", TypeWorkerStopping)
	}
}

func (e *ending) failure(err error) error {
	if errors.Is(err, ErrDetached) || errors.Is(err, context.Canceled) {
		return temporal.NewApplicationError("the worker let go of its process, which goes on", TypeWorkerDetached)
	}
	return Failure(err)
}
