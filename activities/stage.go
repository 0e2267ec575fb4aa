package activities

import (
	"context"
	"strconv"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// StartStage creates the row of a pipeline's stage; the pipeline starts its workflow as a child. The id follows from the
// pipeline, the stage and the attempt, so an interrupted try finds what it has made. Errors: CodeNotFound, CodeInvalid.
func (c *Control) StartStage(ctx context.Context, in contract.StartStageInput) (contract.StartStageOutput, error) {
	pipeline, err := c.store.GetPipeline(ctx, in.PipelineID)
	if err != nil {
		return contract.StartStageOutput{}, failure(err)
	}
	_, queue, err := c.machine(ctx)
	if err != nil {
		return contract.StartStageOutput{}, failure(err)
	}
	creation, err := c.stage(ctx, pipeline, queue, in)
	if err != nil {
		return contract.StartStageOutput{}, failure(err)
	}
	if _, err := c.store.Create(ctx, creation); err != nil {
		return contract.StartStageOutput{}, failure(err)
	}
	queue, err = c.queueOf(ctx, creation)
	return contract.StartStageOutput{ID: creation.ID, Queue: queue}, failure(err)
}

func (c *Control) stage(ctx context.Context, p *store.Pipeline, queue string, in contract.StartStageInput) (store.Creation, error) {
	id := func(prefix string) string {
		return contract.DerivedID(prefix, in.PipelineID, in.Stage, strconv.Itoa(in.Attempt))
	}
	switch in.Stage {
	case contract.StageTrain:
		job, err := c.trainStage(ctx, p, queue, in)
		return store.Creation{Kind: contract.KindJob, ID: id(contract.PrefixJob), Payload: job}, err
	case contract.StageEvaluate:
		job, err := c.store.GetJob(ctx, in.JobID)
		if err != nil {
			return store.Creation{}, err
		}
		return store.Creation{Kind: contract.KindEvaluation, ID: id(contract.PrefixEvaluation), Payload: contract.EvaluationCreated{
			ProjectID: p.ProjectID, JobID: in.JobID, ModelID: in.ModelID, DatasetID: in.DatasetID, Queue: queue,
			Config: evaluationOf(job.Config), PipelineID: p.ID, Priority: job.Urgency,
		}}, nil
	case contract.StageDeploy:
		return store.Creation{Kind: contract.KindDeployment, ID: id(contract.PrefixDeployment), Payload: contract.DeploymentCreated{
			ProjectID: p.ProjectID, ModelID: in.ModelID, Queue: contract.ServeQueue(queue), PipelineID: p.ID,
		}}, nil
	default:
		return store.Creation{}, contract.Errorf(contract.CodeInvalid, "a pipeline has no stage %q", in.Stage)
	}
}

func (c *Control) trainStage(ctx context.Context, p *store.Pipeline, queue string, in contract.StartStageInput) (contract.JobCreated, error) {
	if in.Config == nil {
		return contract.JobCreated{}, contract.Errorf(contract.CodeInvalid, "the train stage has no configuration").On("config")
	}
	_, entry, err := c.model(ctx, in.ModelID)
	return contract.JobCreated{
		ProjectID: p.ProjectID, Name: p.Name, DatasetID: in.DatasetID, ModelID: in.ModelID, Model: entry.Ref(),
		Queue: queue, Config: *in.Config, PipelineID: p.ID, Priority: p.Request.Priority, Seconds: secondsOf(p),
	}, err
}

// secondsOf is what the pipeline's proposal expects the training to take.
func secondsOf(p *store.Pipeline) [2]float64 {
	if p.Recommendation == nil {
		return [2]float64{}
	}
	return p.Recommendation.Seconds
}

// Limits of a pipeline's evaluation: enough for a verdict, quick enough for a CPU.
const (
	evaluatedRows   = 500
	generatedRows   = 8
	generatedTokens = 64
	evaluationBatch = 8
)

// evaluationOf measures as the model was trained: at the same length and precision.
func evaluationOf(c contract.Training) contract.Evaluation {
	return contract.Evaluation{
		MaxRows: evaluatedRows, MaxGenerations: generatedRows, MaxNewTokens: generatedTokens,
		MaxLength: c.MaxLength, BatchSize: evaluationBatch, Seed: c.Seed, Precision: c.Precision,
	}
}

// queueOf reads the queue back: a repetition must name the one of the first try, whatever workers there are now.
func (c *Control) queueOf(ctx context.Context, made store.Creation) (string, error) {
	switch made.Kind {
	case contract.KindJob:
		row, err := c.store.GetJob(ctx, made.ID)
		if err != nil {
			return "", err
		}
		return row.Queue, nil
	case contract.KindEvaluation:
		row, err := c.store.GetEvaluation(ctx, made.ID)
		if err != nil {
			return "", err
		}
		return row.Queue, nil
	default:
		row, err := c.store.GetDeployment(ctx, made.ID)
		if err != nil {
			return "", err
		}
		return row.Queue, nil
	}
}
