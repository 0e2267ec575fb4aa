package activities

import (
	"context"
	"errors"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/vibeflow/vibeflow/contract"
)

// typeWorkerStopping is the retryable failure of an activity whose worker is stopped: the next worker goes on.
const typeWorkerStopping = "WorkerStopping"

var errWorkerStopping = errors.New("this worker is stopping")

// failure turns an error into what Temporal acts on: the type is the contract's code, by which the workflow's retry policy
// decides, and the detail is the typed error. Its Detail stays behind: what it cites belongs into the database, not into
// a history.
func failure(err error) error {
	var problem *contract.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errWorkerStopping):
		return temporal.NewApplicationError(errWorkerStopping.Error(), typeWorkerStopping)
	case errors.As(err, &problem):
		return applicationError(problem, false)
	case errors.Is(err, context.Canceled):
		return temporal.NewCanceledError()
	default:
		return temporal.NewApplicationErrorWithCause("an error inside VibeFlow", string(contract.CodeInternal), err)
	}
}

func applicationError(problem *contract.Error, final bool) error {
	told := *problem
	told.Detail = ""
	return temporal.NewApplicationErrorWithOptions(told.Message, string(told.Code), temporal.ApplicationErrorOptions{
		NonRetryable: final, Details: []any{told},
	})
}

// untilStop is the activity's context, ended also when the worker stops, with errWorkerStopping as its cause.
func untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := activity.GetWorkerStopChannel(ctx)
	go func() {
		select {
		case <-stop:
			cancel(errWorkerStopping)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// stopped prefers the reason that ended the context to what its end broke.
func stopped(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

// source names an activity of one workflow run to the log: its retries speak under the same name. No workflow calls an
// activity that tells the log twice.
func source(ctx context.Context) string {
	info := activity.GetInfo(ctx)
	return "act/" + info.WorkflowExecution.RunID + "/" + info.ActivityType.Name
}
