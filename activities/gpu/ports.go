package gpu

import (
	"context"
	"errors"

	"github.com/vibeflow/vibeflow/contract"
)

// ErrDetached is what a Runner or Engines returns when its context ended: the Python process lives on, and the next
// attempt takes it over.
var ErrDetached = errors.New("detached: the process goes on without this worker")

// Runner sees one run through: workers/runner.Supervisor.
type Runner interface {
	// Run returns how the run ended: completed or paused. A failure is a *contract.Error. When ctx ends Run lets go of the
	// Python process, which lives on, and returns ErrDetached.
	Run(ctx context.Context, request RunRequest) (contract.RunOutput, error)
}

// RunRequest is what a Runner is asked for.
type RunRequest struct {
	Input contract.RunInput
	// Pause, when closed, asks the run to save after its step and leave: Run returns OutcomePaused.
	Pause <-chan struct{}
	// Advanced is told of each step forward. It must not block. Nil is fine.
	Advanced func(Hint)
}

// Hint is a heartbeat's detail. The truth is the newest committed checkpoint; this is for people who read Temporal's UI.
type Hint struct {
	Epoch      int64  `json:"epoch"`
	Step       int    `json:"step"`
	Checkpoint string `json:"checkpoint,omitempty"`
}

// Engines serves deployments: workers/engine.Manager.
type Engines interface {
	// Serve keeps a deployment answering until Stop is closed (the adapter is unloaded; nil is returned) or ctx ends (the
	// engine lives on; ErrDetached is returned). A deployment that cannot be served is a *contract.Error.
	Serve(ctx context.Context, request ServeRequest) error
}

// ServeRequest is what Engines is asked for.
type ServeRequest struct {
	DeploymentID string
	// Stop, when closed, takes the deployment down.
	Stop <-chan struct{}
}

// Tokenizer shows rows as tokens: workers/runner.Tokenizer.
type Tokenizer interface {
	// Answer fetches a question from the gateway and gives it the answer; a row that cannot be encoded is one.
	Answer(ctx context.Context, questionID string) error
}

// Room tells of the machine's disk: workers/runner.Supervisor.
type Room interface {
	// HasRoom says whether there is room for a run that the disk was too full for, and some to spare.
	HasRoom(run string) (bool, error)
}
