package workflows

import (
	"encoding/json"
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
)

var (
	stageAttribute = temporal.NewSearchAttributeKeyKeyword(contract.SearchAttributeStage)
	modelAttribute = temporal.NewSearchAttributeKeyKeyword(contract.SearchAttributeBaseModel)
)

// recorder appends a workflow's decisions to the stream of the resource that it drives.
type recorder struct {
	kind   contract.Kind
	stream string
	source string
	seq    int64
	stage  string
}

func newRecorder(ctx workflow.Context, kind contract.Kind, id string) *recorder {
	return &recorder{
		kind:   kind,
		stream: contract.Stream(kind, id),
		source: "wf/" + workflow.GetInfo(ctx).WorkflowExecution.RunID,
	}
}

// record appends one event, and returns once the log has it. It waits as long as the database is away, and fails only
// when the log refuses the event for good.
func (r *recorder) record(ctx workflow.Context, suffix string, payload any) error {
	if payload == nil {
		payload = struct{}{}
	}
	body, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("encode %s: %w", suffix, err)
	}
	r.seq++
	input := contract.RecordEventsInput{Stream: r.stream, Events: []contract.NewEvent{{
		Type:      contract.EventType(r.kind, suffix),
		Payload:   body,
		Source:    r.source,
		SourceSeq: r.seq,
		At:        workflow.Now(ctx).UTC(),
	}}}
	ctx = workflow.WithLocalActivityOptions(ctx, recordOptions())
	return workflow.ExecuteLocalActivity(ctx, contract.ActivityRecordEvents, input).Get(ctx, nil)
}

// show tells operators where the run stands: the search attribute to list by, and a sentence in Temporal's UI.
func (r *recorder) show(ctx workflow.Context, stage, details string) {
	workflow.SetCurrentDetails(ctx, details)
	if stage == r.stage {
		return
	}
	r.stage = stage
	list(ctx, stageAttribute.ValueSet(stage))
}

// list makes a run findable by a search attribute. A server that lacks it is no reason to stop.
func list(ctx workflow.Context, update temporal.SearchAttributeUpdate) {
	if err := workflow.UpsertTypedSearchAttributes(ctx, update); err != nil {
		workflow.GetLogger(ctx).Warn("search attribute not set", "error", err)
	}
}

// fail records the problem and returns the error that closes the workflow.
func (r *recorder) fail(ctx workflow.Context, problem *contract.Error) error {
	r.show(ctx, string(contract.StatusFailed), "Failed: "+problem.Error())
	if err := r.record(ctx, contract.EventFailed, problem); err != nil {
		return err
	}
	return failWith(problem)
}

// cancelled records the end that a user asked for and returns the error that closes the workflow.
func (r *recorder) cancelled(ctx workflow.Context) error {
	r.show(ctx, string(contract.StatusCancelled), "Cancelled")
	if err := r.record(ctx, contract.EventCancelled, nil); err != nil {
		return err
	}
	return errCancelled()
}
