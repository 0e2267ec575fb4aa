package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
)

// betweenServes keeps an engine that ends at once from filling the history.
const betweenServes = time.Second

// Deploy is the entity that declares a model served: as long as it runs, some worker of the queue keeps an engine up. The
// worker tells the gateway where (the event "deployment.serving"). Signal stop, or a cancel request, takes it down.
func Deploy(ctx workflow.Context, in contract.DeployInput) error {
	d := &deployment{in: in, log: newRecorder(ctx, contract.KindDeployment, in.DeploymentID), ending: newEnding(ctx, contract.SignalStop)}
	return d.run(detach(ctx))
}

type deployment struct {
	in     contract.DeployInput
	log    *recorder
	ending *ending
}

func (d *deployment) run(ctx workflow.Context) error {
	if !d.in.Served && !d.ending.asked() {
		if err := d.log.record(ctx, contract.EventQueued, contract.Queued{Queue: d.in.Queue}); err != nil {
			return err
		}
	}
	for !d.ending.asked() {
		d.log.show(ctx, contract.StageDeploy, "Serves on queue `"+d.in.Queue+"`, or waits for memory there")
		err := d.serve(ctx)
		switch {
		case d.ending.asked():
		case err != nil:
			return d.log.fail(ctx, problemOf(err))
		case workflow.GetInfo(ctx).GetContinueAsNewSuggested():
			return workflow.NewContinueAsNewError(ctx, contract.WorkflowDeploy, d.state())
		default:
			// The engine ended although nobody asked for it.
			if _, err := workflow.AwaitWithTimeout(ctx, betweenServes, d.ending.asked); err != nil {
				return err
			}
		}
	}
	d.log.show(ctx, string(contract.StatusStopped), "Taken down")
	return d.log.record(ctx, contract.EventStopped, nil)
}

func (d *deployment) serve(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, serveOptions(d.in.Queue, "serve "+d.in.DeploymentID))
	input := contract.RunInput{RunID: d.in.DeploymentID, Kind: contract.KindDeployment}
	return interruptible(ctx, d.ending.asked, nil, func(ctx workflow.Context) workflow.Future {
		return workflow.ExecuteActivity(ctx, contract.ActivityServe, input)
	})
}

// state is what the next run of the entity goes on from. Its messages are drained by then: asked was just false.
func (d *deployment) state() contract.DeployInput {
	next := d.in
	next.Served = true
	return next
}
