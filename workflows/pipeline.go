package workflows

import (
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
)

// Pipeline tells the whole story: analyze → recommend → confirm → train → evaluate → deploy. It waits for a user at
// `confirm`, and after a stage that failed or whose run was cancelled: signal retry runs that stage alone again, cancel ends the pipeline and what
// it is waiting for. A deployment that serves outlives it.
func Pipeline(ctx workflow.Context, in contract.PipelineInput) (contract.PipelineResult, error) {
	p := &pipeline{
		in:       in,
		log:      newRecorder(ctx, contract.KindPipeline, in.PipelineID),
		ending:   newEnding(ctx, contract.SignalCancel),
		retries:  workflow.GetSignalChannel(ctx, contract.SignalRetry),
		confirms: workflow.GetSignalChannel(ctx, contract.SignalConfirm),
		attempts: map[string]int{},
	}
	return p.run(detach(ctx))
}

type pipeline struct {
	in       contract.PipelineInput
	log      *recorder
	ending   *ending
	retries  workflow.ReceiveChannel
	confirms workflow.ReceiveChannel
	retried  order
	// attempts counts the tries of each stage, so that each makes a resource of its own.
	attempts map[string]int
	// What the stages hand on.
	proposal contract.Recommendation
	result   contract.PipelineResult
}

// stage is one step of the story. run returns the error that fails it; made reports the resource it works on, if any.
type stage struct {
	name    string
	details string
	status  contract.Status // while it runs
	run     func(ctx workflow.Context, made func(id string) error) error
}

func (p *pipeline) run(ctx workflow.Context) (contract.PipelineResult, error) {
	for _, s := range p.stages() {
		done, err := p.see(ctx, s)
		if err != nil {
			return contract.PipelineResult{}, err
		}
		if !done {
			return contract.PipelineResult{}, p.log.cancelled(ctx)
		}
	}
	p.log.show(ctx, string(contract.StatusCompleted), fmt.Sprintf("Model `%s` is ready", p.result.ModelID))
	return p.result, p.log.record(ctx, contract.EventCompleted, p.result)
}

func (p *pipeline) stages() []stage {
	running := contract.StatusRunning
	stages := []stage{
		{contract.StageAnalyze, "Waits for the dataset to be read", running, p.analyze},
		{contract.StageRecommend, "Chooses a configuration", running, p.recommend},
	}
	if !p.in.Request.AutoConfirm {
		stages = append(stages, stage{contract.StageConfirm, "Waits for `confirm`", contract.StatusAwaiting, p.confirm})
	}
	stages = append(stages, stage{contract.StageTrain, "Trains", running, p.train})
	if !p.in.Request.SkipEvaluate {
		stages = append(stages, stage{contract.StageEvaluate, "Compares the tuned model with its base", running, p.evaluate})
	}
	if !p.in.Request.SkipDeploy {
		stages = append(stages, stage{contract.StageDeploy, "Waits for the model to answer", running, p.deploy})
	}
	return stages
}

// see runs a stage until it succeeds, asking for a retry whenever it did not. done is false when the user cancelled.
func (p *pipeline) see(ctx workflow.Context, s stage) (done bool, err error) {
	for !p.ending.asked() {
		change, err := p.attempt(ctx, s)
		if err != nil {
			return false, err
		}
		if change.Status == contract.StatusCompleted {
			return true, p.log.record(ctx, contract.EventStage, change)
		}
		if p.ending.asked() {
			change.Status, change.Error = contract.StatusCancelled, nil
			return false, p.log.record(ctx, contract.EventStage, change)
		}
		if err := p.waitForRetry(ctx, s, change); err != nil {
			return false, err
		}
	}
	return false, nil
}

// attempt runs a stage once and tells how it ended; the error is of the recording, not of the stage.
func (p *pipeline) attempt(ctx workflow.Context, s stage) (contract.StageChanged, error) {
	p.attempts[s.name]++
	p.log.show(ctx, s.name, s.details)
	began := workflow.Now(ctx)
	change := contract.StageChanged{Stage: s.name, Status: s.status}
	if err := p.log.record(ctx, contract.EventStage, change); err != nil {
		return change, err
	}
	work, stop := workflow.WithCancel(ctx)
	defer stop()
	over := false
	workflow.Go(ctx, func(ctx workflow.Context) {
		_ = workflow.Await(ctx, func() bool { return over || p.ending.asked() })
		stop()
	})
	err := s.run(work, func(id string) error {
		change.ID = id
		return p.log.record(ctx, contract.EventStage, change)
	})
	over = true
	change.Seconds = workflow.Now(ctx).Sub(began).Seconds()
	change.Status = contract.StatusCompleted
	switch {
	case temporal.IsCanceledError(err):
		change.Status = contract.StatusCancelled
		change.Error = contract.Errorf(contract.CodeConflict, "its %s was cancelled", runOf[s.name]).Mend("retry to run it again")
	case err != nil:
		change.Status, change.Error = contract.StatusFailed, problemOf(err)
	}
	return change, nil
}

