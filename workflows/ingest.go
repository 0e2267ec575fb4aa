package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
)

// Ingest reads an uploaded file: detect, validate and profile it, then make its training and held-out splits. A file
// that cannot be used fails the dataset once, citing rows. Cancel ends it at any time.
func Ingest(ctx workflow.Context, in contract.IngestInput) (contract.DatasetOutput, error) {
	i := &ingest{in: in, log: newRecorder(ctx, contract.KindDataset, in.DatasetID), ending: newEnding(ctx, contract.SignalCancel)}
	return i.run(detach(ctx))
}

type ingest struct {
	in     contract.IngestInput
	log    *recorder
	ending *ending
}

func (i *ingest) run(ctx workflow.Context) (out contract.DatasetOutput, err error) {
	steps := []struct{ stage, details, activity string }{
		{"profile", "Reads, validates and counts every row", contract.ActivityProfileDataset},
		{"process", "Maps columns, deduplicates, filters and splits", contract.ActivityProcessDataset},
	}
	if !i.ending.asked() {
		if err := i.log.record(ctx, contract.EventStarted, nil); err != nil {
			return out, err
		}
	}
	for _, step := range steps {
		i.log.show(ctx, step.stage, step.details)
		err := i.read(ctx, step.activity, &out)
		if i.ending.asked() {
			return contract.DatasetOutput{}, i.log.cancelled(ctx)
		}
		if err != nil {
			return contract.DatasetOutput{}, i.log.fail(ctx, problemOf(err))
		}
	}
	i.log.show(ctx, string(contract.StatusReady), fmt.Sprintf("Ready: %d rows to train on, %d held out", out.TrainRows, out.EvalRows))
	return out, i.log.record(ctx, contract.EventCompleted, out)
}

func (i *ingest) read(ctx workflow.Context, activity string, out *contract.DatasetOutput) error {
	if i.ending.asked() {
		return errEnding
	}
	ctx = workflow.WithActivityOptions(ctx, longControlOptions(activity+" "+i.in.DatasetID))
	input := contract.DatasetInput{DatasetID: i.in.DatasetID, Options: i.in.Options}
	return interruptible(ctx, i.ending.asked, out, func(ctx workflow.Context) workflow.Future {
		return workflow.ExecuteActivity(ctx, activity, input)
	})
}
