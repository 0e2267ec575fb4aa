package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/hardware"
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

// Room on each of the server's disks: as much as a database and the objects of a run need for a while, on a small disk a share
// of it.
const (
	storeRoom      = 1 << 30
	storeRoomShare = 20
	roomLook       = 2 * time.Second
)

// AwaitStore waits until the server's disks have room again: not only some, or the next write would fill them.
func (c *Control) AwaitStore(ctx context.Context, _ contract.RunInput) error {
	ctx, cancel := untilStop(ctx)
	defer cancel()
	look := time.NewTicker(roomLook)
	defer look.Stop()
	for {
		full, ok := c.fullDisk()
		if !ok {
			return nil
		}
		activity.RecordHeartbeat(ctx, full.Free)
		select {
		case <-look.C:
		case <-ctx.Done():
			return failure(context.Cause(ctx))
		}
	}
}

// fullDisk finds a disk without room among those of the database, the stored files and uploads under way.
func (c *Control) fullDisk() (hardware.Disk, bool) {
	for _, path := range append(c.artifacts.Folders(), c.store.Path()) {
		if disk := hardware.DiskOf(path); disk.Free < min(storeRoom, disk.Total/storeRoomShare) {
			return disk, true
		}
	}
	return hardware.Disk{}, false
}

// status reads a resource's row; problem is set if what is waited for cannot come any more.
func (c *Control) status(ctx context.Context, in contract.AwaitStatusInput) (contract.Status, *contract.Error, error) {
	if in.Kind != contract.KindDataset && in.Kind != contract.KindDeployment {
		return "", nil, contract.Errorf(contract.CodeInvalid, "nobody waits for a %s", in.Kind)
	}
	row, err := c.lifecycle(ctx, in.Kind, in.ID)
	if err != nil {
		return "", nil, err
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

// lifecycle reads where a resource of any kind stands, or not_found.
func (c *Control) lifecycle(ctx context.Context, kind contract.Kind, id string) (store.Lifecycle, error) {
	switch kind {
	case contract.KindDataset:
		return lifecycleOf(c.store.GetDataset(ctx, id))(func(r *store.Dataset) store.Lifecycle { return r.Lifecycle })
	case contract.KindJob:
		return lifecycleOf(c.store.GetJob(ctx, id))(func(r *store.Job) store.Lifecycle { return r.Lifecycle })
	case contract.KindEvaluation:
		return lifecycleOf(c.store.GetEvaluation(ctx, id))(func(r *store.Evaluation) store.Lifecycle { return r.Lifecycle })
	case contract.KindDeployment:
		return lifecycleOf(c.store.GetDeployment(ctx, id))(func(r *store.Deployment) store.Lifecycle { return r.Lifecycle })
	case contract.KindExport:
		return lifecycleOf(c.store.GetExport(ctx, id))(func(r *store.Export) store.Lifecycle { return r.Lifecycle })
	case contract.KindPipeline:
		return lifecycleOf(c.store.GetPipeline(ctx, id))(func(r *store.Pipeline) store.Lifecycle { return r.Lifecycle })
	default:
		return store.Lifecycle{}, contract.Errorf(contract.CodeNotFound, "there is no %s %q", kind, id)
	}
}

// Status tells where a resource of any kind stands, or not_found.
func (c *Control) Status(ctx context.Context, kind contract.Kind, id string) (contract.Status, error) {
	row, err := c.lifecycle(ctx, kind, id)
	return row.Status, err
}

func lifecycleOf[R any](row *R, err error) func(func(*R) store.Lifecycle) (store.Lifecycle, error) {
	return func(of func(*R) store.Lifecycle) (store.Lifecycle, error) {
		if err != nil {
			return store.Lifecycle{}, err
		}
		return of(row), nil
	}
}
