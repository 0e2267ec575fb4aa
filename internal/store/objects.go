package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

type objectRow struct {
	bun.BaseModel `bun:"table:objects"`

	ID          string    `bun:"id,pk"`
	Name        string    `bun:"name"`
	ContentType string    `bun:"content_type"`
	SHA256      string    `bun:"sha256"`
	Size        int64     `bun:"size"`
	WrappedKey  []byte    `bun:"wrapped_key"`
	CreatedAt   time.Time `bun:"created_at"`
}

func (r objectRow) object() contract.Object {
	return contract.Object{ID: r.ID, Name: r.Name, ContentType: r.ContentType, SHA256: r.SHA256, Size: r.Size,
		WrappedKey: r.WrappedKey, CreatedAt: r.CreatedAt.UTC()}
}

// PutObject adds an object to the index of the artifact store.
func (s *Store) PutObject(ctx context.Context, o contract.Object) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		row := objectRow{ID: o.ID, Name: o.Name, ContentType: o.ContentType, SHA256: o.SHA256, Size: o.Size,
			WrappedKey: o.WrappedKey, CreatedAt: stamp(o.CreatedAt)}
		_, err := tx.NewInsert().Model(&row).Exec(ctx)
		return err
	})
}

// GetObject returns an object's entry, or not_found.
func (s *Store) GetObject(ctx context.Context, id string) (contract.Object, error) {
	row, err := findByID[objectRow](ctx, s.reader, "object", id)
	if err != nil {
		return contract.Object{}, err
	}
	return row.object(), nil
}

// DeleteObject takes an object out of the index; a conflict if a run or a model still needs it. One that is not there
// is no error.
func (s *Store) DeleteObject(ctx context.Context, id string) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		free, err := tx.unreferenced(ctx, []string{id})
		if err != nil {
			return err
		}
		if len(free) == 0 {
			return contract.Errorf(contract.CodeConflict, "object %s is still in use", id).Mend("delete what uses it first")
		}
		return tx.dropObjects(ctx, free)
	})
}

// ObjectIDs returns the ids of all objects that the index knows.
func (s *Store) ObjectIDs(ctx context.Context) (map[string]bool, error) {
	var ids []string
	if err := s.reader.NewSelect().Table("objects").Column("id").Scan(ctx, &ids); err != nil {
		return nil, err
	}
	known := make(map[string]bool, len(ids))
	for _, id := range ids {
		known[id] = true
	}
	return known, nil
}

// hold keeps an object from being deleted as long as its owner ("model/<id>") is there.
func (t *txn) hold(ctx context.Context, owner, objectID string) error {
	_, err := t.ExecContext(ctx, `INSERT INTO object_refs (owner, object_id) VALUES (?, ?) ON CONFLICT DO NOTHING`, owner, objectID)
	return err
}

// unreferenced returns those of ids that neither a run nor an owner holds.
func (t *txn) unreferenced(ctx context.Context, ids []string) ([]string, error) {
	var free []string
	for _, id := range ids {
		var held bool
		err := t.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM object_refs WHERE object_id = ?)
			OR EXISTS (SELECT 1 FROM run_blobs WHERE object_id = ?)`, id, id).Scan(&held)
		if err != nil {
			return nil, err
		}
		if !held {
			free = append(free, id)
		}
	}
	return free, nil
}

func (t *txn) dropObjects(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := t.NewDelete().Model((*objectRow)(nil)).Where("id IN (?)", bun.List(ids)).Exec(ctx)
	return err
}
