package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

const awaitBeat = 10 * time.Second

// AwaitStatus waits until a dataset is ready or a deployment serves. It is woken by the log, and asks the database only
// then. A resource that failed or was cancelled ends it with that resource's own error, for good.
func (c *Control) AwaitStatus(ctx context.Context, in contract.AwaitStatusInput) (contract.AwaitStatusOutput, error) {
	ctx, cancel := untilStop(ctx)
	defer cancel()
	wake, release := c.store.Subscribe(contract.Stream(in.Kind, in.ID))
	defer release()
	beat := time.NewTicker(awaitBeat)
	defer beat.Stop()
	for {
		status, problem, err := c.status(ctx, in)
		switch {
		case err != nil:
			return contract.AwaitStatusOutput{}, failure(stopped(ctx, err))
		case problem != nil:
			return contract.AwaitStatusOutput{}, applicationError(problem, true)
		case status == contract.StatusReady || status == contract.StatusServing:
			return contract.AwaitStatusOutput{Status: status}, nil
		}
		activity.RecordHeartbeat(ctx, status)
		select {
		case <-wake:
		case <-beat.C:
		case <-ctx.Done():
			return contract.AwaitStatusOutput{}, failure(context.Cause(ctx))
		}
	}
}

// status reads a resource's row; problem is set if what is waited for cannot come any more.
func (c *Control) status(ctx context.Context, in contract.AwaitStatusInput) (contract.Status, *contract.Error, error) {
	var row store.Lifecycle
	switch in.Kind {
	case contract.KindDataset:
		d, err := c.store.GetDataset(ctx, in.ID)
		if err != nil {
			return "", nil, err
		}
		row = d.Lifecycle
	case contract.KindDeployment:
		d, err := c.store.GetDeployment(ctx, in.ID)
		if err != nil {
			return "", nil, err
		}
		row = d.Lifecycle
	default:
		return "", nil, contract.Errorf(contract.CodeInvalid, "nobody waits for a %s", in.Kind)
	}
	switch {
	case row.Status == contract.StatusReady || !row.Status.Final():
		return row.Status, nil, nil
	case row.Error != nil:
		return row.Status, row.Error, nil
	default:
		return row.Status, contract.Errorf(contract.CodeConflict, "the %s is %s", in.Kind, row.Status), nil
	}
}
