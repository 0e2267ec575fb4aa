package embedded

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
)

// serverLogger gives Temporal's log to slog. Temporal tells much about its own working that an operator of VibeFlow
// has no use for, so its "info" is our "debug".
type serverLogger struct {
	log *slog.Logger
	// stopping turns warnings and errors down: a server that stops reports each of its own cancelled calls as one.
	stopping *atomic.Bool
}

var _ log.Logger = serverLogger{}

func (l serverLogger) Debug(string, ...tag.Tag)           {}
func (l serverLogger) Info(msg string, tags ...tag.Tag)   { l.write(slog.LevelDebug, msg, tags) }
func (l serverLogger) Warn(msg string, tags ...tag.Tag)   { l.write(warningLevel(msg), msg, tags) }
func (l serverLogger) Error(msg string, tags ...tag.Tag)  { l.write(slog.LevelError, msg, tags) }
func (l serverLogger) DPanic(msg string, tags ...tag.Tag) { l.write(slog.LevelError, msg, tags) }
func (l serverLogger) Panic(msg string, tags ...tag.Tag) {
	l.write(slog.LevelError, msg, tags)
	panic(msg)
}

// warningLevel turns down what warns of a choice that was made here: there is no HTTP API to listen on one more port.
func warningLevel(msg string) slog.Level {
	if strings.HasPrefix(msg, "HTTP API port has not been set") {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// Fatal ends the process, as Temporal expects: it goes on with broken parts where Fatal returns.
func (l serverLogger) Fatal(msg string, tags ...tag.Tag) {
	l.write(slog.LevelError, msg, tags)
	os.Exit(1)
}

func (l serverLogger) write(level slog.Level, msg string, tags []tag.Tag) {
	ctx := context.Background()
	if l.stopping.Load() {
		level = slog.LevelDebug
	}
	if !l.log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, len(tags))
	for _, t := range tags {
		attrs = append(attrs, slog.Any(t.Key(), t.Value()))
	}
	l.log.LogAttrs(ctx, level, msg, attrs...)
}
