package store

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// eraseResource removes a resource: its events, its row, its run with checkpoints and artifacts, its curve; and what ended
// runs were given of a dataset. It returns the objects that it referred to.
func (t *txn) eraseResource(ctx context.Context, kind contract.Kind, id string) ([]string, error) {
	objects, err := t.column(ctx, `SELECT object_id FROM run_blobs WHERE run_id = ? UNION SELECT object_id FROM run_inputs WHERE run_id = ?`, id, id)
	if err != nil {
		return nil, err
	}
	if kind == contract.KindDataset {
		own, err := t.column(ctx, `SELECT object_id FROM datasets WHERE id = ?
  UNION SELECT json_extract(train, '$.object_id') FROM datasets WHERE id = ? AND train IS NOT NULL
  UNION SELECT json_extract(eval, '$.object_id') FROM datasets WHERE id = ? AND eval IS NOT NULL`, id, id, id)
		if err != nil {
			return nil, err
		}
		for _, object := range own {
			if err := t.run(ctx, []string{`DELETE FROM run_inputs WHERE object_id = ?1 AND run_id NOT IN (
  SELECT id FROM training_jobs WHERE ` + unfinished + ` UNION SELECT id FROM evaluations WHERE ` + unfinished + `)`}, object); err != nil {
				return nil, err
			}
		}
		objects = append(objects, own...)
	}
	return objects, t.run(ctx, []string{
		`DELETE FROM events WHERE stream = ?1`,
		`DELETE FROM runs WHERE run_id = ?2`,
		`DELETE FROM metric_points WHERE job_id = ?2`,
		`DELETE FROM ` + projectionTables[kind] + ` WHERE id = ?2`,
	}, contract.Stream(kind, id), id)
}

// eraseModel removes a model and returns the objects that it held. A model that was tuned from it goes on from what it was
// made from itself.
func (t *txn) eraseModel(ctx context.Context, id string) ([]string, error) {
	objects, err := t.column(ctx, `SELECT object_id FROM object_refs WHERE owner = 'model/' || ?`, id)
	if err != nil {
		return nil, err
	}
	return objects, t.run(ctx, []string{
		`UPDATE models SET base_model_id = (SELECT base_model_id FROM models WHERE id = ?1) WHERE base_model_id = ?1`,
		`DELETE FROM object_refs WHERE owner = 'model/' || ?1`,
		`DELETE FROM models WHERE id = ?1`,
	}, id)
}

// eraseProject removes a project's models and keys, and the project. It returns the objects that nothing needs any more.
func (s *Store) eraseProject(ctx context.Context, id string) (freed []string, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *txn) error {
		tx.identity = true
		models, err := tx.column(ctx, `SELECT id FROM models WHERE project_id = ?`, id)
		if err != nil {
			return err
		}
		var objects []string
		for _, model := range models {
			held, err := tx.eraseModel(ctx, model)
			if err != nil {
				return err
			}
			objects = append(objects, held...)
		}
		if err := tx.run(ctx, []string{`DELETE FROM api_keys WHERE project_id = ?1`, `DELETE FROM projects WHERE id = ?1`}, id); err != nil {
			return err
		}
		freed, _, err = tx.free(ctx, objects)
		return err
	})
	return freed, err
}

// run executes statements with the same parameters.
func (t *txn) run(ctx context.Context, statements []string, args ...any) error {
	for _, statement := range statements {
		if _, err := t.Tx.Tx.ExecContext(ctx, statement, args...); err != nil { // not bun's: ?1 is SQLite's
			return err
		}
	}
	return nil
}

func (t *txn) column(ctx context.Context, query string, args ...any) (values []string, err error) {
	err = t.NewRaw(query, args...).Scan(ctx, &values)
	return values, err
}

// freeAtOnce bounds a statement's length.
const freeAtOnce = 500

// free drops those of the objects that nothing refers to, and returns them and their bytes.
func (t *txn) free(ctx context.Context, objects []string) (freed []string, bytes int64, err error) {
	for len(objects) > 0 {
		n := min(freeAtOnce, len(objects))
		gone, err := t.unreferenced(ctx, objects[:n])
		if err != nil {
			return freed, bytes, err
		}
		size, err := t.sizeOf(ctx, gone)
		if err != nil {
			return freed, bytes, err
		}
		if err := t.dropObjects(ctx, gone); err != nil {
			return freed, bytes, err
		}
		freed, bytes, objects = append(freed, gone...), bytes+size, objects[n:]
	}
	return freed, bytes, nil
}

func (t *txn) sizeOf(ctx context.Context, objects []string) (bytes int64, err error) {
	if len(objects) == 0 {
		return 0, nil
	}
	err = t.NewSelect().Table("objects").ColumnExpr("COALESCE(SUM(size), 0)").Where("id IN (?)", bun.List(objects)).Scan(ctx, &bytes)
	return bytes, err
}
