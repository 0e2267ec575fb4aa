package store

import (
	"context"
	"fmt"

	"github.com/vibeflow/vibeflow/contract"
)

// SaveResult keeps an epoch's result, once: the same again changes nothing, another one is a conflict. The log is told
// what an evaluation measured.
func (s *Store) SaveResult(ctx context.Context, f Fence, r contract.RunResult) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		run, err := tx.fenced(ctx, f)
		if err != nil {
			return err
		}
		if run.Result != nil {
			if sameJSON(run.Result, r) {
				return nil
			}
			return contract.Errorf(contract.CodeConflict, "epoch %d of run %s has told another result already", run.Epoch, run.RunID)
		}
		run.Result = &r
		err = tx.saveResult(ctx, run)
		if err != nil || run.Kind != contract.KindEvaluation || r.Outcome != contract.OutcomeCompleted {
			return err
		}
		ev := contract.NewEvent{Type: contract.EventType(run.Kind, contract.EventMeasured), Payload: r.Metrics,
			Source: fmt.Sprintf("result/%d", run.Epoch), SourceSeq: 1}
		_, err = tx.append(ctx, contract.Stream(run.Kind, run.RunID), []contract.NewEvent{ev})
		return err
	})
}

func (t *txn) saveResult(ctx context.Context, run *Run) error {
	if err := t.sealRow(run); err != nil {
		return err
	}
	_, err := t.NewUpdate().Model(run).Column("result").WherePK().Exec(ctx)
	return err
}

// LoseServing tells the log that a deployment's engine died and is started again; of one that does not serve, there is nothing to
// tell.
func (s *Store) LoseServing(ctx context.Context, deploymentID string) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		d, err := findByID[Deployment](ctx, tx, contract.KindDeployment, deploymentID)
		if err != nil || d.Status != contract.StatusServing {
			return err
		}
		ev := newEvent(contract.KindDeployment, contract.EventRestarting, struct{}{}, "", 0)
		_, err = tx.append(ctx, contract.Stream(contract.KindDeployment, deploymentID), []contract.NewEvent{ev})
		return err
	})
}

// SaveServing tells the log that an engine answers for a deployment. The same again changes nothing; a deployment that
// was asked to stop, or has, is a conflict.
func (s *Store) SaveServing(ctx context.Context, deploymentID string, v contract.Serving) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		d, err := findByID[Deployment](ctx, tx, contract.KindDeployment, deploymentID)
		if err != nil {
			return err
		}
		switch {
		case d.Status == contract.StatusStopping || d.Status == contract.StatusStopped:
			return contract.Errorf(contract.CodeConflict, "deployment %s is %s", deploymentID, d.Status).Mend("stop its engine")
		case d.Status == contract.StatusServing && d.Serving != nil && *d.Serving == v:
			return nil
		}
		ev := newEvent(contract.KindDeployment, contract.EventServing, v, "", 0)
		_, err = tx.append(ctx, contract.Stream(contract.KindDeployment, deploymentID), []contract.NewEvent{ev})
		return err
	})
}
