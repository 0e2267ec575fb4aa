package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// OutboxEntry is a start or a signal that Temporal has not been told yet. Exactly one of Start and Signal is set.
type OutboxEntry struct {
	bun.BaseModel `bun:"table:outbox"`

	ID         int64            `bun:"id,pk,autoincrement"`
	WorkflowID string           `bun:"workflow_id"`
	Start      *contract.Start  `bun:"-"`
	Signal     *contract.Signal `bun:"-"`
	Sealed     []byte           `bun:"message,nullzero"` // Start or Signal, as the database has it
	Attempts   int              `bun:"attempts"`
	LastError  string           `bun:"last_error"`
	CreatedAt  time.Time        `bun:"created_at"`
	NextAt     time.Time        `bun:"next_at"`
	// Broken says why the message cannot be read; it has neither Start nor Signal then.
	Broken error `bun:"-"`
}

// furthestNextAt is more than an entry is ever put off: one that is due later was put off by a clock that has gone back since.
const furthestNextAt = time.Minute

// content is bound to the workflow and the time: the id is not known yet when an entry is sealed.
func (e *OutboxEntry) content() content {
	return content{place: []string{"outbox", e.WorkflowID, sqlTime(e.CreatedAt)},
		fields: map[string]any{"start": &e.Start, "signal": &e.Signal}, sealed: &e.Sealed}
}

func (t *txn) enqueue(ctx context.Context, e OutboxEntry) error {
	e.CreatedAt, e.NextAt = t.now, t.now
	if err := t.sealRow(&e); err != nil {
		return err
	}
	if _, err := t.NewInsert().Model(&e).Exec(ctx); err != nil {
		return err
	}
	t.outbox = true
	return nil
}

// PendingOutbox returns the entries that are due, oldest first and at most one of each workflow: the next one of a
// workflow shows once the one before it is delivered, so entries may be delivered side by side. One whose message is damaged
// comes with the reason, and holds up none but its own workflow's.
func (s *Store) PendingOutbox(ctx context.Context, limit int) ([]OutboxEntry, error) {
	var entries []OutboxEntry
	first := s.reader.NewSelect().TableExpr("outbox").ColumnExpr("MIN(id)").GroupExpr("workflow_id")
	now := s.now()
	err := s.reader.NewSelect().Model(&entries).Where("id IN (?)", first).
		Where("next_at <= ? OR next_at > ?", stamp(now), stamp(now.Add(furthestNextAt))).
		Order("id").Limit(int64(max(limit, 1))).Scan(ctx)
	if err != nil {
		return nil, err
	}
	for i := range entries {
		entries[i].Broken = s.reader.openRow(&entries[i])
	}
	return entries, nil
}

// MarkDelivered removes an entry that Temporal has taken (or that can never be taken); the workflow's next one is due.
func (s *Store) MarkDelivered(ctx context.Context, id int64) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		tx.outbox = true
		_, err := tx.NewDelete().Model((*OutboxEntry)(nil)).Where("id = ?", id).Exec(ctx)
		return err
	})
}

// DeferOutbox notes why an entry could not be delivered and when to try again; the workflow's later entries wait too.
func (s *Store) DeferOutbox(ctx context.Context, id int64, reason string, after time.Duration) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		_, err := tx.NewUpdate().Model((*OutboxEntry)(nil)).Set("attempts = attempts + 1").
			Set("last_error = ?", reason).Set("next_at = ?", stamp(tx.now.Add(after))).Where("id = ?", id).Exec(ctx)
		return err
	})
}

// OutboxWake receives when entries may have become due. It is for one dispatcher, which also looks from time to time
// for entries deferred.
func (s *Store) OutboxWake() <-chan struct{} { return s.outbox }

func (s *Store) wakeOutbox() { nudge(s.outbox) }
