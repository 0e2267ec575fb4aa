package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
)

// slotRun is a run that takes a slot once and can be cancelled: an evaluation or an export.
type slotRun struct {
	id       string
	kind     contract.Kind
	queue    string
	activity string
	log      *recorder
	ending   *ending
	turns    *turns
}

// errEnding tells a caller that the user wants the run to end.
var errEnding = errors.New("the run is to end")

// run waits in line for a slot and works until the end; it returns errEnding when a cancel came first, and never calls the
// activity when the cancel was there before it.
func (r *slotRun) run(ctx workflow.Context) (out contract.RunOutput, err error) {
	if r.ending.asked() {
		return out, errEnding
	}
	r.log.show(ctx, string(r.kind), fmt.Sprintf("Waits for a slot of queue `%s`, or runs", r.queue))
	come, err := r.turns.queue(ctx, r.log, contract.Queued{Queue: r.queue}, r.ending.asked)
	if err != nil {
		return out, err
	}
	if !come {
		return out, errEnding
	}
	input := contract.RunInput{RunID: r.id, Kind: r.kind}
	ctx = workflow.WithActivityOptions(ctx, slotOptions(r.queue, string(r.kind)+" "+r.id, priorityNew))
	err = interruptible(ctx, r.ending.asked, &out, func(ctx workflow.Context) workflow.Future {
		return workflow.ExecuteActivity(ctx, r.activity, input)
	})
	switch {
	case r.ending.asked():
		return out, errEnding
	case err == nil && out.Outcome != contract.OutcomeCompleted:
		problem := contract.Errorf(contract.CodeInternal, "the %s ended as %q", r.kind, out.Outcome)
		return out, temporal.NewNonRetryableApplicationError(problem.Message, string(problem.Code), nil, *problem)
	}
	return out, err
}

// unfinished records why the run did not complete and returns the error that closes the workflow.
func (r *slotRun) unfinished(ctx workflow.Context, err error) error {
	if errors.Is(err, errEnding) {
		return r.log.cancelled(ctx)
	}
	return r.log.fail(ctx, problemOf(err))
}
