package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
)

// TokensPatience is how long somebody waits for tokens: a worker may have to fetch a tokenizer first.
const TokensPatience = 60 * time.Second

// Tokens has a worker answer a question that the gateway holds. It is for somebody who waits: one try, nothing recorded. It
// takes no slot, so a training does not hold it up.
func Tokens(ctx workflow.Context, in contract.TokensInput) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              contract.ServeQueue(in.Queue),
		ScheduleToCloseTimeout: TokensPatience,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
		Summary:                "show rows as tokens",
	})
	return workflow.ExecuteActivity(ctx, contract.ActivityTokens, in).Get(ctx, nil)
}
