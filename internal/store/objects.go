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

// PutObject adds an object to the index of the artifact store. One that nothing refers to by the next start is swept: a
// dataset, a run or a model keeps it, and whoever calls HoldObject.
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
		var used []string
		err := tx.NewSelect().Table("objects").Column("id").Where("id = ?", id).Where(inUse).Scan(ctx, &used)
		if err != nil {
			return err
		}
		if len(used) > 0 {
			return contract.Errorf(contract.CodeConflict, "object %s is still in use", id).Mend("delete what uses it first")
		}
		return tx.dropObjects(ctx, []string{id})
	})
}

// LiveObjects forgets objects that nothing refers to (a crash fell between storing them and saying what they are for) and
// returns the ids of all others; files that runs which are over had handed in for a checkpoint that was never committed go
// with them. It is for the start, when nobody is in between.
func (s *Store) LiveObjects(ctx context.Context) (map[string]bool, error) {
	live := map[string]bool{}
	err := s.write(ctx, func(ctx context.Context, tx *txn) error {
		var ids []string
		if _, err := tx.ExecContext(ctx, dropAbandoned); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM objects WHERE NOT `+inUse); err != nil {
			return err
		}
		if err := tx.NewSelect().Table("objects").Column("id").Scan(ctx, &ids); err != nil {
			return err
		}
		for _, id := range ids {
			live[id] = true
		}
		return nil
	})
	return live, err
}

// dropAbandoned ends the hold of runs that are over on files that are in none of their manifests.
const dropAbandoned = `DELETE FROM run_blobs WHERE run_id IN (
    SELECT id FROM training_jobs WHERE status IN ('completed', 'stopped', 'failed', 'cancelled')
    UNION ALL SELECT id FROM evaluations WHERE status IN ('completed', 'failed', 'cancelled')
    UNION ALL SELECT id FROM exports WHERE status IN ('completed', 'failed', 'cancelled'))
  AND (run_id, sha256) NOT IN (
    SELECT c.run_id, json_extract(f.value, '$.sha256') FROM checkpoints AS c, json_each(c.manifest, '$.files') AS f
    UNION ALL SELECT a.run_id, json_extract(f.value, '$.sha256') FROM run_artifacts AS a, json_each(a.manifest, '$.files') AS f)`

// inUse holds for a row of objects that something refers to.
const inUse = `(EXISTS (SELECT 1 FROM object_refs AS r WHERE r.object_id = objects.id)
	OR EXISTS (SELECT 1 FROM run_blobs AS b WHERE b.object_id = objects.id)
	OR objects.id IN (SELECT object_id FROM run_inputs)
	OR objects.id IN (SELECT object_id FROM datasets)
	OR objects.id IN (SELECT json_extract(train, '$.object_id') FROM datasets WHERE train IS NOT NULL)
	OR objects.id IN (SELECT json_extract(eval, '$.object_id') FROM datasets WHERE eval IS NOT NULL))`

// HoldObject keeps an object for an owner of the caller's naming ("model/<id>" is CreateModel's) until ReleaseOwner.
func (s *Store) HoldObject(ctx context.Context, owner, objectID string) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error { return tx.hold(ctx, owner, objectID) })
}

// ReleaseOwner ends an owner's hold on its objects and returns those that nothing needs any more, for the caller to
// discard.
func (s *Store) ReleaseOwner(ctx context.Context, owner string) (freed []string, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *txn) error {
		var held []string
		if err := tx.NewSelect().Table("object_refs").Column("object_id").Where("owner = ?", owner).Scan(ctx, &held); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Table("object_refs").Where("owner = ?", owner).Exec(ctx); err != nil {
			return err
		}
		if freed, err = tx.unreferenced(ctx, held); err != nil {
			return err
		}
		return tx.dropObjects(ctx, freed)
	})
	return freed, err
}

// hold keeps an object from being deleted as long as its owner ("model/<id>") is there.
func (t *txn) hold(ctx context.Context, owner, objectID string) error {
	_, err := t.ExecContext(ctx, `INSERT INTO object_refs (owner, object_id) VALUES (?, ?) ON CONFLICT DO NOTHING`, owner, objectID)
	return err
}

// unreferenced returns those of ids that nothing refers to.
func (t *txn) unreferenced(ctx context.Context, ids []string) ([]string, error) {
	var free []string
	if len(ids) == 0 {
		return nil, nil
	}
	err := t.NewSelect().Table("objects").Column("id").Where("id IN (?)", bun.List(ids)).Where("NOT "+inUse).Scan(ctx, &free)
	return free, err
}

func (t *txn) dropObjects(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := t.NewDelete().Model((*objectRow)(nil)).Where("id IN (?)", bun.List(ids)).Exec(ctx)
	return err
}
