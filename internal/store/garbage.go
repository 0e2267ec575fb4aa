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

// Stored counts objects and their bytes.
type Stored struct{ Objects, Bytes int64 }

// The kinds of stored objects. An object that serves several counts for the first of them.
const (
	StoredModels      = "models"
	StoredDatasets    = "datasets"
	StoredExports     = "exports"
	StoredCheckpoints = "checkpoints"
	StoredUnused      = "unused"
)

// StoredByKind adds up the stored objects by what they are kept for, and those that CollectGarbage would remove now.
func (s *Store) StoredByKind(ctx context.Context) (kinds map[string]Stored, garbage Stored, err error) {
	const byKind = `SELECT kind, COUNT(*), SUM(size), COALESCE(SUM(old), 0), COALESCE(SUM(size * old), 0) FROM (SELECT size, created_at < ? AS old, CASE
  WHEN EXISTS (SELECT 1 FROM object_refs AS r WHERE r.object_id = objects.id) THEN 'models'
  WHEN EXISTS (SELECT 1 FROM run_blobs AS b JOIN exports AS x ON x.id = b.run_id WHERE b.object_id = objects.id) THEN 'exports'
  WHEN EXISTS (SELECT 1 FROM run_blobs AS b WHERE b.object_id = objects.id) THEN 'checkpoints'
  WHEN ` + inUse + ` THEN 'datasets' ELSE 'unused' END AS kind FROM objects) GROUP BY kind`
	rows, err := s.reader.QueryContext(ctx, byKind, stamp(s.now().Add(-garbageAge)))
	if err != nil {
		return nil, garbage, err
	}
	defer func() { _ = rows.Close() }()
	kinds = map[string]Stored{}
	for rows.Next() {
		var kind string
		var all, old Stored
		if err := rows.Scan(&kind, &all.Objects, &all.Bytes, &old.Objects, &old.Bytes); err != nil {
			return nil, garbage, err
		}
		if kinds[kind] = all; kind == StoredUnused {
			garbage = old
		}
	}
	return kinds, garbage, rows.Err()
}
