package gatewayclient

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

const (
	firstPause = 100 * time.Millisecond
	longPause  = 10 * time.Second
)

// Temporary reports whether the same call may succeed later: the gateway or its stored files were away, or it failed inside.
func Temporary(err error) bool {
	switch contract.CodeOf(err) {
	case contract.CodeUnavailable, contract.CodeStorageAway:
		return true
	case contract.CodeInternal:
		// The gateway's own failure arrives typed; an untyped error is ours, or a context's.
		_, typed := err.(*contract.Error) //nolint:errorlint // only the gateway's own answer, nothing wrapped
		return typed
	default:
		return false
	}
}

// Patiently calls try until it succeeds, fails for good, or ctx ends; the pauses grow from 100 ms to 10 s. A first
// failure, and the success after it, are logged once each.
func Patiently(ctx context.Context, log *slog.Logger, what string, try func(context.Context) error) error {
	pause := firstPause
	for failures := 0; ; failures++ {
		err := try(ctx)
		if err == nil {
			if failures > 0 {
				log.Info("gateway answers again", "what", what, "failures", failures)
			}
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !Temporary(err) {
			return err
		}
		if failures == 0 {
			log.Warn("gateway does not answer, trying on", "what", what, "error", err)
		}
		if !sleep(ctx, jitter(pause)) {
			return context.Cause(ctx)
		}
		pause = min(pause*2, longPause)
	}
}

// jitter spreads the calls of many workers that wait for the same gateway.
func jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(rand.Int64N(int64(d))) //nolint:gosec // no secret
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
