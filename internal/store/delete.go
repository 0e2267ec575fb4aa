package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
)

// KindModel is a model among what can be deleted; models have no stream.
const KindModel contract.Kind = "model"

// Resource names something that is deleted, or that is in the way.
type Resource struct {
	Kind   contract.Kind
	ID     string
	Status contract.Status
}

// named says a resource and where it stands: "deployment dep_1 (serving)".
func (r Resource) named() string {
	if r.Status == "" {
		return fmt.Sprintf("%s %s", r.Kind, r.ID)
	}
	return fmt.Sprintf("%s %s (%s)", r.Kind, r.ID, r.Status)
}

// Deletion is what goes with a resource: others that are nothing without it, and stored files that nothing else needs.
type Deletion struct {
	Also    []Resource
	Objects []string // for the caller to discard
	Bytes   int64    // of Objects
}

// errPreview takes back a deletion that was only to be looked at.
var errPreview = errors.New("a preview")

// Delete removes a dataset, model, job, evaluation or pipeline in one transaction, or with preview only says what would go.
// What is under way, or used by what is, is refused (in_use) with what uses it. Rows go before files: a crash in between
// leaves files that nothing names, which the next start sweeps. With ifVersion other than 0
// (datasets, jobs and models have versions) it fails with precondition if there is another version by now.
func (s *Store) Delete(ctx context.Context, kind contract.Kind, id string, ifVersion int64, preview bool) (Deletion, error) {
	var d Deletion
	err := s.write(ctx, func(ctx context.Context, tx *txn) error {
		if err := tx.unchanged(ctx, kind, id, ifVersion); err != nil {
			return err
		}
		if err := tx.deletable(ctx, kind, id); err != nil {
			return err
		}
		objects, err := tx.eraseWithOthers(ctx, &d, kind, id)
		if err != nil {
			return err
		}
		if d.Objects, d.Bytes, err = tx.free(ctx, objects); err != nil {
			return err
		}
		if preview {
			return errPreview
		}
		return nil
	})
	if preview && errors.Is(err, errPreview) {
		err = nil
	}
	return d, err
}

// deletable refuses what ctx does not reach, what is under way, and what is used.
func (t *txn) deletable(ctx context.Context, kind contract.Kind, id string) error {
	if kind == KindModel {
		m, err := findByID[Model](ctx, t, kind, id)
		if err != nil {
			return err
		}
		if m.ProjectID == "" {
			return contract.Errorf(contract.CodeConflict, "%s belongs to the catalog, which all projects share", id).On("id").Mend("delete models of a project's own")
		}
	} else if err := t.over(ctx, kind, id); err != nil {
		return err
	}
	users, err := t.usersOf(ctx, kind, id)
	if err != nil || len(users) == 0 {
		return err
	}
	named := make([]string, 0, len(users))
	for _, u := range users {
		named = append(named, u.named())
	}
	const most = 5
	if len(named) > most {
		named = append(named[:most], fmt.Sprintf("%d more", len(named)-most))
	}
	return contract.Errorf(contract.CodeInUse, "the %s is in use by %s", kind, strings.Join(named, ", ")).On("id").Mend("wait for it, or cancel, stop or delete it first")
}

// over refuses a resource that is not at its end. A pipeline that can be retried is not.
func (t *txn) over(ctx context.Context, kind contract.Kind, id string) error {
	if err := reaches(ctx, t, kind, id); err != nil {
		return err
	}
	status, err := t.statusOf(ctx, kind, id)
	if err != nil {
		return err
	}
	if status.Final() && !slices.Contains(commands[kind][contract.EventCancelRequested], status) {
		return nil
	}
	return contract.Errorf(contract.CodeInUse, "the %s is %s", kind, status).On("status").Mend("cancel it first: possible now: %s", strings.Join(Possible(kind, status), ", "))
}

const unfinished = `status NOT IN ('completed', 'stopped', 'failed', 'cancelled')`

// uses selects what must not lose a resource.
var uses = map[contract.Kind]string{
	contract.KindDataset: `SELECT 'job', id, status FROM training_jobs WHERE dataset_id = ?1 AND ` + unfinished + `
  UNION ALL SELECT 'evaluation', id, status FROM evaluations WHERE dataset_id = ?1 AND ` + unfinished,
	contract.KindJob: `SELECT 'evaluation', id, status FROM evaluations WHERE training_job_id = ?1 AND ` + unfinished,
	KindModel: `SELECT 'deployment', id, status FROM deployments WHERE model_id = ?1 AND status <> 'stopped'
  UNION ALL SELECT 'job', id, status FROM training_jobs WHERE model_id = ?1 AND ` + unfinished + `
  UNION ALL SELECT 'evaluation', id, status FROM evaluations WHERE model_id = ?1 AND ` + unfinished + `
  UNION ALL SELECT 'export', id, status FROM exports WHERE model_id = ?1 AND ` + unfinished + `
  UNION ALL SELECT 'model', id, '' FROM models WHERE base_model_id = ?1`,
}

func (t *txn) usersOf(ctx context.Context, kind contract.Kind, id string) ([]Resource, error) {
	users, err := t.resources(ctx, uses[kind], id)
	if err != nil || kind == contract.KindPipeline {
		return users, err
	}
	// What a pipeline works on is sealed; few are unfinished.
	var pipelines []Pipeline
	if err := t.NewSelect().Model(&pipelines).Where("status NOT IN ('completed', 'stopped', 'cancelled')").Scan(ctx); err != nil {
		return nil, err
	}
	for _, p := range pipelines {
		if err := t.openRow(&p); err != nil {
			return nil, err
		}
		made := slices.ContainsFunc(p.Stages, func(s PipelineStage) bool { return s.ID == id })
		if made || p.Request.DatasetID == id || p.Request.ModelID == id {
			users = append(users, Resource{contract.KindPipeline, p.ID, p.Status})
		}
	}
	return users, nil
}

func (t *txn) resources(ctx context.Context, query, id string) (found []Resource, err error) {
	if query == "" {
		return nil, nil
	}
	rows, err := t.Tx.Tx.QueryContext(ctx, query, id) // not bun's: ?1 is SQLite's
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r Resource
		if err := rows.Scan(&r.Kind, &r.ID, &r.Status); err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, rows.Err()
}

// eraseWithOthers removes a resource and what is nothing without it: a model's exports, evaluations and ended deployments.
func (t *txn) eraseWithOthers(ctx context.Context, d *Deletion, kind contract.Kind, id string) (objects []string, err error) {
	if kind == KindModel {
		if d.Also, err = t.resources(ctx, `SELECT 'export', id, status FROM exports WHERE model_id = ?1
  UNION ALL SELECT 'evaluation', id, status FROM evaluations WHERE model_id = ?1
  UNION ALL SELECT 'deployment', id, status FROM deployments WHERE model_id = ?1`, id); err != nil {
			return nil, err
		}
		if objects, err = t.eraseModel(ctx, id); err != nil {
			return nil, err
		}
	}
	for _, r := range append(slices.Clone(d.Also), Resource{Kind: kind, ID: id}) {
		if r.Kind == KindModel {
			continue
		}
		more, err := t.eraseResource(ctx, r.Kind, r.ID)
		if err != nil {
			return nil, err
		}
		objects = append(objects, more...)
	}
	return objects, nil
}
