package workflows

import (
	"errors"
	"slices"

	"go.temporal.io/sdk/temporal"

	"github.com/vibeflow/vibeflow/contract"
)

// problemOf reads the typed error that an activity or a child workflow ended with. An error without a known code is
// CodeInternal, and its text stays in Temporal's history and in the log.
func problemOf(err error) *contract.Error {
	var application *temporal.ApplicationError
	if errors.As(err, &application) {
		return problemOfApplication(application)
	}
	if temporal.IsCanceledError(err) {
		return contract.Errorf(contract.CodeConflict, "it was cancelled").Mend("retry to run it again")
	}
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) {
		return contract.Errorf(contract.CodeUnavailable, "no worker finished this in time").
			Mend("look at the workers' logs, then try again")
	}
	var started *temporal.ChildWorkflowExecutionAlreadyStartedError
	if errors.As(err, &started) {
		return contract.Errorf(contract.CodeConflict, "this stage has already been started").Mend("try the stage again")
	}
	return internalProblem()
}

func problemOfApplication(err *temporal.ApplicationError) *contract.Error {
	problem := &contract.Error{}
	if err.HasDetails() && err.Details(problem) == nil && problem.Code != "" {
		return problem
	}
	code := contract.Code(err.Type())
	if code != contract.CodeUnavailable && code != contract.CodeStorageAway && code != contract.CodeRunnerCrashed && !slices.Contains(terminal, err.Type()) {
		return internalProblem()
	}
	return &contract.Error{Code: code, Message: err.Message()}
}

// passing tells a failure that another attempt would mend: a lost worker, a missed heartbeat, a server that was away.
func passing(err error) bool {
	var application *temporal.ApplicationError
	if errors.As(err, &application) {
		return !application.NonRetryable() && !slices.Contains(terminal, application.Type())
	}
	var timeout *temporal.TimeoutError
	return errors.As(err, &timeout)
}

func internalProblem() *contract.Error {
	return contract.Errorf(contract.CodeInternal, "something went wrong inside VibeFlow").
		Mend("Temporal's UI and the server's log have the details")
}

// failWith is how a workflow ends with a problem, so that Temporal's UI shows it as failed and a parent can read why.
// The detail is a value, not a pointer: a local activity's error is read back without being encoded.
func failWith(problem *contract.Error) error {
	return temporal.NewApplicationErrorWithOptions(problem.Message, string(problem.Code),
		temporal.ApplicationErrorOptions{NonRetryable: true, Details: []any{*problem}})
}

// errCancelled closes a workflow as cancelled.
func errCancelled() error { return temporal.NewCanceledError() }
