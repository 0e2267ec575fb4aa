package api

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/internal/store"
)

// meter counts what is asked under /v1 with a key, each request once. Before a request's work begins it is on record
// (begin); when it has ended, its record is exchanged for its share of the day's sums. What a kill leaves on record is
// added as interrupted at the next start. So a kill loses no request, only the tokens of answers in their last
// milliseconds; the death of the machine may lose the last second.
//
// Requests at the same time share a transaction, which does not wait for the disk.
type meter struct {
	store *store.Store
	log   *slog.Logger
	nudge chan struct{}

	writing sync.Mutex // one batch at a time
	synced  time.Time
	failed  time.Time // when it could last not be written
	loose   bool      // something was written since that does not yet survive the machine's death

	mu    sync.Mutex
	last  int64
	began map[int64]store.Use
	ended *store.EndedUses
}

// syncEvery bounds what the death of the machine may lose.
const syncEvery = time.Second

func newMeter(s *store.Store, log *slog.Logger) *meter {
	return &meter{store: s, log: log, nudge: make(chan struct{}, 1), began: map[int64]store.Use{}, ended: store.Ended()}
}

// settle adds up what the server before this one has left; to be called before requests are answered.
func (m *meter) settle(ctx context.Context) error {
	left, err := m.store.SettleUses(ctx)
	if err == nil && left > 0 {
		m.log.Info("requests that the server's end cut off are counted as interrupted", "requests", left)
	}
	return err
}

// begin puts a request on record, and returns once it is.
func (m *meter) begin(ctx context.Context, use store.Use) store.Use {
	m.mu.Lock()
	m.last++
	use.ID = m.last
	m.began[use.ID] = use
	m.mu.Unlock()
	m.flush(ctx)
	return use
}

// end counts a request; one that was not on record is counted before end returns, unless it was turned away at the door.
func (m *meter) end(ctx context.Context, e store.EndedUse, turnedAway bool) {
	m.mu.Lock()
	m.ended.Add(e)
	m.forget(e.ID)
	m.mu.Unlock()
	if e.ID == 0 && !turnedAway {
		m.flush(ctx)
		return
	}
	select {
	case m.nudge <- struct{}{}:
	default:
	}
}

// forget leaves out the record of a request that has ended before it was written. So what waits while nothing can be written
// grows with the requests under way, the keys, the models and the days, and not with the requests.
func (m *meter) forget(id int64) {
	if _, unwritten := m.began[id]; unwritten && m.ended.Unrecord(id) {
		delete(m.began, id)
	}
}

// run writes until ctx ends.
func (m *meter) run(ctx context.Context) {
	ticker := time.NewTicker(syncEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-m.nudge:
		}
		m.flush(ctx)
	}
}

// flush writes what has gathered. Whoever waits here while another writes finds their own part written with it, or
// writes it with that of all who came meanwhile. What cannot be written is kept, and tried again once a second: a full disk
// neither stops answers nor slows them.
func (m *meter) flush(ctx context.Context) {
	m.writing.Lock()
	defer m.writing.Unlock()
	if time.Since(m.failed) < syncEvery {
		return
	}
	m.mu.Lock()
	began, ended := m.began, m.ended
	m.began, m.ended = map[int64]store.Use{}, store.Ended()
	m.mu.Unlock()
	durable := time.Since(m.synced) >= syncEvery
	if len(began) == 0 && ended.Requests() == 0 && !(durable && m.loose) {
		return
	}
	err := m.store.RecordUses(context.WithoutCancel(ctx), slices.Collect(maps.Values(began)), ended, durable)
	if err != nil {
		m.failed = time.Now()
		m.keep(began, ended)
		m.log.Warn("the use of API keys could not be recorded yet", "requests", ended.Requests(), "under_way", len(began), "error", err)
		return
	}
	if m.loose = !durable; durable {
		m.synced = time.Now()
	}
}

// keep takes back what could not be written.
func (m *meter) keep(began map[int64]store.Use, ended *store.EndedUses) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.Copy(m.began, began)
	m.ended.Merge(ended)
	for id := range began {
		m.forget(id)
	}
}

// finish writes what is left, however lately it could not be written.
func (m *meter) finish(ctx context.Context) {
	m.writing.Lock()
	m.failed = time.Time{}
	m.writing.Unlock()
	m.flush(ctx)
}

// use is a request under way, as the meter sees it. KeyID and admitted are what admit has found.
type use struct {
	store.Use
	admitted           bool
	whole, broke       bool // answered to its end; broken off by its engine
	prompt, completion int64
}

const useKey = "meter.use"

// useOf is the use of a request; outside of /v1 one that nobody counts.
func useOf(c *echo.Context) *use {
	if u, ok := c.Get(useKey).(*use); ok {
		return u
	}
	return &use{}
}

// metered counts requests that are made with a key, however they end.
func (s *Server) metered(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) (err error) {
		u := &use{Use: store.Use{At: time.Now()}}
		c.Set(useKey, u)
		failed := true // if next panics
		defer func() {
			if u.KeyID == "" {
				return
			}
			ended := store.EndedUse{Use: u.Use, End: u.outcome(c, failed, err), PromptTokens: u.prompt, CompletionTokens: u.completion}
			if ended.End == store.UseAnswered {
				ended.Latency = time.Since(u.At)
			}
			s.meter.end(c.Request().Context(), ended, !u.admitted)
		}()
		err = next(c)
		failed = false
		return err
	}
}

func (u *use) outcome(c *echo.Context, panicked bool, err error) store.Outcome {
	left := c.Request().Context().Err() != nil
	_, status := echo.ResolveResponseStatus(c.Response(), nil)
	switch {
	case panicked, u.broke:
		return store.UseFailed
	case left && !u.whole && (err == nil || errors.Is(err, context.Canceled)):
		return store.UseCancelled
	case err != nil, status >= http.StatusBadRequest:
		return store.UseFailed
	default:
		return store.UseAnswered
	}
}

// recorded puts a request on record that asks no model.
func (s *Server) recorded(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		s.record(c, "")
		return next(c)
	}
}

// record puts a request on record before its work begins. Only models that there are have a name here: others would be
// rows that a client makes up.
func (s *Server) record(c *echo.Context, model string) {
	if u := useOf(c); u.KeyID != "" {
		u.ModelID = model
		u.Use = s.meter.begin(c.Request().Context(), u.Use)
	}
}
