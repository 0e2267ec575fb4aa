//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/vibeflow/vibeflow/bench/internal/benchmark"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/histogram"
)

// stragglers is how long the last watchers may take after the last event was sent.
const stragglers = 2 * time.Minute

// watcher is what one has seen: so many of the runner's events, and how long each that was sent while it watched took
// (microseconds).
type watcher struct {
	kind    string
	events  int
	latency histogram.Histogram
}

// watchers watch at the same time.
type watchers struct {
	all  []*watcher
	end  context.CancelFunc
	done sync.WaitGroup
	// seen counts events, of all together.
	seen   atomic.Int64
	joined atomic.Int64 // watchers that have got something
	failed chan error
	known  int // events that there were when they joined
}

// watch lets watchers join, by turns by SSE and by WebSocket; known is how many of the runner's events there are already.
func watch(ctx context.Context, s *benchmark.Server, number, known int) (*watchers, error) {
	token, err := s.Dir.Token(datadir.SecretCLIToken)
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(ctx)
	w := &watchers{end: end, failed: make(chan error, number), known: known}
	for i := range number {
		one := &watcher{kind: []string{"SSE", "WebSocket"}[i%2]}
		w.all = append(w.all, one)
		follow := followSSE
		if one.kind == "WebSocket" {
			follow = followSocket
		}
		w.done.Go(func() {
			err := follow(ctx, s.Address, token, func(e contract.Event) error { return w.saw(one, e) })
			if err != nil && ctx.Err() == nil {
				w.failed <- fmt.Errorf("a watcher by %s: %w", one.kind, err)
			}
		})
	}
	return w, nil
}

// saw notes an event. The runner's come in the order of their steps, each once.
func (w *watchers) saw(one *watcher, e contract.Event) error {
	if e.Seq == 1 {
		w.joined.Add(1)
	}
	if e.Type != contract.RunnerMetrics {
		return nil
	}
	var told struct {
		Step int   `json:"step"`
		Sent int64 `json:"sent"`
	}
	if err := json.Unmarshal(e.Payload, &told); err != nil {
		return err
	}
	if told.Step != one.events+1 {
		return fmt.Errorf("step %d came after step %d", told.Step, one.events)
	}
	one.events++
	if told.Step > w.known {
		one.latency.Add(time.Now().UnixMicro() - told.Sent)
	}
	w.seen.Add(1)
	return nil
}

// connected waits until all have got their first event.
func (w *watchers) connected(ctx context.Context) error { return w.reaches(ctx, &w.joined, len(w.all)) }

// caughtUp waits until all have seen a number of the runner's events.
func (w *watchers) caughtUp(ctx context.Context, events int) error {
	return w.reaches(ctx, &w.seen, events*len(w.all))
}

func (w *watchers) reaches(ctx context.Context, count *atomic.Int64, wanted int) error {
	deadline := time.Now().Add(stragglers)
	for count.Load() < int64(wanted) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-w.failed:
			return err
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d arrived", count.Load(), wanted)
		}
	}
	return nil
}

// until waits until all have seen a number of events, and ends them.
func (w *watchers) until(ctx context.Context, events int) ([]*watcher, error) {
	err := w.caughtUp(ctx, events)
	w.end()
	w.done.Wait()
	return w.all, err
}

const eventsPath = "/api/training/" + jobID

func followSSE(ctx context.Context, address, token string, see func(contract.Event) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+eventsPath+"/events", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("it was answered %s", res.Status)
	}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var e contract.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return err
		}
		if err := see(e); err != nil {
			return err
		}
	}
	return lines.Err()
}

func followSocket(ctx context.Context, address, token string, see func(contract.Event) error) error {
	conn, res, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+address+eventsPath+"/stream", http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	for {
		var e contract.Event
		if err := conn.ReadJSON(&e); err != nil {
			return err
		}
		if err := see(e); err != nil {
			return err
		}
	}
}

// latencies are those of many.
type latencies struct{ all histogram.Histogram }

func (l *latencies) add(w *watcher) { l.all.Merge(w.latency) }
func (l *latencies) p50() float64   { return float64(l.all.Quantile(.5)) / 1000 }
func (l *latencies) p99() float64   { return float64(l.all.Quantile(.99)) / 1000 }
