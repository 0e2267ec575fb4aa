package store

import (
	"context"
	"strconv"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// AuditEvent says who asked for what, from where, and how it went.
type AuditEvent struct {
	bun.BaseModel `bun:"table:audit_events" json:"-"`

	ID        int64     `bun:"id,pk,autoincrement"`
	At        time.Time `bun:"at"`
	ActorKind string    `bun:"actor_kind"` // auth.Means
	ActorID   string    `bun:"actor_id"`
	Actor     string    `bun:"actor"`  // e-mail address or key's name at that time
	Action    string    `bun:"action"` // operationId
	Resource  string    `bun:"resource"`
	Subject   string    `bun:"subject"` // what the resource was called, of a project's activity
	Project   string    `bun:"project_id"`
	Address   string    `bun:"address"`
	Status    int       `bun:"status"` // HTTP
	Code      string    `bun:"code"`   // contract.Code of a refusal
	RequestID string    `bun:"request_id"`
}

// AddAudit writes an event.
func (s *Store) AddAudit(ctx context.Context, e AuditEvent) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		e.At = tx.now
		_, err := tx.NewInsert().Model(&e).Exec(ctx)
		return err
	})
}

// AuditFilter narrows the audit log. Refused is nil for both outcomes; Since is inclusive, Until is not; zero: unbounded.
type AuditFilter struct {
	ActorID, Action, Project string
	Refused                  *bool
	Since, Until             time.Time
	Cursor                   string
	Limit                    int
}

// ListAudit lists events, newest first. Its cursor is an event's number.
func (s *Store) ListAudit(ctx context.Context, f AuditFilter) (Page[AuditEvent], error) {
	limit := f.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, maxPage)
	events := make([]AuditEvent, 0, limit)
	q := s.reader.NewSelect().Model(&events).Order("id DESC").Limit(int64(limit) + 1)
	for column, value := range map[string]string{"actor_id": f.ActorID, "action": f.Action, "project_id": f.Project} {
		if value != "" {
			q = q.Where("? = ?", bun.Ident(column), value)
		}
	}
	switch {
	case f.Refused == nil:
	case *f.Refused:
		q = q.Where("status >= 400")
	default:
		q = q.Where("status < 400")
	}
	if !f.Since.IsZero() {
		q = q.Where("at >= ?", stamp(f.Since))
	}
	if !f.Until.IsZero() {
		q = q.Where("at < ?", stamp(f.Until))
	}
	if f.Cursor != "" {
		before, err := strconv.ParseInt(f.Cursor, 10, 64)
		if err != nil {
			return Page[AuditEvent]{}, badCursor()
		}
		q = q.Where("id < ?", before)
	}
	if err := q.Scan(ctx); err != nil {
		return Page[AuditEvent]{}, err
	}
	page := Page[AuditEvent]{Items: events}
	if len(events) > limit {
		page.Items = events[:limit]
		page.Next = strconv.FormatInt(page.Items[limit-1].ID, 10)
	}
	return page, nil
}

func badCursor() error {
	return contract.Errorf(contract.CodeInvalid, "the cursor is not one that a list gave").On("cursor").Mend("start again without a cursor")
}

// AuditLife is for how long the audit log keeps an event; of more than maxAudit, the oldest go earlier.
const (
	AuditLife = 180 * 24 * time.Hour
	maxAudit  = 1_000_000
)

// Expire removes what is over: audit events older than AuditLife, days of usage older than UsageLife, sessions, codes and idempotency keys that have ended.
func (s *Store) Expire(ctx context.Context) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		tx.identity = true
		for statement, before := range map[string]time.Time{
			`DELETE FROM audit_events WHERE at < ?`:             tx.now.Add(-AuditLife),
			`DELETE FROM idempotency_keys WHERE created_at < ?`: tx.now.Add(-IdempotencyKeyLife),
			`DELETE FROM one_time_codes WHERE expires_at < ?`:   tx.now,
			`DELETE FROM key_usage WHERE day < ?`:               tx.now.Add(-UsageLife),
			// An ended session is kept for as long as it could have lived: so long its stolen tokens are known as such.
			`DELETE FROM sessions WHERE expires_at < ?`: tx.now,
		} {
			if _, err := tx.ExecContext(ctx, statement, before); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM audit_events WHERE id <= (SELECT MAX(id) FROM audit_events) - ?`, maxAudit)
		return err
	})
}
