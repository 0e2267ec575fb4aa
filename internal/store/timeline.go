package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// BeginTimeline is for a database that goes on from a backup: whatever was launched by the time of the backup, or after it by
// another life of the database, is fenced. Tokens of launches are worth nothing any more, and every later epoch is above all
// that were ever handed out, as long as the clock has not gone back behind the last backup that was restored.
func (s *Store) BeginTimeline(ctx context.Context) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		before, err := tx.timeline(ctx)
		if err != nil {
			return err
		}
		timeline := max(tx.now.Unix(), before+1)
		if _, err := tx.ExecContext(ctx, `UPDATE identity SET timeline = ?`, timeline); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE runs SET nonce = lower(hex(randomblob(16)))`); err != nil {
			return err
		}
		return tx.fenceAll(ctx, timeline)
	})
}

// fenceAll moves the runs that are not over to the timeline.
func (t *txn) fenceAll(ctx context.Context, timeline int64) error {
	var runs []Run
	if err := t.NewSelect().Model(&runs).Scan(ctx); err != nil {
		return err
	}
	for _, run := range runs {
		_, status, err := runStatus(ctx, t, run.RunID)
		if contract.CodeOf(err) == contract.CodeNotFound || (err == nil && status.Final()) {
			continue
		}
		if err != nil {
			return err
		}
		if err := t.openRow(&run); err != nil {
			return err
		}
		run.Epoch = contract.EpochIn(run.Epoch, timeline)
		if err := t.sealRow(&run); err != nil { // which is bound to the epoch
			return err
		}
		if _, err := t.NewUpdate().Model(&run).Column("epoch", "result").WherePK().Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) timeline(ctx context.Context) (timeline int64, err error) {
	err = t.QueryRowContext(ctx, `SELECT timeline FROM identity`).Scan(&timeline)
	return timeline, err
}

// Unfinished is a resource that a workflow is to bring to its end. Start would start that workflow anew, from where the
// resource stands. It is nil for a pipeline, whose workflow alone knows what has been done.
type Unfinished struct {
	Kind       contract.Kind
	ID         string
	Status     contract.Status
	PipelineID string
	WorkflowID string
	Start      *contract.Start
}

// Unfinished lists what is not over and whose start is not in the outbox.
func (s *Store) Unfinished(ctx context.Context) (all []Unfinished, err error) {
	err = s.read(ctx, func(ctx context.Context, db database) error {
		for _, list := range []func(context.Context, database) ([]Unfinished, error){
			unfinishedDatasets, unfinishedJobs, unfinishedEvaluations, unfinishedExports, unfinishedDeployments, unfinishedPipelines,
		} {
			found, err := list(ctx, db)
			if err != nil {
				return err
			}
			all = append(all, found...)
		}
		starting, err := starts(ctx, db)
		all = slices.DeleteFunc(all, func(u Unfinished) bool { return starting[key(u.Kind, u.ID)] })
		return err
	})
	return all, err
}

func key(kind contract.Kind, id string) string { return string(kind) + "/" + id }

// starts are the resources whose workflow waits in the outbox to be started.
func starts(ctx context.Context, db database) (map[string]bool, error) {
	var entries []OutboxEntry
	if err := db.NewSelect().Model(&entries).Scan(ctx); err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, e := range entries {
		damaged := db.openRow(&e) != nil // whether it is a start is not known: nothing is started in its place
		if kind, id, ok := contract.SplitWorkflowID(e.WorkflowID); ok && (damaged || e.Start != nil) {
			found[key(kind, id)] = true
		}
	}
	return found, nil
}

// driven is what the tables of resources that workflows drive have in common.
type driven struct {
	ID         string          `bun:"id"`
	Status     contract.Status `bun:"status"`
	ProjectID  string          `bun:"project_id"`
	PipelineID string          `bun:"pipeline_id"`
	ModelID    string          `bun:"model_id"`
	Queue      string          `bun:"queue"`
	Keep       bool            `bun:"keep"`
}

// final is SQL for the statuses after which nothing happens by itself.
var final = []contract.Status{contract.StatusCompleted, contract.StatusStopped, contract.StatusFailed, contract.StatusCancelled, contract.StatusReady}

// unfinishedOf reads a kind's table, and has describe say how each resource would be started anew.
func unfinishedOf(ctx context.Context, db database, kind contract.Kind, columns string, describe func(driven) (Unfinished, error)) ([]Unfinished, error) {
	var rows []driven
	err := db.NewSelect().Table(projectionTables[kind]).ColumnExpr("id, status, project_id, "+columns).
		Where("status NOT IN (?)", bun.List(final)).Order("created_at", "id").Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("list what is unfinished of %ss: %w", kind, err)
	}
	all := make([]Unfinished, 0, len(rows))
	for _, row := range rows {
		u, err := describe(row)
		if err != nil {
			return nil, err
		}
		u.Kind, u.ID, u.Status, u.PipelineID = kind, row.ID, row.Status, row.PipelineID
		if u.WorkflowID == "" {
			u.WorkflowID = contract.WorkflowID(kind, row.ID)
		}
		if u.Start != nil {
			u.Start.ID, u.Start.Queue = u.WorkflowID, contract.QueueControl
			u.Start.Project, u.Start.Model = row.ProjectID, row.ModelID
			u.Start.Summary = fmt.Sprintf("%s %s, taken up again", kind, row.ID)
		}
		all = append(all, u)
	}
	return all, nil
}

// anew is a start with what is to be told at once.
func anew(workflow string, input any, signal string, payload any) (Unfinished, error) {
	body, err := json.Marshal(input)
	if err != nil {
		return Unfinished{}, err
	}
	u := Unfinished{Start: &contract.Start{Workflow: workflow, Input: body}}
	if signal == "" {
		return u, nil
	}
	told, err := json.Marshal(payload)
	u.Start.First = &contract.First{Signal: signal, Input: told}
	return u, err
}

func unfinishedJobs(ctx context.Context, db database) ([]Unfinished, error) {
	return unfinishedOf(ctx, db, contract.KindJob, "pipeline_id, model_id, queue, keep", func(row driven) (Unfinished, error) {
		input := contract.TrainInput{JobID: row.ID, Queue: row.Queue}
		switch row.Status {
		case contract.StatusPaused, contract.StatusPausing:
			return anew(contract.WorkflowTrain, input, contract.SignalPause, contract.ControlRequest{})
		case contract.StatusCancelling, contract.StatusStopping:
			return anew(contract.WorkflowTrain, input, contract.SignalCancel, contract.CancelRequest{Keep: row.Keep})
		default:
			return anew(contract.WorkflowTrain, input, "", nil)
		}
	})
}

// ending is the signal of a resource whose end was asked for.
func ending(status contract.Status, signal string) string {
	if status == contract.StatusCancelling || status == contract.StatusStopping {
		return signal
	}
	return ""
}

func unfinishedEvaluations(ctx context.Context, db database) ([]Unfinished, error) {
	return unfinishedOf(ctx, db, contract.KindEvaluation, "pipeline_id, model_id, queue", func(row driven) (Unfinished, error) {
		return anew(contract.WorkflowEvaluate, contract.EvaluateInput{EvaluationID: row.ID, Queue: row.Queue},
			ending(row.Status, contract.SignalCancel), contract.CancelRequest{})
	})
}

func unfinishedExports(ctx context.Context, db database) ([]Unfinished, error) {
	return unfinishedOf(ctx, db, contract.KindExport, "model_id, queue", func(row driven) (Unfinished, error) {
		return anew(contract.WorkflowExport, contract.ExportInput{ExportID: row.ID, Queue: row.Queue},
			ending(row.Status, contract.SignalCancel), contract.CancelRequest{})
	})
}

func unfinishedDeployments(ctx context.Context, db database) ([]Unfinished, error) {
	return unfinishedOf(ctx, db, contract.KindDeployment, "pipeline_id, model_id, queue", func(row driven) (Unfinished, error) {
		return anew(contract.WorkflowDeploy, contract.DeployInput{DeploymentID: row.ID, Queue: row.Queue},
			ending(row.Status, contract.SignalStop), contract.ControlRequest{})
	})
}

func unfinishedPipelines(ctx context.Context, db database) ([]Unfinished, error) {
	return unfinishedOf(ctx, db, contract.KindPipeline, "''  AS queue", func(driven) (Unfinished, error) { return Unfinished{}, nil })
}

// unfinishedDatasets takes the options and the number of the last wish to process a dataset anew: its workflow has them.
func unfinishedDatasets(ctx context.Context, db database) ([]Unfinished, error) {
	return unfinishedOf(ctx, db, contract.KindDataset, "'' AS queue", func(row driven) (Unfinished, error) {
		input := contract.IngestInput{DatasetID: row.ID}
		var wishes []eventRow
		err := db.NewSelect().Model(&wishes).Where("stream = ?", contract.Stream(contract.KindDataset, row.ID)).
			Where("type = ?", contract.EventType(contract.KindDataset, contract.EventQueued)).Order("seq DESC").Limit(1).Scan(ctx)
		if err != nil {
			return Unfinished{}, err
		}
		workflow := contract.WorkflowID(contract.KindDataset, row.ID)
		if len(wishes) > 0 {
			event, err := db.openEvent(wishes[0])
			if err != nil {
				return Unfinished{}, err
			}
			wish, err := decode[contract.DatasetQueued](event)
			if err != nil {
				return Unfinished{}, err
			}
			input.Options, workflow = wish.Options, fmt.Sprintf("%s/%d", workflow, event.Seq)
		}
		u, err := anew(contract.WorkflowIngest, input, ending(row.Status, contract.SignalCancel), contract.CancelRequest{})
		u.WorkflowID = workflow
		return u, err
	})
}

// Revive puts the start of a workflow that is gone into the outbox, if its resource is still where it was. A turn in line that
// waits there for the one that is gone is void; any other message is for its end, which revives nothing.
func (s *Store) Revive(ctx context.Context, u Unfinished) (revived bool, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *txn) error {
		status, err := tx.statusOf(ctx, u.Kind, u.ID)
		if contract.CodeOf(err) == contract.CodeNotFound || (err == nil && status != u.Status) {
			return nil
		}
		if err != nil {
			return err
		}
		var waiting []OutboxEntry
		if err := tx.NewSelect().Model(&waiting).Where("workflow_id = ?", u.WorkflowID).Scan(ctx); err != nil {
			return err
		}
		for _, e := range waiting {
			if err := tx.openRow(&e); err != nil {
				return err
			}
			if e.Signal == nil || e.Signal.Name != contract.SignalTurn {
				return nil
			}
			if _, err := tx.NewDelete().Model(&e).WherePK().Exec(ctx); err != nil {
				return err
			}
		}
		revived = true
		return tx.enqueue(ctx, OutboxEntry{WorkflowID: u.WorkflowID, Start: u.Start})
	})
	return revived && err == nil, err
}