// runOf says what a stage runs, in a user's words.
var runOf = map[string]string{contract.StageTrain: "training", contract.StageEvaluate: "evaluation", contract.StageDeploy: "deployment"}

// waitForRetry tells that a stage failed, or that its user cancelled what it ran, and waits until the user wants the stage
// again, or the end. A failed confirmation is also taken up by confirming anew.
func (p *pipeline) waitForRetry(ctx workflow.Context, s stage, change contract.StageChanged) error {
	// The attribute is part of the history, so it says the same of both.
	p.log.show(ctx, string(contract.StatusFailed), fmt.Sprintf("Stage %s %s: %s. Waits for `retry` or `cancel`", s.name, change.Status, change.Error.Error()))
	if err := p.log.record(ctx, contract.EventStage, change); err != nil {
		return err
	}
	p.retry() // one sent before this end was meant for another
	event := contract.EventFailed
	if change.Status == contract.StatusCancelled {
		event = contract.EventStopped
	}
	if err := p.log.record(ctx, event, change.Error); err != nil {
		return err
	}
	return workflow.Await(ctx, func() bool {
		return p.retry() || p.ending.asked() || (s.name == contract.StageConfirm && p.confirms.Len() > 0)
	})
}

// retry takes what has arrived and tells whether a retry that is no repetition was among it.
func (p *pipeline) retry() (wanted bool) {
	for request, ok := receive(p.retries); ok; request, ok = receive(p.retries) {
		wanted = p.retried.newer(request) || wanted
	}
	return wanted
}

// analyze waits until the dataset has been read; a dataset that cannot be used fails the stage with its own reason.
func (p *pipeline) analyze(ctx workflow.Context, made func(string) error) error {
	if err := made(p.in.Request.DatasetID); err != nil {
		return err
	}
	return p.await(ctx, contract.KindDataset, p.in.Request.DatasetID)
}

func (p *pipeline) recommend(ctx workflow.Context, _ func(string) error) error {
	return p.propose(ctx, p.in.Request.ModelID, p.in.Request.Config)
}

// propose asks for a configuration that keeps the choices made already, and shows it.
func (p *pipeline) propose(ctx workflow.Context, modelID string, config *contract.Training) error {
	input := contract.RecommendInput{
		DatasetID: p.in.Request.DatasetID, Goal: p.in.Request.Goal, ModelID: modelID, Config: config,
	}
	control := workflow.WithActivityOptions(ctx, controlOptions("recommend a configuration"))
	var proposal contract.Recommendation
	if err := workflow.ExecuteActivity(control, contract.ActivityRecommend, input).Get(ctx, &proposal); err != nil {
		return err
	}
	p.proposal = proposal
	list(ctx, modelAttribute.ValueSet(proposal.ModelID))
	return p.log.record(detach(ctx), contract.EventProposed, proposal)
}

// reopen shows the proposal again after a confirmation that was refused.
func (p *pipeline) reopen(ctx workflow.Context) error {
	if p.attempts[contract.StageConfirm] == 1 {
		return nil
	}
	return p.log.record(detach(ctx), contract.EventProposed, p.proposal)
}

// confirm waits for the user. Changes are checked as the recommender checks any configuration, and what comes of them is
// told as confirmed.
func (p *pipeline) confirm(ctx workflow.Context, _ func(string) error) error {
	if err := p.reopen(ctx); err != nil {
		return err
	}
	if err := workflow.Await(ctx, func() bool { return p.confirms.Len() > 0 }); err != nil {
		return err
	}
	var request contract.ConfirmRequest
	for p.confirms.ReceiveAsync(&request) { // the newest one counts
	}
	if request.ModelID == "" && request.Config == nil {
		return nil
	}
	if request.ModelID == "" {
		request.ModelID = p.proposal.ModelID
	}
	if err := p.propose(ctx, request.ModelID, request.Config); err != nil {
		return err
	}
	confirmed := contract.ConfirmRequest{ModelID: p.proposal.ModelID, Config: &p.proposal.Config}
	return p.log.record(detach(ctx), contract.EventConfirmed, confirmed)
}

