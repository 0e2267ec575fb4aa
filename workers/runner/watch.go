package runner

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vibeflow/vibeflow/activities/gpu"
	"github.com/vibeflow/vibeflow/contract"
)

const (
	// tailPoll is how often an event file is looked at for more.
	tailPoll = 100 * time.Millisecond
	// batchEvery is the least time between two deliveries that are not full.
	batchEvery = 200 * time.Millisecond
)

// death is how a runner ended.
type death struct {
	// result is nil when it left none: it was killed, or crashed.
	result *contract.RunResult
	// step and total are what its events told last.
	step, total int
	// hung says that it stood still in a step and was killed for it; in what words.
	hung string
}

// watch stays with a runner until it is gone and all it left has been shipped: its events, and its newest checkpoint. A
// runner that is gone already is the same story, only shorter. It returns early, leaving the runner as it is, when ctx
// ends or the gateway refuses the launch.
func (l *launch) watch(ctx context.Context) (death, error) {
	w := &watcher{launch: l, gone: make(chan struct{}), shipped: make(chan struct{}), wake: make(chan struct{}, 1), acked: l.acked}
	group, ctx := errgroup.WithContext(ctx)
	for _, task := range []func(context.Context) error{w.awaitExit, w.keepLease, w.obeyPause, w.feelPulse, w.ship, w.commitNewest} {
		group.Go(func() error { return task(ctx) })
	}
	if err := group.Wait(); err != nil {
		return death{}, err
	}
	result, err := l.dir.Result()
	if err != nil || (result != nil && (result.Epoch != l.epoch || result.RunID != l.id)) {
		l.log.Error("the runner's result cannot be used", "error", err)
		result = nil
	}
	return death{result: result, step: w.step, total: w.total, hung: w.hung}, nil
}

// watcher is what the tasks of watch share.
type watcher struct {
	*launch
	gone    chan struct{} // closed when the runner has ended
	shipped chan struct{} // closed when the log has all its events
	wake    chan struct{} // says that newest or acked has changed

	mu          sync.Mutex
	acked       int64
	newest      *line // the last `checkpoint` line
	step, total int
	told        string // the committed checkpoint that hints name
	hung        string // of death, set before gone is closed
}

func (w *watcher) awaitExit(ctx context.Context) error {
	if !w.process.awaitExit(ctx.Done()) {
		return context.Cause(ctx)
	}
	close(w.gone)
	return nil
}

