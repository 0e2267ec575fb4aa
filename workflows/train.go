package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
)

// Train sees a training job through: it waits for a slot, trains through any number of pauses, failures and machines,
// and registers the model. Signals pause, resume and cancel are taken at any time and in any order. A failed job ends
// the workflow with an application error whose type is a contract.Code, a cancelled one with a CanceledError.
func Train(ctx workflow.Context, in contract.TrainInput) (contract.TrainResult, error) {
	t := &training{in: in, log: newRecorder(ctx, contract.KindJob, in.JobID), messages: newControls(ctx), turns: newTurns(ctx)}
	if in.Before != nil {
		t.takeUp(*in.Before)
	}
	return t.run(detach(ctx))
}

type training struct {
	in       contract.TrainInput
	log      *recorder
	messages *controls
	turns    *turns
	// last is the newest checkpoint that the workflow has heard of; the gateway may know a newer one.
	last contract.CheckpointRef
	// resumed says that the job has held a slot before.
	resumed bool
	room    room
	// rested says that this run of the workflow has seen a pause come and go.
	rested bool
}

// changeRenews marks the runs that hand on to a new one where their history has become long: Temporal ends one of some two
// thousand pauses.
const changeRenews = "hands-on-a-long-history"

// long tells that it is time to hand on.
func (t *training) long(ctx workflow.Context) bool {
	return t.rested && workflow.GetInfo(ctx).GetContinueAsNewSuggested() &&
		workflow.GetVersion(ctx, changeRenews, workflow.DefaultVersion, 1) != workflow.DefaultVersion
}

// handOn ends this run of the workflow for one that goes on from here. All messages have been taken by then.
func (t *training) handOn(ctx workflow.Context) error {
	next := t.in
	next.Before = &contract.TrainBefore{Checkpoint: t.last, Resumed: t.resumed, Command: int64(t.messages.order),
		QueuedAt: t.turns.newestStay(), FullTries: t.room.tries, FullLastAt: t.room.last}
	return workflow.NewContinueAsNewError(ctx, contract.WorkflowTrain, next)
}

func (t *training) takeUp(before contract.TrainBefore) {
	t.last, t.resumed = before.Checkpoint, before.Resumed
	t.messages.order, t.turns.since = order(before.Command), before.QueuedAt
	t.room = room{tries: before.FullTries, last: before.FullLastAt}
}

func (t *training) run(ctx workflow.Context) (contract.TrainResult, error) {
	for {
		t.messages.take()
		if t.messages.wanted {
			if done, result, err := t.cancel(ctx); done {
				return result, err
			}
			continue
		}
		if t.messages.pause {
			if err := t.rest(ctx, nil); err != nil {
				return contract.TrainResult{}, err
			}
			continue
		}
		if t.long(ctx) {
			return contract.TrainResult{}, t.handOn(ctx)
		}
		out, err := t.train(ctx)
		if done, result, err := t.judge(ctx, out, err); done {
			return result, err
		}
	}
}

// train waits in line, before others if the job had a slot before, takes one, and trains until the end, a pause or a cancel.
func (t *training) train(ctx workflow.Context) (out contract.RunOutput, err error) {
	t.log.show(ctx, contract.StageTrain, fmt.Sprintf("Waits for a slot of queue `%s`, or trains", t.in.Queue))
	queued := contract.Queued{Queue: t.in.Queue, Priority: t.resumed}
	come, err := t.turns.queue(ctx, t.log, queued, t.messages.interrupts)
	if err != nil {
		return out, err
	}
	if !come {
		return out, temporal.NewCanceledError()
	}
	priority := priorityNew
	if t.resumed {
		priority = priorityResumed
	}
	input := contract.RunInput{RunID: t.in.JobID, Kind: contract.KindJob}
	ctx = workflow.WithActivityOptions(ctx, slotOptions(t.in.Queue, "train "+t.in.JobID, priority))
	err = interruptible(ctx, t.messages.interrupts, &out, func(ctx workflow.Context) workflow.Future {
		return workflow.ExecuteActivity(ctx, contract.ActivityTrain, input)
	})
	return out, err
}

// judge decides what the end of an activity means. done is false when the job goes on: with a pause, a cancel or
// another slot.
func (t *training) judge(ctx workflow.Context, out contract.RunOutput, err error) (done bool, result contract.TrainResult, _ error) {
	t.messages.take()
	var paused *temporal.CanceledError
	switch {
	case errors.As(err, &paused):
		t.remember(paused)
		return false, result, nil
	case t.messages.wanted && !(t.messages.keep && err == nil):
		// The end was asked for while the activity was ending by itself: the wish stands.
		return false, result, nil
	case err != nil && t.messages.pause && passing(err):
		// Temporal does not try an activity again that was asked to stop: the worker died before it could tell of the
		// checkpoint. The gateway knows it.
		t.resumed = true
		return false, result, nil
	case err != nil:
		return t.failed(ctx, problemOf(err))
	case out.Outcome != contract.OutcomeCompleted:
		problem := contract.Errorf(contract.CodeInternal, "training ended as %q", out.Outcome)
		return true, result, t.log.fail(ctx, problem)
	}
	return t.complete(ctx, out)
}