func (p *pipeline) train(ctx workflow.Context, made func(string) error) error {
	row, err := p.start(ctx, made, contract.StartStageInput{
		Stage: contract.StageTrain, ModelID: p.proposal.ModelID, Config: &p.proposal.Config,
	})
	if err != nil {
		return err
	}
	var trained contract.TrainResult
	child := p.child(ctx, contract.KindJob, row.ID, enumspb.PARENT_CLOSE_POLICY_REQUEST_CANCEL)
	input := contract.TrainInput{JobID: row.ID, Queue: row.Queue}
	if err := workflow.ExecuteChildWorkflow(child, contract.WorkflowTrain, input).Get(ctx, &trained); err != nil {
		return err
	}
	p.result.JobID, p.result.ModelID = row.ID, trained.ModelID
	return nil
}

func (p *pipeline) evaluate(ctx workflow.Context, made func(string) error) error {
	row, err := p.start(ctx, made, contract.StartStageInput{
		Stage: contract.StageEvaluate, ModelID: p.result.ModelID, JobID: p.result.JobID,
	})
	if err != nil {
		return err
	}
	var measured contract.EvaluateResult
	child := p.child(ctx, contract.KindEvaluation, row.ID, enumspb.PARENT_CLOSE_POLICY_REQUEST_CANCEL)
	input := contract.EvaluateInput{EvaluationID: row.ID, Queue: row.Queue}
	if err := workflow.ExecuteChildWorkflow(child, contract.WorkflowEvaluate, input).Get(ctx, &measured); err != nil {
		return err
	}
	p.result.EvaluationID, p.result.Evaluation = row.ID, &measured
	return nil
}

// deploy starts the entity that keeps the model served, and is done when it answers. A cancel in between takes it down.
func (p *pipeline) deploy(ctx workflow.Context, made func(string) error) error {
	row, err := p.start(ctx, made, contract.StartStageInput{
		Stage: contract.StageDeploy, ModelID: p.result.ModelID, JobID: p.result.JobID,
	})
	if err != nil {
		return err
	}
	child := p.child(ctx, contract.KindDeployment, row.ID, enumspb.PARENT_CLOSE_POLICY_ABANDON)
	input := contract.DeployInput{DeploymentID: row.ID, Queue: row.Queue}
	started := workflow.ExecuteChildWorkflow(child, contract.WorkflowDeploy, input).GetChildWorkflowExecution()
	if err := started.Get(ctx, nil); err != nil {
		return err
	}
	if err := p.await(ctx, contract.KindDeployment, row.ID); err != nil {
		return err
	}
	p.result.DeploymentID = row.ID
	return nil
}

// start creates the row of a stage's resource, or finds the one that an interrupted try of the same attempt made.
func (p *pipeline) start(ctx workflow.Context, made func(string) error, in contract.StartStageInput) (row contract.StartStageOutput, err error) {
	in.PipelineID, in.DatasetID, in.Attempt = p.in.PipelineID, p.in.Request.DatasetID, p.attempts[in.Stage]
	control := workflow.WithActivityOptions(ctx, controlOptions("create the "+in.Stage+" stage"))
	if err := workflow.ExecuteActivity(control, contract.ActivityStartStage, in).Get(ctx, &row); err != nil {
		return row, err
	}
	return row, made(row.ID)
}

// await waits, with heartbeats, until a resource is ready or serving, or has failed.
func (p *pipeline) await(ctx workflow.Context, kind contract.Kind, id string) error {
	control := workflow.WithActivityOptions(ctx, longControlOptions("wait for "+string(kind)+" "+id))
	input := contract.AwaitStatusInput{Kind: kind, ID: id}
	return workflow.ExecuteActivity(control, contract.ActivityAwaitStatus, input).Get(ctx, nil)
}

// child starts a stage's workflow under the ID that its resource has everywhere, so that pausing the job of a pipeline
// is pausing any job. It inherits project and model for Temporal's lists.
func (p *pipeline) child(ctx workflow.Context, kind contract.Kind, id string, close enumspb.ParentClosePolicy) workflow.Context {
	return workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            contract.WorkflowID(kind, id),
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		ParentClosePolicy:     close,
		WaitForCancellation:   close == enumspb.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
		StaticSummary:         string(kind) + " " + id + " of pipeline " + p.in.PipelineID,
		TypedSearchAttributes: workflow.GetTypedSearchAttributes(ctx),
	})
}
