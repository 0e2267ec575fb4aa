package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/internal/histogram"
)

// Use is a request that was made with a key. ModelID is empty where no model was asked.
type Use struct {
	ID      int64 // of a request that was recorded before its work began, else 0
	KeyID   string
	ModelID string
	At      time.Time // when it came
}

// EndedUse is what became of a request. Latency is how long it took to answer in full, 0 for one that was not.
type EndedUse struct {
	Use
	End                            Outcome
	PromptTokens, CompletionTokens int64
	Latency                        time.Duration
}

// Outcome is how a request ended.
type Outcome int

// The outcomes: answered, refused or failed, left by its client, cut off by the end of the server.
const (
	UseAnswered Outcome = iota
	UseFailed
	UseCancelled
	UseInterrupted
)

// UsageSum counts requests, and the tokens and latencies (milliseconds) of those that were answered.
type UsageSum struct {
	Requests, Errors, Cancelled, Interrupted int64
	PromptTokens, CompletionTokens           int64
	Latency                                  histogram.Histogram
}

// Add adds another sum.
func (u *UsageSum) Add(other UsageSum) {
	u.Requests += other.Requests
	u.Errors += other.Errors
	u.Cancelled += other.Cancelled
	u.Interrupted += other.Interrupted
	u.PromptTokens += other.PromptTokens
	u.CompletionTokens += other.CompletionTokens
	u.Latency.Merge(other.Latency)
}

func (u *UsageSum) count(e EndedUse) {
	u.Requests++
	switch e.End {
	case UseFailed:
		u.Errors++
	case UseCancelled:
		u.Cancelled++
	case UseInterrupted:
		u.Errors++
		u.Interrupted++
	}
	u.PromptTokens += e.PromptTokens
	u.CompletionTokens += e.CompletionTokens
	if e.ModelID != "" && e.Latency > 0 {
		u.Latency.Add(e.Latency.Milliseconds())
	}
}

// KeyUsage is what a key did on a day (UTC, YYYY-MM-DD) with a model.
type KeyUsage struct {
	KeyID, Day, ModelID string
	UsageSum
}

type usageCell struct{ key, day, model string }

// EndedUses adds up requests that have ended: it grows with keys, days and models, not with requests. The zero value is empty.
// It is for one goroutine.
type EndedUses struct {
	cells map[usageCell]*UsageSum
	keys  map[string]keyUses
	// recorded are the ids of those that were put on record before.
	recorded map[int64]bool
}

type keyUses struct {
	count int64
	last  time.Time
}

// Ended adds up requests.
func Ended(uses ...EndedUse) *EndedUses {
	u := &EndedUses{}
	for _, e := range uses {
		u.Add(e)
	}
	return u
}

// Add adds a request.
func (u *EndedUses) Add(e EndedUse) {
	u.init()
	if e.ID != 0 {
		u.recorded[e.ID] = true
	}
	u.cell(usageCell{e.KeyID, e.At.UTC().Format(dayFormat), e.ModelID}).count(e)
	u.use(e.KeyID, keyUses{1, e.At})
}

// Merge adds all of another's.
func (u *EndedUses) Merge(other *EndedUses) {
	u.init()
	for id := range other.recorded {
		u.recorded[id] = true
	}
	for cell, sum := range other.cells {
		u.cell(cell).Add(*sum)
	}
	for key, uses := range other.keys {
		u.use(key, uses)
	}
}

// Unrecord tells of a request that was never put on record, and whether it is among these: then there is nothing to take back.
func (u *EndedUses) Unrecord(id int64) bool {
	there := u.recorded[id]
	delete(u.recorded, id)
	return there
}

// Requests is how many there are.
func (u *EndedUses) Requests() (n int64) {
	for _, key := range u.keys {
		n += key.count
	}
	return n
}

func (u *EndedUses) init() {
	if u.cells == nil {
		u.cells, u.keys, u.recorded = map[usageCell]*UsageSum{}, map[string]keyUses{}, map[int64]bool{}
	}
}

func (u *EndedUses) cell(cell usageCell) *UsageSum {
	if u.cells[cell] == nil {
		u.cells[cell] = &UsageSum{}
	}
	return u.cells[cell]
}

