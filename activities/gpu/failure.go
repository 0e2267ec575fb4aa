package gpu

import (
	"errors"

	"go.temporal.io/sdk/temporal"

	"github.com/vibeflow/vibeflow/contract"
)

// retried are the codes that another attempt may mend by itself. Every other typed failure ends the attempts: the
// workflow decides what follows (a pause after CodeDiskFull, say).
var retried = map[contract.Code]bool{
	contract.CodeUnavailable:   true, // the gateway or the network was away
	contract.CodeStorageAway:   true, // the server's stored files were
	contract.CodeRunnerCrashed: true,
	contract.CodeInternal:      true, // nobody foresaw it: Temporal's attempts are cheap, the run's steps are saved
}

// refused are the gateway's refusals of this worker or of this moment: no fault of the run, which must not fail of it.
var refused = map[contract.Code]bool{
	contract.CodeUnauthenticated: true,
	contract.CodeForbidden:       true,
	contract.CodeConflict:        true,
}

// Failure turns how a run failed into what Temporal acts on: the type is the contract's code, the detail is the error.
// What operators need (the end of stderr) travels with it; rows of data never do.
func Failure(err error) error {
	code := contract.CodeOf(err)
	if code == contract.CodeEpochSuperseded {
		return temporal.NewApplicationErrorWithCause("a newer launch owns this run", TypeEpochSuperseded, err)
	}
	if refused[code] {
		return temporal.NewApplicationErrorWithCause("the gateway refuses this worker: "+err.Error(), string(contract.CodeUnavailable), err)
	}
	var problem *contract.Error
	if !errors.As(err, &problem) {
		return temporal.NewApplicationErrorWithCause(err.Error(), string(contract.CodeInternal), err)
	}
	return temporal.NewApplicationErrorWithOptions(problem.Message, string(code), temporal.ApplicationErrorOptions{
		NonRetryable: !retried[code],
		Cause:        errors.Unwrap(problem),
		Details:      []any{*problem},
	})
}
