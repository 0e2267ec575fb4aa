package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

type eventRow struct {
	bun.BaseModel `bun:"table:events"`

	Stream    string    `bun:"stream,pk"`
	Seq       int64     `bun:"seq,pk"`
	Type      string    `bun:"type"`
	Payload   []byte    `bun:"payload"` // sealed, but for a few types
	Source    string    `bun:"source"`
	SourceSeq int64     `bun:"source_seq"`
	At        time.Time `bun:"at"`
	Actor     string    `bun:"actor"`      // who asked for it, of a project's activity
	ProjectID string    `bun:"project_id"` // of a project's activity
}

// MaxEventsPage is the most that one EventsAfter returns.
const MaxEventsPage = 1000

// Append adds events to a stream in one transaction and folds them into the stream's projection. Events whose (stream,
// source, source_seq) the log already holds are skipped; an empty Source is never a duplicate. It returns what was
// added, in order, with its sequence numbers. The stream of a kind that has no row yet must begin with its created event
// (not_found otherwise).
func (s *Store) Append(ctx context.Context, stream string, evs ...contract.NewEvent) ([]contract.Event, error) {
	var added []contract.Event
	err := s.write(ctx, func(ctx context.Context, tx *txn) (err error) {
		added, err = tx.append(ctx, stream, evs)
		return err
	})
	return added, err
}

// Record is Append for a workflow. An earlier try of its may have told something else under the same number: it was cut off after
// the log had that and before Temporal did, and was then decided anew, of what had arrived since. What is told in the end counts
// too, unless the earlier word was the end of the resource.
func (s *Store) Record(ctx context.Context, stream string, evs ...contract.NewEvent) error {
	evs = slices.Clone(evs)
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		for i := range evs {
			if err := tx.besides(ctx, stream, &evs[i]); err != nil {
				return err
			}
		}
		_, err := tx.append(ctx, stream, evs)
		return err
	})
}

// besides gives an event a place of its own where another one has its number.
func (t *txn) besides(ctx context.Context, stream string, ev *contract.NewEvent) error {
	var earlier []string
	err := t.NewSelect().Table("events").Column("type").Where("stream = ?", stream).Where("source = ?", ev.Source).
		Where("source_seq = ?", ev.SourceSeq).Where("source <> ''").Scan(ctx, &earlier)
	if err != nil || len(earlier) == 0 || earlier[0] == ev.Type {
		return err
	}
	kind, id, _ := contract.SplitStream(stream)
	status, err := t.statusOf(ctx, kind, id)
	if err == nil && !status.Final() {
		ev.Source += "/" + ev.Type
	}
	return err
}

const insertEvent = `INSERT INTO events (stream, seq, type, payload, source, source_seq, at) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (stream, source, source_seq) WHERE source <> '' DO NOTHING`

func (t *txn) append(ctx context.Context, stream string, evs []contract.NewEvent) ([]contract.Event, error) {
	seq, err := t.lastSeq(ctx, stream)
	if err != nil {
		return nil, err
	}
	stmt, err := t.PrepareContext(ctx, insertEvent)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stmt.Close() }()
	added := make([]contract.Event, 0, len(evs))
	for _, ev := range evs {
		e, err := t.numbered(stream, seq+1, ev)
		if err != nil {
			return nil, err
		}
		res, err := stmt.ExecContext(ctx, e.Stream, e.Seq, e.Type, t.sealEvent(e), e.Source, e.SourceSeq, sqlTime(e.At))
		if err != nil {
			return nil, fmt.Errorf("append to %s: %w", stream, err)
		}
		if n, err := res.RowsAffected(); err != nil {
			return nil, err
		} else if n == 1 {
			seq++
			added = append(added, e)
		}
	}
	if len(added) == 0 {
		return nil, nil
	}
	t.touched[stream] = true
	if err := t.project(ctx, stream, added); err != nil {
		return nil, err
	}
	return added, t.noteActivity(ctx, stream, added)
}

func (t *txn) lastSeq(ctx context.Context, stream string) (seq int64, err error) {
	err = t.QueryRowContext(ctx, `SELECT COALESCE(MAX(seq), 0) FROM events WHERE stream = ?`, stream).Scan(&seq)
	return seq, err
}

func (t *txn) numbered(stream string, seq int64, ev contract.NewEvent) (contract.Event, error) {
	if len(ev.Payload) == 0 {
		ev.Payload = json.RawMessage(`{}`)
	}
	if ev.Type == "" || !json.Valid(ev.Payload) {
		return contract.Event{}, contract.Errorf(contract.CodeInvalid, "event %q of %s has no type or its payload is not JSON", ev.Type, stream)
	}
	if ev.At.IsZero() {
		ev.At = t.now
	}
	return contract.Event{Stream: stream, Seq: seq, Type: ev.Type, Payload: ev.Payload,
		Source: ev.Source, SourceSeq: ev.SourceSeq, At: stamp(ev.At)}, nil
}

// sqlTime writes a time as bun does, so that raw statements and models agree; its text order is its time order.
func sqlTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.999999-07:00") }

// EventsAfter returns up to limit events of a stream with Seq > after, in order; limit ≤ 0 or over MaxEventsPage means
// MaxEventsPage. Fewer than limit means that the end was reached.
func (s *Store) EventsAfter(ctx context.Context, stream string, after int64, limit int) ([]contract.Event, error) {
	return eventsAfter(ctx, s.reader, stream, after, limit)
}

func eventsAfter(ctx context.Context, db database, stream string, after int64, limit int) ([]contract.Event, error) {
	if limit <= 0 || limit > MaxEventsPage {
		limit = MaxEventsPage
	}
	var rows []eventRow
	err := db.NewSelect().Model(&rows).Where("stream = ?", stream).Where("seq > ?", after).
		Order("seq").Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", stream, err)
	}
	return openEvents(db, rows)
}

// LastSeq returns the number of a stream's last event, 0 for an empty stream.
func (s *Store) LastSeq(ctx context.Context, stream string) (seq int64, err error) {
	err = s.reader.QueryRowContext(ctx, `SELECT COALESCE(MAX(seq), 0) FROM events WHERE stream = ?`, stream).Scan(&seq)
	return seq, err
}

// Subscribe returns a channel that receives after events were committed to stream ("" for any). Wake-ups coalesce: one
// means "read on with EventsAfter until nothing is left", so no event is lost however slow the reader is. Subscribe
// first, then read. cancel releases the subscription; the channel is never closed.
func (s *Store) Subscribe(stream string) (wake <-chan struct{}, cancel func()) {
	return s.wakes.subscribe(stream)
}

// wakeHub wakes subscribers by stream.
type wakeHub struct {
	mu   sync.Mutex
	subs map[string]map[chan struct{}]struct{}
}

func newWakeHub() *wakeHub { return &wakeHub{subs: map[string]map[chan struct{}]struct{}{}} }

func (h *wakeHub) subscribe(stream string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs[stream] == nil {
		h.subs[stream] = map[chan struct{}]struct{}{}
	}
	h.subs[stream][ch] = struct{}{}
	return ch, func() { h.cancel(stream, ch) }
}

func (h *wakeHub) cancel(stream string, ch chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs[stream], ch)
	if len(h.subs[stream]) == 0 {
		delete(h.subs, stream)
	}
}

func (h *wakeHub) wake(stream string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, key := range []string{stream, ""} {
		for ch := range h.subs[key] {
			nudge(ch)
		}
	}
}

// nudge leaves one wake-up in the channel: a second says nothing that the first does not.
func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
