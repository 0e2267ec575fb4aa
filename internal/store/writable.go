package store

import "context"

// Writable tells whether the database can be written now: nil, or disk_full or unavailable (read-only) with what to do about it.
// It writes a page, which says nothing, and does not wait for the disk.
func (s *Store) Writable(ctx context.Context) error {
	return s.writeBy(ctx, s.relaxed, func(ctx context.Context, tx *txn) error {
		_, err := tx.ExecContext(ctx, `UPDATE identity SET id = id`)
		return err
	})
}
