package workers

import (
	"context"
	"log/slog"
	"time"
)

// Line is what the giver of turns needs of the store.
type Line interface {
	GiveTurns(ctx context.Context) (given int, err error)
	LineWake() <-chan struct{}
}

// lineLook is how often turns are looked for that nothing wakes: those to be told again.
const lineLook = 10 * time.Second

// giveTurns lets runs go from their line to the slots (internal/line) until ctx ends. The outbox tells their workflows.
func giveTurns(ctx context.Context, line Line, log *slog.Logger) {
	look := time.NewTicker(lineLook)
	defer look.Stop()
	for {
		if _, err := line.GiveTurns(ctx); err != nil && ctx.Err() == nil {
			log.Error("no turns can be given", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-line.LineWake():
		case <-look.C:
		}
	}
}