func (u *EndedUses) use(key string, more keyUses) {
	uses := u.keys[key]
	uses.count += more.count
	if more.last.After(uses.last) {
		uses.last = more.last
	}
	u.keys[key] = uses
}

const dayFormat = time.DateOnly

// UsageLife is for how long the usage of a day is kept.
const UsageLife = 400 * 24 * time.Hour

// RecordUses writes down requests whose work is about to begin, and adds up those that have ended. It survives the death of
// the process; with durable it also survives the machine's, together with every earlier call. A key that is gone is left
// out.
func (s *Store) RecordUses(ctx context.Context, began []Use, ended *EndedUses, durable bool) error {
	run := s.relaxed
	if durable {
		run = s.writer.RunInTx
	}
	var damaged []usageCell
	err := s.writeBy(ctx, run, func(ctx context.Context, tx *txn) (err error) {
		if durable { // a transaction that changes nothing makes nothing durable
			if _, err := tx.ExecContext(ctx, `UPDATE identity SET id = id`); err != nil {
				return err
			}
		}
		for some := range slices.Chunk(began, usesAtOnce) {
			if err := tx.putOnRecord(ctx, some); err != nil {
				return err
			}
		}
		damaged, err = tx.addUp(ctx, ended)
		return err
	})
	if err == nil {
		s.tellDamaged(damaged)
	}
	return err
}

// tellDamaged says which latencies could not be read and begin anew: one damaged row must not end the counting of all others.
func (s *Store) tellDamaged(cells []usageCell) {
	for _, cell := range cells {
		s.log.Error("the latencies of a day were damaged in the database; they begin anew, and the counts stand", "key", cell.key, "day", cell.day, "model", cell.model)
	}
}

// usesAtOnce bounds a statement's length.
const usesAtOnce = 500

// putOnRecord leaves out those of keys that are gone.
func (t *txn) putOnRecord(ctx context.Context, began []Use) error {
	rows := make([]string, 0, len(began))
	var args []any
	for _, use := range began {
		rows = append(rows, "(?, ?, ?, ?)")
		args = append(args, use.ID, use.KeyID, use.ModelID, sqlTime(use.At))
	}
	_, err := t.ExecContext(ctx, `INSERT INTO key_requests (id, key_id, model_id, at)
SELECT column1, column2, column3, column4 FROM (VALUES `+strings.Join(rows, ", ")+`) WHERE column2 IN (SELECT id FROM api_keys)`, args...)
	return err
}

// SettleUses adds up what a killed server left under way, as interrupted, and returns how many there were.
func (s *Store) SettleUses(ctx context.Context) (settled int, err error) {
	var damaged []usageCell
	err = s.write(ctx, func(ctx context.Context, tx *txn) error {
		var left []keyRequest
		if err := tx.NewSelect().Model(&left).Scan(ctx); err != nil {
			return err
		}
		ended := Ended()
		for _, r := range left {
			ended.Add(EndedUse{Use: Use{ID: r.ID, KeyID: r.KeyID, ModelID: r.ModelID, At: r.At}, End: UseInterrupted})
		}
		settled = len(left)
		damaged, err = tx.addUp(ctx, ended)
		return err
	})
	if err == nil {
		s.tellDamaged(damaged)
	}
	return settled, err
}

type keyRequest struct {
	bun.BaseModel `bun:"table:key_requests"`

	ID      int64     `bun:"id,pk"`
	KeyID   string    `bun:"key_id"`
	ModelID string    `bun:"model_id"`
	At      time.Time `bun:"at"`
}

// addUp takes requests out of those under way and adds them to their cells and keys: once, since it is one transaction. It
// returns the cells whose latencies were damaged.
func (t *txn) addUp(ctx context.Context, ended *EndedUses) (damaged []usageCell, err error) {
	if ended == nil {
		return nil, nil
	}
	for some := range slices.Chunk(slices.Collect(maps.Keys(ended.recorded)), usesAtOnce) {
		if _, err := t.ExecContext(ctx, `DELETE FROM key_requests WHERE id IN (?)`, bun.List(some)); err != nil {
			return nil, err
		}
	}
	for key, uses := range ended.keys {
		_, err := t.ExecContext(ctx, `UPDATE api_keys SET usage_count = usage_count + ?, last_used_at = MAX(COALESCE(last_used_at, ''), ?) WHERE id = ?`,
			uses.count, sqlTime(uses.last), key)
		if err != nil {
			return nil, err
		}
	}
	for cell, sum := range ended.cells {
		whole, err := t.addToCell(ctx, cell, sum)
		if err != nil {
			return nil, err
		}
		if !whole {
			damaged = append(damaged, cell)
		}
	}
	return damaged, nil
}

