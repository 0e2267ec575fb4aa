// Package activities holds the side effects of the control queue: what opens the database, a blob or a secret. One file a
// stage, dependencies on the struct Control. (Activities of the slot queues, which spawn Python, are in activities/gpu.)
//
// All of them are idempotent, for Temporal promises at least once: ids are derived, events carry a source that the log
// takes once, and what an interrupted try has written is deleted or found again.
package activities

import (
	"context"
	"log/slog"

	"go.temporal.io/sdk/activity"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/store"
)

// Control has the dependencies of all activities of the control queue. NewControl makes one.
type Control struct {
	store     *store.Store
	artifacts *artifact.Store
	log       *slog.Logger
	// reading bounds how many datasets are read at once: each is one core's work.
	reading chan struct{}
}

const readersAtOnce = 2

// NewControl returns the activities of the control queue. A nil logger is slog.Default.
func NewControl(store *store.Store, artifacts *artifact.Store, log *slog.Logger) *Control {
	if log == nil {
		log = slog.Default()
	}
	return &Control{store: store, artifacts: artifacts, log: log, reading: make(chan struct{}, readersAtOnce)}
}

// Registry is the part of a worker that activities register with.
type Registry interface {
	RegisterActivityWithOptions(a any, options activity.RegisterOptions)
}

// Register names every activity as contract does.
func (c *Control) Register(r Registry) {
	for name, fn := range map[string]any{
		contract.ActivityRecordEvents:   c.RecordEvents,
		contract.ActivityProfileDataset: c.ProfileDataset,
		contract.ActivityProcessDataset: c.ProcessDataset,
		contract.ActivityRecommend:      c.recommend,
		contract.ActivityRegisterModel:  c.RegisterModel,
		contract.ActivityStartStage:     c.StartStage,
		contract.ActivityAssembleExport: c.AssembleExport,
		contract.ActivityAwaitStatus:    c.AwaitStatus,
		contract.ActivityAwaitStore:     c.AwaitStore,
	} {
		r.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
	}
}

// recommend is Recommend with the errors that Temporal acts on.
func (c *Control) recommend(ctx context.Context, in contract.RecommendInput) (contract.Recommendation, error) {
	out, err := c.Recommend(ctx, in)
	return out, failure(err)
}
