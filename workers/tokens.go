package workers

import (
	"context"
	"errors"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/workflows"
)

// AskTokens runs the workflow Tokens and waits for its end. CodeUnavailable says that no worker answered in time.
func AskTokens(ctx context.Context, c client.Client, in contract.TokensInput) error {
	ctx, cancel := context.WithTimeout(ctx, workflows.TokensPatience)
	defer cancel()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: in.QuestionID, TaskQueue: contract.QueueControl, WorkflowExecutionTimeout: workflows.TokensPatience,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE, StaticSummary: "Show rows as tokens",
	}, contract.WorkflowTokens, in)
	if err == nil {
		err = run.Get(ctx, nil)
	}
	var failure *temporal.ApplicationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failure):
		return contract.Errorf(contract.Code(failure.Type()), "the worker could not show the tokens: %s", failure.Message())
	default:
		return contract.Errorf(contract.CodeUnavailable, "no worker answered in time: %w", err).Mend("ask again; a model that is used for the first time is fetched")
	}
}