// addToCell tells whether the latencies that were there could be read.
func (t *txn) addToCell(ctx context.Context, cell usageCell, sum *UsageSum) (whole bool, err error) {
	var stored []byte
	err = t.QueryRowContext(ctx, `SELECT latency FROM key_usage WHERE key_id = ? AND day = ? AND model_id = ?`, cell.key, cell.day, cell.model).Scan(&stored)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	latency, damage := histogram.Parse(stored)
	latency.Merge(sum.Latency)
	_, err = t.ExecContext(ctx, `INSERT INTO key_usage (key_id, day, model_id, requests, errors, cancelled, interrupted, prompt_tokens, completion_tokens, latency)
SELECT id, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM api_keys WHERE id = ?
ON CONFLICT (key_id, day, model_id) DO UPDATE SET requests = requests + excluded.requests, errors = errors + excluded.errors,
  cancelled = cancelled + excluded.cancelled, interrupted = interrupted + excluded.interrupted, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
  completion_tokens = completion_tokens + excluded.completion_tokens, latency = excluded.latency`,
		cell.day, cell.model, sum.Requests, sum.Errors, sum.Cancelled, sum.Interrupted, sum.PromptTokens, sum.CompletionTokens, latency.Bytes(), cell.key)
	return damage == nil, err
}

// UsageOfKey returns what a key did from one day to another (UTC, both included), by day and model, and how many of its
// requests are under way. not_found if ctx does not reach the key.
func (s *Store) UsageOfKey(ctx context.Context, keyID string, from, to time.Time) (key *APIKey, usage []KeyUsage, underWay int, err error) {
	if key, err = s.GetAPIKey(ctx, keyID); err != nil {
		return nil, nil, 0, err
	}
	if err = s.reader.QueryRowContext(ctx, `SELECT COUNT(*) FROM key_requests WHERE key_id = ?`, keyID).Scan(&underWay); err != nil {
		return nil, nil, 0, err
	}
	rows, err := s.reader.QueryContext(ctx, `SELECT day, model_id, requests, errors, cancelled, interrupted, prompt_tokens, completion_tokens, latency
FROM key_usage WHERE key_id = ? AND day BETWEEN ? AND ? ORDER BY day, model_id`, keyID, from.UTC().Format(dayFormat), to.UTC().Format(dayFormat))
	if err != nil {
		return nil, nil, 0, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		u := KeyUsage{KeyID: keyID}
		var stored []byte
		if err := rows.Scan(&u.Day, &u.ModelID, &u.Requests, &u.Errors, &u.Cancelled, &u.Interrupted, &u.PromptTokens, &u.CompletionTokens, &stored); err != nil {
			return nil, nil, 0, err
		}
		if u.Latency, err = histogram.Parse(stored); err != nil { // the counts stand; the latencies of that day are not known
			s.tellDamaged([]usageCell{{keyID, u.Day, u.ModelID}})
		}
		usage = append(usage, u)
	}
	return key, usage, underWay, rows.Err()
}

// relaxed is a transaction whose commit survives the death of the process and not yet that of the machine: it does not wait
// for the disk. The next one of the other kind makes it durable too.
func (s *Store) relaxed(ctx context.Context, opts *sql.TxOptions, fn func(context.Context, bun.Tx) error) error {
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(ctx, `PRAGMA synchronous = NORMAL`); err != nil {
		return err
	}
	done := conn.RunInTx(ctx, opts, fn)
	if _, err := conn.ExecContext(context.WithoutCancel(ctx), `PRAGMA synchronous = FULL`); err != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // others must not find it relaxed
	}
	return done
}
