package runner

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

const (
	pulseFile = "pulse"
	// pulseEvery is how often the pulse is felt.
	pulseEvery = time.Second
	// pulseGap is the most that may count between two looks: a machine that slept, or a worker that was stopped, must not
	// make a hung runner of one that stood still with it.
	pulseGap = 2 * pulseEvery
	// dumpPatience is how long a hung runner may take to write its stacks.
	dumpPatience = 5 * time.Second
	// dumpBytes is how much of them goes to the run's log.
	dumpBytes = 6 << 10
)

// pulse is the file in which a runner says that it moves: Beat changes at least every PatienceSeconds, unless those are 0
// (docs/runner-protocol.md).
type pulse struct {
	Beat            int64   `json:"beat"`
	PatienceSeconds float64 `json:"patience_seconds"`
	// Doing is what is under way, for people: "a step".
	Doing string `json:"doing"`
}

// readPulse returns the zero pulse for a runner that has none, or that is just writing it.
func readPulse(folder EpochFolder) (p pulse) {
	data, err := os.ReadFile(folder.path(pulseFile))
	if err != nil || json.Unmarshal(data, &p) != nil {
		return pulse{}
	}
	return p
}

// stillness is how long a pulse has not changed, of what may have been felt.
type stillness struct {
	last  pulse
	still time.Duration
}

// feel notes a look at the pulse, so long after the one before, and tells whether its patience is over.
func (s *stillness) feel(now pulse, since time.Duration) (hung bool) {
	if now != s.last {
		s.last, s.still = now, 0
		return false
	}
	s.still += min(since, pulseGap)
	return now.PatienceSeconds > 0 && s.still.Seconds() > now.PatienceSeconds
}

// feelPulse ends a runner that has stood still in a step or a batch for far longer than its like take: a deadlock, a stopped
// process, a device that does not answer. It is launched again as after any other crash.
func (w *watcher) feelPulse(ctx context.Context) error {
	ticker := time.NewTicker(pulseEvery)
	defer ticker.Stop()
	var s stillness
	for looked := time.Now(); ; {
		select {
		case <-ticker.C:
		case <-w.gone:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		since := time.Since(looked)
		looked = time.Now()
		if s.feel(readPulse(w.dir), since) {
			w.endHung(ctx, s)
			return nil
		}
	}
}

// endHung has the runner write its stacks, and kills it.
func (w *watcher) endHung(ctx context.Context, s stillness) {
	before := w.stderrSize()
	w.process.DumpStacks()
	w.awaitDump(ctx, before)
	stacks := w.stderrSince(before)
	w.mu.Lock()
	w.hung = "the runner hung"
	if w.step > 0 {
		w.hung += fmt.Sprintf(" after step %d", w.step)
	}
	w.hung += fmt.Sprintf(": %s had not ended after %s", cmp.Or(s.last.Doing, "a step"), s.still.Round(time.Second))
	w.mu.Unlock()
	w.log.Error("the runner hangs and is killed", "step", w.step, "doing", s.last.Doing, "still", s.still, "stacks", stacks)
	w.next.notes = append(w.next.notes, upper(w.hung)+". It was killed and is started again. Its stacks:\n"+stacks)
	w.process.Kill()
}

// awaitDump returns once stderr has grown and come to rest, or patience is over.
func (w *watcher) awaitDump(ctx context.Context, before int64) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	patience := time.NewTimer(dumpPatience)
	defer patience.Stop()
	for last := before; ; {
		select {
		case <-ticker.C:
		case <-patience.C:
			return
		case <-w.gone:
			return
		case <-ctx.Done():
			return
		}
		size := w.stderrSize()
		if size > before && size == last {
			return
		}
		last = size
	}
}

func (w *watcher) stderrSize() int64 {
	info, err := os.Stat(w.dir.path(stderrFile))
	if err != nil {
		return 0
	}
	return info.Size()
}

func (w *watcher) stderrSince(offset int64) string {
	data, err := os.ReadFile(w.dir.path(stderrFile))
	if err != nil || int64(len(data)) <= offset {
		return "(it did not write them)"
	}
	data = data[offset:]
	if len(data) > dumpBytes { // the main thread comes last
		_, data, _ = bytes.Cut(data[len(data)-dumpBytes:], []byte("\n"))
	}
	return string(bytes.ToValidUTF8(data, nil))
}
