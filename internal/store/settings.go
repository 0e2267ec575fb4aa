package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// Setting is a value that a user (Owner is their id) or the whole installation (Owner is empty) has set: a key of a
// provider, say. The database keeps it sealed.
type Setting struct {
	bun.BaseModel `bun:"table:settings" json:"-"`

	Owner     string    `bun:"owner,pk"`
	Name      string    `bun:"name,pk"`
	Value     []byte    `bun:"-"`
	Sealed    []byte    `bun:"value"` // Value, as the database has it
	UpdatedAt time.Time `bun:"updated_at"`
}

func (v *Setting) content() content {
	return content{place: []string{"settings", v.Owner, v.Name}, fields: map[string]any{"value": &v.Value}, sealed: &v.Sealed}
}

// PutSetting sets a value.
func (s *Store) PutSetting(ctx context.Context, v Setting) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		v.UpdatedAt = tx.now
		if err := tx.sealRow(&v); err != nil {
			return err
		}
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
	if err != nil {
		return nil, err
	}
	return &v, s.reader.openRow(&v)
}

// DeleteSetting forgets a value; one that is not set is no error.
func (s *Store) DeleteSetting(ctx context.Context, owner, name string) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		_, err := tx.NewDelete().Model((*Setting)(nil)).Where("owner = ?", owner).Where("name = ?", name).Exec(ctx)
		return err
	})
}

// SettingHubToken is the token by which gated models are fetched from the Hugging Face Hub.
const SettingHubToken = "huggingface_token"

// SettingOf returns a setting as it holds for a project: its user's own, else the installation's; empty if neither is set.
func (s *Store) SettingOf(ctx context.Context, projectID, name string) (string, error) {
	owners := []string{""}
	p, err := s.GetProject(ctx, projectID)
	switch {
	case err == nil:
		owners = []string{p.UserID, ""}
	case contract.CodeOf(err) != contract.CodeNotFound:
		return "", err
	}
	for _, owner := range owners {
		v, err := s.GetSetting(ctx, owner, name)
		if err != nil {
			return "", err
		}
		if v != nil {
			return string(v.Value), nil
		}
	}
	return "", nil
}