// keepLease renews the lease beside all else: an outage of the gateway must not make an orphan of the runner.
func (w *watcher) keepLease(ctx context.Context) error {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	for {
		if err := renewLease(w.dir, w.lease); err != nil {
			w.log.Warn("lease not renewed", "error", err)
		}
		select {
		case <-ticker.C:
		case <-w.gone:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// obeyPause asks the runner to save and leave, and ends one that does not.
func (w *watcher) obeyPause(ctx context.Context) error {
	select {
	case <-w.request.Pause:
	case <-w.gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	w.log.Info("pause: the runner saves after its step")
	w.process.Terminate()
	grace := time.NewTimer(w.s.PauseGrace)
	defer grace.Stop()
	select {
	case <-grace.C:
		w.log.Error("the runner did not save in time and is killed", "grace", w.s.PauseGrace)
		w.process.Kill()
	case <-w.gone:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// ship sends the event file from the gateway's acknowledgement on, until the runner is gone and the file is at its end.
func (w *watcher) ship(ctx context.Context) error {
	tail := openTail(w.dir.path(eventsFile))
	defer tail.close()
	for {
		over := w.isGone() // asked before reading: what was written before the end is then read for sure
		lines, err := tail.next()
		if err != nil {
			return err
		}
		if len(lines) == 0 && over {
			close(w.shipped)
			return nil
		}
		w.observe(lines)
		if err := w.deliver(ctx, lines); err != nil {
			return err
		}
		if err := w.breathe(ctx, len(lines)); err != nil {
			return err
		}
	}
}

func (w *watcher) isGone() bool {
	select {
	case <-w.gone:
		return true
	default:
		return false
	}
}

// breathe lets lines gather. The end of the runner cuts it short.
func (w *watcher) breathe(ctx context.Context, lines int) error {
	if lines == batchLines {
		return nil
	}
	pause := tailPoll
	if lines > 0 {
		pause = batchEvery
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-w.gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// observe notes how far the runner has come and which checkpoint is its newest.
func (w *watcher) observe(lines []line) {
	w.mu.Lock()
	before := w.step
	for i := range lines {
		event := lines[i].event
		w.step = max(w.step, event.Step)
		w.total = max(w.total, event.Total)
		if event.Type == lineCheckpoint {
			w.newest = &lines[i]
		}
	}
	hint := gpu.Hint{Epoch: w.epoch, Step: w.step, Checkpoint: w.told}
	w.mu.Unlock()
	if hint.Step != before && w.request.Advanced != nil {
		w.request.Advanced(hint)
	}
}

// deliver sends what the log lacks of lines, for as long as it takes.
func (w *watcher) deliver(ctx context.Context, lines []line) error {
	for {
		batch := batchOf(w.epoch, w.ackedLine(), lines)
		if batch == nil {
			return nil
		}
		var ack contract.Ack
		err := w.patiently(ctx, "send events", func(ctx context.Context) (err error) {
			ack, err = w.gate.SendEvents(ctx, *batch)
			return err
		})
		if contract.CodeOf(err) == contract.CodeConflict {
			// The gateway holds another number of lines than it told last (restored from a backup, say).
			ack, err = w.askAgain(ctx, batch.First)
		}
		if err != nil {
			return err
		}
		if ack.Acked < batch.First {
			return contract.Errorf(contract.CodeUnavailable, "the gateway took events from line %d and holds %d", batch.First, ack.Acked)
		}
		w.setAcked(ack.Acked)
	}
}

// askAgain reads the acknowledgement anew. A log that holds fewer lines than before cannot be mended from here: those
// lines may be long behind. The next attempt reads the file from its start.
func (w *watcher) askAgain(ctx context.Context, first int64) (contract.Ack, error) {
	state, err := w.state(ctx)
	if err != nil {
		return contract.Ack{}, err
	}
	if state.Epoch != w.epoch {
		return contract.Ack{}, contract.Errorf(contract.CodeEpochSuperseded, "epoch %d owns this run", state.Epoch)
	}
	if state.Acked < first {
		return contract.Ack{}, contract.Errorf(contract.CodeUnavailable, "the log holds %d lines where it held %d", state.Acked, first-1)
	}
	return contract.Ack{Epoch: w.epoch, Acked: state.Acked}, nil
}

func (w *watcher) ackedLine() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked
}

func (w *watcher) setAcked(n int64) {
	w.mu.Lock()
	w.acked = max(w.acked, n)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// commitNewest commits checkpoints beside training. Only the newest counts: if uploads fall behind, those in between are
// left out. A checkpoint is committed once the log has the events up to it.
func (w *watcher) commitNewest(ctx context.Context) error {
	done := ""
	if w.committed != nil {
		done = w.committed.Name
	}
	for {
		last := w.isShipped()
		name := w.due()
		if name != "" && name != done {
			if err := w.commit(ctx, name); err != nil {
				return err
			}
			done = name
			w.tell()
			continue
		}
		if last {
			return nil
		}
		select {
		case <-w.wake:
		case <-w.shipped:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (w *watcher) isShipped() bool {
	select {
	case <-w.shipped:
		return true
	default:
		return false
	}
}

// due is the newest checkpoint if its events are acknowledged, and newer than what the gateway has.
func (w *watcher) due() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.newest == nil || w.newest.number > w.acked {
		return ""
	}
	if w.committed != nil && w.newest.event.Step < w.committed.Step {
		return ""
	}
	return w.newest.event.Name
}

func (w *watcher) tell() {
	if w.request.Advanced == nil || w.committed == nil {
		return
	}
	w.mu.Lock()
	w.told = w.committed.Name
	hint := gpu.Hint{Epoch: w.epoch, Step: w.step, Checkpoint: w.told}
	w.mu.Unlock()
	w.request.Advanced(hint)
}