// failed applies the policies of failures: a full disk waits for room, all others are final.
func (t *training) failed(ctx workflow.Context, problem *contract.Error) (bool, contract.TrainResult, error) {
	if problem.Code != contract.CodeDiskFull {
		return true, contract.TrainResult{}, t.log.fail(ctx, problem)
	}
	t.resumed = true
	rest := t.rest
	switch {
	case t.messages.pause: // the user's own pause comes before it, and only the user ends it
	case workflow.GetVersion(ctx, changeGoesOn, workflow.DefaultVersion, 1) == workflow.DefaultVersion:
		t.messages.woken()
	default:
		t.messages.woken()
		rest = t.restForRoom
	}
	if err := rest(ctx, problem); err != nil {
		return true, contract.TrainResult{}, err
	}
	return false, contract.TrainResult{}, nil
}

func (t *training) remember(paused *temporal.CanceledError) {
	var ref contract.CheckpointRef
	if !paused.HasDetails() || paused.Details(&ref) != nil {
		return // it was waiting for a slot
	}
	t.resumed = true
	if ref.Step >= t.last.Step {
		t.last = ref
	}
}

// rest waits, holding no slot, until the job is resumed or cancelled.
func (t *training) rest(ctx workflow.Context, problem *contract.Error) error {
	for again := true; again; again = t.messages.pause && !t.messages.wanted && !t.messages.resume {
		if err := t.paused(ctx, contract.Paused{Error: problem}); err != nil {
			return err
		}
		if err := workflow.Await(ctx, t.messages.wakes); err != nil {
			return err
		}
	}
	t.messages.woken()
	return nil
}

func (t *training) paused(ctx workflow.Context, p contract.Paused) error {
	t.log.show(ctx, string(contract.StatusPaused), fmt.Sprintf("Paused at step %d", t.last.Step))
	t.rested = true
	p.Step, p.Checkpoint = t.last.Step, t.last.Name
	if err := t.log.record(ctx, contract.EventPaused, p); err != nil {
		return err
	}
	t.messages.rested()
	return nil
}

// cancel ends the job; with "stop and keep" its last checkpoint becomes a model, if there is one. Where there is no room
// for that nothing is thrown away: the job pauses, and done is false.
func (t *training) cancel(ctx workflow.Context) (done bool, result contract.TrainResult, _ error) {
	if !t.messages.keep {
		return true, result, t.log.cancelled(ctx)
	}
	model, err := t.register(ctx, contract.RegisterModelInput{JobID: t.in.JobID, Checkpoint: t.last.Name, Keep: true})
	if err != nil {
		return t.notKept(ctx, problemOf(err))
	}
	step := max(model.Step, t.last.Step)
	result, err = t.end(ctx, contract.EventStopped, contract.StatusStopped, contract.JobCompleted{ModelID: model.ModelID, Step: step})
	return true, result, err
}

// changeKeepWaits marks the runs that pause where there is no room to keep a model; earlier ones failed.
const changeKeepWaits = "keep-waits-for-room"

func (t *training) notKept(ctx workflow.Context, problem *contract.Error) (done bool, result contract.TrainResult, _ error) {
	switch {
	case problem.Code == contract.CodeNotFound:
		return true, result, t.log.cancelled(ctx)
	case problem.Code != contract.CodeDiskFull || workflow.GetVersion(ctx, changeKeepWaits, workflow.DefaultVersion, 1) == workflow.DefaultVersion:
		return true, result, t.log.fail(ctx, problem)
	}
	t.messages.forget()
	t.messages.woken()
	if err := t.rest(ctx, problem.Mend("make room on the server's disk, then cancel with keep again, or resume: nothing is lost")); err != nil {
		return true, result, err
	}
	return false, result, nil
}

// complete registers what was trained. Where there is no room for that the job waits; once resumed, the next attempt
// finds the training's result with the gateway, and trains nothing again.
func (t *training) complete(ctx workflow.Context, out contract.RunOutput) (done bool, result contract.TrainResult, _ error) {
	model, err := t.register(ctx, contract.RegisterModelInput{JobID: t.in.JobID})
	if err != nil {
		return t.failed(ctx, problemOf(err))
	}
	result, err = t.end(ctx, contract.EventCompleted, contract.StatusCompleted, contract.JobCompleted{
		ModelID: model.ModelID, Step: out.Step, TotalSteps: out.TotalSteps, Metrics: out.Metrics,
	})
	return true, result, err
}

func (t *training) register(ctx workflow.Context, in contract.RegisterModelInput) (out contract.RegisterModelOutput, err error) {
	t.log.show(ctx, "register", "Registers the model")
	ctx = workflow.WithActivityOptions(ctx, controlOptions("register the model of "+t.in.JobID))
	err = workflow.ExecuteActivity(ctx, contract.ActivityRegisterModel, in).Get(ctx, &out)
	return out, err
}

func (t *training) end(ctx workflow.Context, event string, status contract.Status, done contract.JobCompleted) (contract.TrainResult, error) {
	t.log.show(ctx, string(status), fmt.Sprintf("Model `%s` after %d steps", done.ModelID, done.Step))
	if err := t.log.record(ctx, event, done); err != nil {
		return contract.TrainResult{}, err
	}
	return contract.TrainResult{ModelID: done.ModelID, Status: status, Step: done.Step}, nil
}
