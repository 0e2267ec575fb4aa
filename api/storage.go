package api

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

// storageWatch knows whether the database can be written and the stored files are there. What cannot be stored is refused with its reason when somebody
// asks; this is so that operators and pages know before.
type storageWatch struct {
	try     func(context.Context) error
	log     *slog.Logger
	problem atomic.Pointer[contract.Error]
}

// storable tells whether the database can be written, and whether the stored files are there.
func (o Options) storable(ctx context.Context) error {
	if err := o.Store.Writable(ctx); err != nil {
		return err
	}
	return o.Artifacts.There(ctx)
}

// storageLook is how often it is tried.
const storageLook = 10 * time.Second

// run looks until ctx ends.
func (w *storageWatch) run(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		w.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (w *storageWatch) look(ctx context.Context) {
	err := w.try(ctx)
	if ctx.Err() != nil {
		return
	}
	var problem *contract.Error
	if err != nil && !errors.As(err, &problem) {
		problem = contract.Errorf(contract.CodeUnavailable, "it cannot be told whether anything can be stored: %w", err).Mend("see the server's log")
	}
	before := w.problem.Swap(problem)
	switch {
	case problem != nil && (before == nil || before.Code != problem.Code):
		w.log.Error("not all can be stored: what trains goes on and waits, what is asked for is refused", "error", problem, "detail", problem.Detail)
	case problem == nil && before != nil:
		w.log.Warn("everything can be stored again, and goes on")
	}
}

// said is one word for a probe.
func (w *storageWatch) said() string {
	if problem := w.problem.Load(); problem != nil {
		return string(problem.Code)
	}
	return "ok"
}
