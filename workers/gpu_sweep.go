package workers

import (
	"context"
	"fmt"
	"strings"

	"go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/temporal"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/workers/runner"
)

// abandoned is an activity that an earlier start of this worker held when it died.
type abandoned struct {
	workflowID, runID string
	pending           *workflowpb.PendingActivityInfo
}

// takeOver settles what earlier starts of this worker held. An activity that was going on is failed, so that Temporal
// hands it out again at once; it adopts its runner. One that had been asked to stop is not tried again by Temporal, so
// its end is brought about here: the runner saves, its checkpoint is committed, and the workflow is told which.
//
// Only this worker's own earlier starts are touched. What is missed here the heartbeat timeouts find.
func (h *gpuHost) takeOver(life context.Context, supervisor *runner.Supervisor) {
	ctx, cancel := context.WithTimeout(life, sweepPatience)
	defer cancel()
	held, err := h.findAbandoned(ctx)
	if err != nil && life.Err() == nil {
		h.log.Warn("could not look for what an earlier start left behind; timeouts will", "error", err)
	}
	for _, a := range held {
		if a.pending.GetState() == enums.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED {
			h.beside(func() { h.finishCancelled(life, supervisor, a) })
			continue
		}
		lost := temporal.NewApplicationError("the worker that ran this is gone", TypeWorkerLost)
		h.complete(ctx, a, lost)
	}
}

func (h *gpuHost) findAbandoned(ctx context.Context) (held []abandoned, err error) {
	err = eachRunning(ctx, h.Client, func(run *workflowpb.WorkflowExecutionInfo) error {
		id, runID := run.GetExecution().GetWorkflowId(), run.GetExecution().GetRunId()
		described, err := h.Client.DescribeWorkflowExecution(ctx, id, runID)
		if gone(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("describe %s: %w", id, err)
		}
		for _, pending := range described.GetPendingActivities() {
			started := pending.GetState() == enums.PENDING_ACTIVITY_STATE_STARTED ||
				pending.GetState() == enums.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
			if started && h.self.earlier(pending.GetLastWorkerIdentity()) {
				held = append(held, abandoned{workflowID: id, runID: runID, pending: pending})
			}
		}
		return nil
	})
	return held, err
}

// finishCancelled ends what a dead worker had been asked to end.
func (h *gpuHost) finishCancelled(life context.Context, supervisor *runner.Supervisor, a abandoned) {
	cancelled := temporal.NewCanceledError()
	kind, id, isRun := runOf(a)
	if isRun {
		out, err := supervisor.Finish(life, id, kind)
		if err != nil {
			h.log.Warn("a run that was being paused is left to its timeout", "run", id, "error", err)
			return
		}
		cancelled = temporal.NewCanceledError(contract.CheckpointRef{Name: out.Checkpoint, Step: out.Step})
	}
	h.complete(life, a, cancelled)
}

func (h *gpuHost) complete(ctx context.Context, a abandoned, with error) {
	err := h.Client.CompleteActivityByID(ctx, contract.Namespace, a.workflowID, a.runID, a.pending.GetActivityId(), nil, with)
	if err != nil && !gone(err) && ctx.Err() == nil {
		h.log.Warn("an earlier start's activity is left to its timeout", "workflow", a.workflowID, "error", err)
		return
	}
	h.log.Info("took over an earlier start's activity", "workflow", a.workflowID, "activity", a.pending.GetActivityType().GetName(), "as", with)
}

// runOf names the run that an activity sees through; a deployment is none.
func runOf(a abandoned) (kind contract.Kind, id string, ok bool) {
	kind, ok = map[string]contract.Kind{
		contract.ActivityTrain: contract.KindJob, contract.ActivityEvaluate: contract.KindEvaluation,
		contract.ActivityExport: contract.KindExport,
	}[a.pending.GetActivityType().GetName()]
	_, id, _ = strings.Cut(a.workflowID, "/")
	return kind, id, ok && id != ""
}
