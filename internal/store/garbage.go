package store

import (
	"context"
	"errors"
	"time"
)

// garbageAge spares what somebody may be about to name: an upload or a split is stored before its row is written.
const garbageAge = 24 * time.Hour

// CollectGarbage forgets objects older than a day that nothing refers to, and expired idempotency keys; with preview it only
// counts the objects. The caller discards what it returns.
func (s *Store) CollectGarbage(ctx context.Context, preview bool) (Deletion, error) {
	var d Deletion
	err := s.write(ctx, func(ctx context.Context, tx *txn) error {
		var old []string
		err := tx.NewSelect().Table("objects").Column("id").Where("created_at < ?", tx.now.Add(-garbageAge)).Where("NOT "+inUse).Scan(ctx, &old)
		if err != nil {
			return err
		}
		if d.Objects, d.Bytes, err = tx.free(ctx, old); err != nil {
			return err
		}
		if preview {
			return errPreview
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM idempotency_keys WHERE created_at < ?`, tx.now.Add(-IdempotencyKeyLife))
		return err
	})
	if preview && errors.Is(err, errPreview) {
		err = nil
	}
	return d, err
}
