package workers

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// Ledger is what the reconciler needs of the store: what should be under way.
type Ledger interface {
	Unfinished(ctx context.Context) ([]store.Unfinished, error)
	Revive(ctx context.Context, u store.Unfinished) (bool, error)
}

// closing is how long workflows of what has ended may take to see it themselves: what they had under way at the time of a
// backup they do again, and find done.
const closing = time.Minute

// reconciler compares the database with Temporal once, at the start: one of them may be of a backup, or new. Both copies of one
// backup agree, as after a kill; then there is nothing to do.
//
//   - What is not over and has no workflow gets it anew, under the same id, from where it stands: the runs of workers go on from
//     their last committed checkpoint. A pipeline alone cannot: which stages are done only its workflow knew. It fails, and says so;
//     what its stages had begun goes on.
//   - What is not over and has a workflow that ended was left by an operator who terminated that: it ends too, and says so.
//   - After a restore, workflows of what has ended are ended, if they do not end by themselves.
type reconciler struct {
	client    client.Client
	ledger    Ledger
	log       *slog.Logger
	orphaned  func(context.Context, contract.Signal) error
	lifecycle func(context.Context, contract.Kind, string) (contract.Status, error)
	closing   time.Duration
}

func (r *reconciler) compare(ctx context.Context) error {
	// The rows first: what is started meanwhile is in neither list, or in Temporal's.
	unfinished, err := r.ledger.Unfinished(ctx)
	if err != nil {
		return err
	}
	running, err := r.running(ctx)
	if err != nil {
		return err
	}
	for _, u := range unfinished {
		if running[resource{u.Kind, u.ID}] != nil {
			continue
		}
		if u.PipelineID != "" {
			itself, err := r.goesOn(ctx, contract.WorkflowID(contract.KindPipeline, u.PipelineID))
			if err != nil {
				return fmt.Errorf("pipeline %s: %w", u.PipelineID, err)
			}
			if itself {
				continue // a pipeline starts the workflows of its stages itself
			}
		}
		if err := r.settle(ctx, u); err != nil {
			return fmt.Errorf("%s %s: %w", u.Kind, u.ID, err)
		}
	}
	return nil
}

type resource struct {
	kind contract.Kind
	id   string
}

func (r *reconciler) running(ctx context.Context) (map[resource]*workflowpb.WorkflowExecutionInfo, error) {
	found := map[resource]*workflowpb.WorkflowExecutionInfo{}
	err := eachRunning(ctx, r.client, func(run *workflowpb.WorkflowExecutionInfo) error {
		if kind, id, ok := contract.SplitWorkflowID(run.GetExecution().GetWorkflowId()); ok {
			found[resource{kind, id}] = run
		}
		return nil
	})
	return found, err
}

// goesOn asks for a workflow itself: the list of running ones lags behind.
func (r *reconciler) goesOn(ctx context.Context, workflowID string) (bool, error) {
	described, err := r.client.DescribeWorkflowExecution(ctx, workflowID, "")
	if gone(err) {
		return false, nil
	}
	return err == nil && described.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING, err
}

// settle looks at the workflow itself: the list of running ones lags behind.
func (r *reconciler) settle(ctx context.Context, u store.Unfinished) error {
	described, err := r.client.DescribeWorkflowExecution(ctx, u.WorkflowID, "")
	switch {
	case gone(err) && u.Start != nil:
		revived, err := r.ledger.Revive(ctx, u)
		if revived {
			r.log.Warn("Temporal does not know a workflow that is under way, it is started again", "workflow", u.WorkflowID, "status", u.Status)
		}
		return err
	case err != nil && !gone(err):
		return err
	case described.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING:
		return nil
	}
	status, err := r.lifecycle(ctx, u.Kind, u.ID)
	if contract.CodeOf(err) == contract.CodeNotFound || err == nil && status != u.Status {
		return nil // it moved on meanwhile
	}
	if err != nil {
		return err
	}
	r.log.Warn("the workflow that drives something is gone, and it ends with it", "workflow", u.WorkflowID, "status", u.Status)
	return r.orphaned(ctx, contract.Signal{WorkflowID: u.WorkflowID, Name: lastWish(u.Status)})
}

// lastWish is the signal that a resource waits for an answer to; empty: none.
func lastWish(status contract.Status) string {
	if status == contract.StatusCancelling || status == contract.StatusStopping {
		return contract.SignalCancel
	}
	return ""
}

// closeEnded terminates workflows of resources that have ended, or are gone, and that do not end by themselves. A pipeline
// that failed waits for a retry.
func (r *reconciler) closeEnded(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(r.closing):
	}
	running, err := r.running(ctx)
	if err != nil {
		return err
	}
	for of, run := range running {
		status, err := r.lifecycle(ctx, of.kind, of.id)
		missing := contract.CodeOf(err) == contract.CodeNotFound
		if err != nil && !missing {
			return err
		}
		waits := of.kind == contract.KindPipeline && status == contract.StatusFailed
		if !missing && (!status.Final() || waits) {
			continue
		}
		id := run.GetExecution()
		r.log.Warn("a workflow goes on whose end is known, it is terminated", "workflow", id.GetWorkflowId(), "status", status)
		err = r.client.TerminateWorkflow(ctx, id.GetWorkflowId(), id.GetRunId(), "it had ended before the backup that this server was restored from")
		if err != nil && !gone(err) {
			return err
		}
	}
	return nil
}
