package api

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

// storageWatch knows whether the database can be written. What cannot be written is refused with its reason when somebody
// asks; this is so that operators and pages know before.
type storageWatch struct {
	try     func(context.Context) error
	log     *slog.Logger
	problem atomic.Pointer[contract.Error]
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
		problem = contract.Errorf(contract.CodeUnavailable, "the database cannot be written: %w", err).Mend("see the server's log")
	}
	before := w.problem.Swap(problem)
	switch {
	case problem != nil && (before == nil || before.Code != problem.Code):
		w.log.Error("nothing can be written: what trains goes on and waits, what is asked for is refused", "error", problem)
	case problem == nil && before != nil:
		w.log.Warn("the data folder can be written again, and everything goes on")
	}
}

// said is one word for a probe.
func (w *storageWatch) said() string {
	if problem := w.problem.Load(); problem != nil {
		return string(problem.Code)
	}
	return "ok"
}
