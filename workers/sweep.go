package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/vibeflow/vibeflow/contract"
)

// TypeWorkerLost is the retryable failure that the sweep reports for an activity of a worker that is dead.
const TypeWorkerLost = "WorkerLost"

// Identity names a worker in Temporal's histories: host/instance/boot. The boot changes with every start, so that a
// worker knows the attempts of its own earlier lives, and touches no others.
type Identity struct{ Host, Instance, Boot string }

// String is the identity as Temporal shows it.
func (i Identity) String() string { return i.Host + "/" + i.Instance + "/" + i.Boot }

// earlier tells whether identity is of an earlier boot of the same instance.
func (i Identity) earlier(identity string) bool {
	boot, ok := strings.CutPrefix(identity, i.Host+"/"+i.Instance+"/")
	return ok && boot != i.Boot
}

// sweep fails the activities that earlier boots of this instance held, so that Temporal hands them out again at once
// instead of after their heartbeat timeout (1.2 s instead of 60 s). With unstick it also makes running workflows forget
// the dead worker's cache, which would hold up their next message for five seconds.
//
// It is best effort: what it misses, the timeouts find.
func sweep(ctx context.Context, c client.Client, log *slog.Logger, self Identity, unstick bool) error {
	swept := 0
	err := eachRunning(ctx, c, func(run *workflowpb.WorkflowExecutionInfo) error {
		if unstick {
			_, _ = c.WorkflowService().ResetStickyTaskQueue(ctx, &workflowservice.ResetStickyTaskQueueRequest{
				Namespace: contract.Namespace, Execution: run.GetExecution(),
			})
		}
		n, err := sweepRun(ctx, c, self, run)
		swept += n
		return err
	})
	if swept > 0 {
		log.Info("took over what an earlier start left behind", "activities", swept)
	}
	return err
}

func eachRunning(ctx context.Context, c client.Client, visit func(*workflowpb.WorkflowExecutionInfo) error) error {
	var token []byte
	for {
		page, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Query: `ExecutionStatus = "Running"`, PageSize: 200, NextPageToken: token,
		})
		if err != nil {
			return fmt.Errorf("list running workflows: %w", err)
		}
		for _, run := range page.GetExecutions() {
			if err := visit(run); err != nil {
				return err
			}
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			return nil
		}
	}
}

func sweepRun(ctx context.Context, c client.Client, self Identity, run *workflowpb.WorkflowExecutionInfo) (swept int, err error) {
	id, runID := run.GetExecution().GetWorkflowId(), run.GetExecution().GetRunId()
	described, err := c.DescribeWorkflowExecution(ctx, id, runID)
	if gone(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("describe %s: %w", id, err)
	}
	for _, pending := range described.GetPendingActivities() {
		held := pending.GetState() == enums.PENDING_ACTIVITY_STATE_STARTED ||
			pending.GetState() == enums.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
		if !held || !self.earlier(pending.GetLastWorkerIdentity()) {
			continue
		}
		lost := temporal.NewApplicationError("the worker that ran this is gone", TypeWorkerLost)
		err := c.CompleteActivityByID(ctx, contract.Namespace, id, runID, pending.GetActivityId(), nil, lost)
		if err != nil && !gone(err) {
			return swept, fmt.Errorf("take over %s of %s: %w", pending.GetActivityType().GetName(), id, err)
		}
		swept++
	}
	return swept, nil
}

// gone tells that a workflow or an activity has ended meanwhile.
func gone(err error) bool {
	var notFound *serviceerror.NotFound
	return errors.As(err, &notFound)
}
