package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
)

// Export makes the files of a downloadable model. Cancel ends it at any time.
func Export(ctx workflow.Context, in contract.ExportInput) error {
	e := &export{slotRun{
		id: in.ExportID, kind: contract.KindExport, queue: in.Queue, activity: contract.ActivityExport,
		log: newRecorder(ctx, contract.KindExport, in.ExportID), ending: newEnding(ctx, contract.SignalCancel), turns: newTurns(ctx),
	}}
	return e.export(detach(ctx))
}

type export struct{ slotRun }

func (e *export) export(ctx workflow.Context) error {
	if _, err := e.run(ctx); err != nil {
		return e.unfinished(ctx, err)
	}
	var archive contract.ExportOutput
	control := workflow.WithActivityOptions(ctx, controlOptions("list the files of "+e.id))
	input := contract.RunInput{RunID: e.id, Kind: contract.KindExport}
	if err := workflow.ExecuteActivity(control, contract.ActivityAssembleExport, input).Get(ctx, &archive); err != nil {
		return e.unfinished(ctx, err)
	}
	e.log.show(ctx, string(contract.StatusCompleted), "Ready for download")
	return e.log.record(ctx, contract.EventCompleted, archive)
}
