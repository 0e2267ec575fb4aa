package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"
)

// Setting is a value that a user (Owner is their id) or the whole installation (Owner is empty) has set. A secret's value
// is sealed by whoever writes it.
type Setting struct {
	bun.BaseModel `bun:"table:settings" json:"-"`

	Owner     string    `bun:"owner,pk"`
	Name      string    `bun:"name,pk"`
	Value     []byte    `bun:"value"`
	UpdatedAt time.Time `bun:"updated_at"`
}

// PutSetting sets a value.
func (s *Store) PutSetting(ctx context.Context, v Setting) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		v.UpdatedAt = tx.now
		_, err := tx.NewInsert().Model(&v).On("CONFLICT (owner, name) DO UPDATE").Set("value = EXCLUDED.value, updated_at = EXCLUDED.updated_at").Exec(ctx)
		return err
	})
}

// GetSetting returns a value; nil for one that is not set.
func (s *Store) GetSetting(ctx context.Context, owner, name string) (*Setting, error) {
	var v Setting
	err := s.reader.NewSelect().Model(&v).Where("owner = ?", owner).Where("name = ?", name).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &v, err
}

// DeleteSetting forgets a value; one that is not set is no error.
func (s *Store) DeleteSetting(ctx context.Context, owner, name string) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		_, err := tx.NewDelete().Model((*Setting)(nil)).Where("owner = ?", owner).Where("name = ?", name).Exec(ctx)
		return err
	})
}
