package contract

import (
	"errors"
	"fmt"
)

// Code says what went wrong in a way that a program can act on. HTTP statuses and exit codes are derived from it in
// one place each (api/problem, cmd/vibeflow/app.go).
type Code string

// Codes of refusals: the caller can mend these.
const (
	CodeInvalid         Code = "invalid"          // a field is wrong
	CodeUnauthenticated Code = "unauthenticated"  // no or bad credentials
	CodeForbidden       Code = "forbidden"        // credentials that do not reach this
	CodeNotFound        Code = "not_found"        //
	CodeConflict        Code = "conflict"         // the resource is in another state
	CodeTooLarge        Code = "too_large"        // over a size limit
	CodeUnsupported     Code = "unsupported"      // not a format or method that VibeFlow has
	CodeUnavailable     Code = "unavailable"      // something needed is not running: try again
	CodeStorageAway     Code = "storage_away"     // the stored files are not mounted: it waits until they are
	CodeRateLimited     Code = "rate_limited"     // too many requests: try again later
	CodePrecondition    Code = "precondition"     // the resource has changed since the caller read it
	CodeNoPrecondition  Code = "no_precondition"  // a change that does not say which version it is meant for
	CodeEpochSuperseded Code = "epoch_superseded" // a newer launch owns this run
	CodeInUse           Code = "in_use"           // a port or a data folder has an owner
	CodePrerequisite    Code = "prerequisite"     // the machine lacks something (Python, disk, a driver)
	CodeInternal        Code = "internal"         // anything untyped; details stay in the log
)

// Codes of failed runs, each with one policy: design §4.
const (
	CodeBadData          Code = "bad_data"
	CodeAllMasked        Code = "all_labels_masked"
	CodeModelUnavailable Code = "model_unavailable" // missing, gated, or not to be read; a Hub that is away is CodeUnavailable
	CodeInvalidConfig    Code = "invalid_config"
	CodeOutOfMemory      Code = "out_of_memory"
	CodeNonFiniteLoss    Code = "non_finite_loss"
	CodeDiskFull         Code = "disk_full"
	CodeNoProgress       Code = "no_progress"    // three launches died without a new checkpoint
	CodeRunnerCrashed    Code = "runner_crashed" // the runner died without a result
	CodeFingerprint      Code = "fingerprint_mismatch"
	CodeParity           Code = "parity_failed"
	CodeEnvironment      Code = "environment_broken" // the Python environment could not be built or imported
)

// Error is the only error that crosses a boundary with meaning: a code for programs, a message for people, the field
// at fault and what to do about it. Any other error is CodeInternal and its text is not shown to users.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`
	Remedy  string `json:"remedy,omitempty"`
	// Detail is for the log and for operators: the end of stderr, offending rows.
	Detail string `json:"detail,omitempty"`
	cause  error
}

// Errorf makes an Error; %w keeps the cause for errors.Is without showing it apart from the message.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), cause: errors.Unwrap(err)}
}

// On names the field at fault.
func (e *Error) On(field string) *Error { e.Field = field; return e }

// Mend says what to do next.
func (e *Error) Mend(format string, args ...any) *Error {
	e.Remedy = fmt.Sprintf(format, args...)
	return e
}

// Error implements error.
func (e *Error) Error() string {
	if e.Remedy != "" {
		return e.Message + " (" + e.Remedy + ")"
	}
	return e.Message
}

// Unwrap implements errors.Unwrap.
func (e *Error) Unwrap() error { return e.cause }

// CodeOf returns the code of err: that of the first *Error in its chain, CodeInternal for any other, "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
