package workers

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/mocks"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// memoryLedger is the store's ledger, in memory.
type memoryLedger struct {
	unfinished []store.Unfinished
	revived    []string
}

func (l *memoryLedger) Unfinished(context.Context) ([]store.Unfinished, error) {
	return l.unfinished, nil
}

func (l *memoryLedger) Revive(_ context.Context, u store.Unfinished) (bool, error) {
	l.revived = append(l.revived, u.ID)
	return true, nil
}

// TestAStageOfAPipelineThatTheListLacksIsLeftToIt: all was killed between the row of a stage's job and the start of its
// workflow, before Temporal's list had the pipeline. A workflow started beside the pipeline's own would fail the stage.
func TestAStageOfAPipelineThatTheListLacksIsLeftToIt(t *testing.T) {
	t.Parallel()
	for status, revived := range map[enums.WorkflowExecutionStatus][]string{
		enums.WORKFLOW_EXECUTION_STATUS_RUNNING:    nil,
		enums.WORKFLOW_EXECUTION_STATUS_TERMINATED: {"job_1"},
	} {
		job, pipeline := contract.WorkflowID(contract.KindJob, "job_1"), contract.WorkflowID(contract.KindPipeline, "pipe_1")
		ledger := &memoryLedger{unfinished: []store.Unfinished{{Kind: contract.KindJob, ID: "job_1", Status: contract.StatusQueued,
			PipelineID: "pipe_1", WorkflowID: job, Start: &contract.Start{ID: job}}}}
		fake := &mocks.Client{}
		fake.On("ListWorkflow", mock.Anything, mock.Anything).Return(&workflowservice.ListWorkflowExecutionsResponse{}, nil)
		fake.On("DescribeWorkflowExecution", mock.Anything, job, "").Return(nil, serviceerror.NewNotFound("gone"))
		fake.On("DescribeWorkflowExecution", mock.Anything, pipeline, "").Return(took(t, 1, status), nil)
		r := &reconciler{client: fake, ledger: ledger, log: slog.New(slog.DiscardHandler)}
		require.NoError(t, r.compare(t.Context()))
		require.Equal(t, revived, ledger.revived, status)
	}
}
