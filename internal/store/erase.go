package store

import (
	"context"

	"github.com/vibeflow/vibeflow/contract"
)

// eraseResource removes a resource: its events, its row, its run with checkpoints and artifacts, its curve. It returns the
// objects that nothing needs any more.
func (s *Store) eraseResource(ctx context.Context, kind contract.Kind, id string) (freed []string, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *txn) error {
		objects, err := tx.column(ctx, `SELECT object_id FROM run_blobs WHERE run_id = ? UNION SELECT object_id FROM run_inputs WHERE run_id = ?`, id, id)
		if err != nil {
			return err
		}
		if kind == contract.KindDataset {
			own, err := tx.column(ctx, `SELECT object_id FROM datasets WHERE id = ?
  UNION SELECT json_extract(train, '$.object_id') FROM datasets WHERE id = ? AND train IS NOT NULL
  UNION SELECT json_extract(eval, '$.object_id') FROM datasets WHERE id = ? AND eval IS NOT NULL`, id, id, id)
			if err != nil {
				return err
			}
			objects = append(objects, own...)
		}
		if err := tx.run(ctx, []string{
			`DELETE FROM events WHERE stream = ?1`,
			`DELETE FROM runs WHERE run_id = ?2`,
			`DELETE FROM metric_points WHERE job_id = ?2`,
			`DELETE FROM ` + projectionTables[kind] + ` WHERE id = ?2`,
		}, contract.Stream(kind, id), id); err != nil {
			return err
		}
		freed, err = tx.free(ctx, objects)
		return err
	})
	return freed, err
}

// eraseProject removes a project's models and keys, and the project. A model elsewhere that was tuned from one of them
// goes on from what that one was made from.
func (s *Store) eraseProject(ctx context.Context, id string) (freed []string, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *txn) error {
		objects, err := tx.column(ctx, `SELECT r.object_id FROM object_refs AS r JOIN models AS m ON r.owner = 'model/' || m.id WHERE m.project_id = ?`, id)
		if err != nil {
			return err
		}
		models, err := tx.column(ctx, `SELECT id FROM models WHERE project_id = ?`, id)
		if err != nil {
			return err
		}
		for _, model := range models {
			if err := tx.run(ctx, []string{
				`UPDATE models SET base_model_id = (SELECT base_model_id FROM models WHERE id = ?1) WHERE base_model_id = ?1`,
				`DELETE FROM object_refs WHERE owner = 'model/' || ?1`,
				`DELETE FROM models WHERE id = ?1`,
			}, model); err != nil {
				return err
			}
		}
		if err := tx.run(ctx, []string{`DELETE FROM api_keys WHERE project_id = ?1`, `DELETE FROM projects WHERE id = ?1`}, id); err != nil {
			return err
		}
		freed, err = tx.free(ctx, objects)
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

// free drops those of the objects that nothing refers to, and returns them.
func (t *txn) free(ctx context.Context, objects []string) (freed []string, err error) {
	for len(objects) > 0 {
		n := min(freeAtOnce, len(objects))
		gone, err := t.unreferenced(ctx, objects[:n])
		if err != nil {
			return freed, err
		}
		if err := t.dropObjects(ctx, gone); err != nil {
			return freed, err
		}
		freed, objects = append(freed, gone...), objects[n:]
	}
	return freed, nil
}
