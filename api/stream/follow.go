// Package stream carries the event log to watchers: by server-sent events and by WebSocket, each event once, in order,
// after the last `seq` that the watcher has. Watchers pull from the log at their own pace; a wake-up only says that
// there is more, so a slow watcher costs nothing and loses nothing (design §5).
package stream

import (
	"context"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

// Log is the part of the store that a watcher needs.
type Log interface {
	EventsAfter(ctx context.Context, stream string, after int64, limit int) ([]contract.Event, error)
	Subscribe(stream string) (wake <-chan struct{}, cancel func())
}

const (
	pageEvents = 256
	// keepAlive is short enough for the idle time-outs of common proxies (60 s).
	keepAlive = 15 * time.Second
)

// sink is where a watcher's events go; idle is called when nothing has happened for keepAlive.
type sink interface {
	send(ctx context.Context, events []contract.Event) error
	idle() error
}

// Final tells whether an event is the last of its stream, so that a watcher can be told to stop.
type Final func(contract.Event) bool

// follow sends everything after `after`, then whatever comes, until the context ends, the sink fails, or an event is final.
func follow(ctx context.Context, log Log, name string, after int64, final Final, out sink) error {
	wake, cancel := log.Subscribe(name)
	defer cancel()
	timer := time.NewTicker(keepAlive)
	defer timer.Stop()
	mayEnd := true // the watcher may have the last event already
	for {
		last, err := drain(ctx, log, name, after, out)
		if err != nil {
			return err
		}
		if last != nil {
			after, mayEnd = last.Seq, final != nil && (final(*last) || said(*last))
		}
		if mayEnd && after > 0 {
			if ended, err := endsAt(ctx, log, name, after, final); err != nil || ended {
				return err
			}
		}
		mayEnd = false
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-timer.C:
			if err := out.idle(); err != nil {
				return err
			}
		}
	}
}

// drain sends all there is after `after` and returns the last event sent, nil if there was none.
func drain(ctx context.Context, log Log, name string, after int64, out sink) (last *contract.Event, err error) {
	for {
		events, err := log.EventsAfter(ctx, name, after, pageEvents)
		if err != nil || len(events) == 0 {
			return last, err
		}
		if err := out.send(ctx, events); err != nil {
			return last, err
		}
		last = &events[len(events)-1]
		if after = last.Seq; len(events) < pageEvents { // the end was reached: what has come since wakes
			return last, nil
		}
	}
}

// endsAt tells whether the event at seq is the stream's last and a final one. A resource may go on after a final event
// (a dataset that is processed again), so only the newest counts.
func endsAt(ctx context.Context, log Log, name string, seq int64, final Final) (bool, error) {
	if final == nil {
		return false, nil
	}
	events, err := log.EventsAfter(ctx, name, seq-1, 2)
	if err != nil || len(events) != 1 || events[0].Seq != seq {
		return false, err
	}
	for last := seq; said(events[0]); last-- {
		if events, err = log.EventsAfter(ctx, name, last-2, 1); err != nil || len(events) == 0 {
			return false, err
		}
	}
	return final(events[0]), nil
}

// said tells whether an event is what people say of a resource: that is no part of its course.
func said(e contract.Event) bool { return strings.HasSuffix(e.Type, "."+contract.EventEdited) }

// Until ends a context at a time; a zero time is never.
func Until(ctx context.Context, at time.Time) (context.Context, context.CancelFunc) {
	if at.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, at)
}
