package contract

import (
	"encoding/json"
	"time"
)

// Start is an outbox entry that starts a workflow once: design §4.
type Start struct {
	Workflow string          `json:"workflow"`
	ID       string          `json:"id"`
	Queue    string          `json:"queue"`
	Input    json.RawMessage `json:"input"`
	Summary  string          `json:"summary,omitempty"` // static summary in Temporal's UI
	Project  string          `json:"project,omitempty"`
	Model    string          `json:"model,omitempty"`
	// First, if set, is the signal that the workflow finds when it begins.
	First *First `json:"first,omitempty"`
}

// First is a signal that a workflow is started with.
type First struct {
	Signal string          `json:"signal"`
	Input  json.RawMessage `json:"input,omitempty"`
}

// Signal is an outbox entry that signals a workflow; a workflow that has ended by then is left alone.
type Signal struct {
	WorkflowID string          `json:"workflow_id"`
	Name       string          `json:"name"`
	Input      json.RawMessage `json:"input,omitempty"`
}

// Inputs of workflows. They carry ids; configuration stays in the database, so that history holds decisions only.
type (
	// IngestInput names a dataset; nil Options are the default ones.
	IngestInput struct {
		DatasetID string          `json:"dataset_id"`
		Options   *ProcessOptions `json:"options,omitempty"`
	}
	TrainInput struct {
		JobID string `json:"job_id"`
		Queue string `json:"queue"`
		// Before is what a run of the workflow with a long history hands to the one that goes on; nil at a job's start.
		Before *TrainBefore `json:"before,omitempty"`
	}
	// TrainBefore is all that a training's workflow knows between two of its stays in line.
	TrainBefore struct {
		Checkpoint CheckpointRef `json:"checkpoint"`
		Resumed    bool          `json:"resumed"`      // the job has held a slot
		Command    int64         `json:"command"`      // the number of the newest command taken
		QueuedAt   time.Time     `json:"queued_at"`    // of the newest stay in line
		FullTries  int           `json:"full_tries"`   // in a row that a full disk has cost
		FullLastAt time.Time     `json:"full_last_at"` // when the last of them was over
	}
	EvaluateInput struct {
		EvaluationID string `json:"evaluation_id"`
		Queue        string `json:"queue"`
	}
	DeployInput struct {
		DeploymentID string `json:"deployment_id"`
		Queue        string `json:"queue"`
		// Served carries an entity's state over a continue-as-new.
		Served bool `json:"served,omitempty"`
		// Seq carries the source sequence of recorded events over a continue-as-new.
		Seq int64 `json:"seq,omitempty"`
	}
	ExportInput struct {
		ExportID string `json:"export_id"`
		Queue    string `json:"queue"`
	}
	PipelineInput struct {
		PipelineID string          `json:"pipeline_id"`
		Request    PipelineRequest `json:"request"`
	}
)

// PipelineRequest says what the whole story is to do. Empty choices are the recommender's.
type PipelineRequest struct {
	DatasetID string    `json:"dataset_id"`
	ModelID   string    `json:"model_id,omitempty"`
	Goal      string    `json:"goal,omitempty"`
	Config    *Training `json:"config,omitempty"`
	// AutoConfirm goes on without waiting for `confirm`.
	AutoConfirm  bool `json:"auto_confirm,omitempty"`
	SkipEvaluate bool `json:"skip_evaluate,omitempty"`
	SkipDeploy   bool `json:"skip_deploy,omitempty"`
	// Priority is of its training and its evaluation.
	Priority Priority `json:"priority,omitempty"`
}

// Stages of a pipeline, in order.
const (
	StageAnalyze   = "analyze"
	StageRecommend = "recommend"
	StageConfirm   = "confirm"
	StageTrain     = "train"
	StageEvaluate  = "evaluate"
	StageDeploy    = "deploy"
)

// Payloads of signals.
type (
	// ControlRequest is the payload of pause, resume, retry and stop. Seq orders commands that reach a workflow together,
	// for it sees each signal's channel apart; the dispatcher fills it with the outbox row's number. 0: no order known.
	ControlRequest struct {
		Seq int64 `json:"seq,omitempty"`
	}
	// Turn tells a run that its place in line has come: it may take a slot. QueuedAt is the time of the `queued` event that
	// it answers, so that a turn that comes late, after a pause, is not taken for the next one's.
	Turn struct {
		QueuedAt time.Time `json:"queued_at"`
	}
	// CancelRequest ends a run; Keep registers the model from its last checkpoint ("stop and keep").
	CancelRequest struct {
		Keep bool `json:"keep"`
	}
	// ConfirmRequest accepts a proposal, with the changes that the user made.
	ConfirmRequest struct {
		ModelID string    `json:"model_id,omitempty"`
		Config  *Training `json:"config,omitempty"`
	}
)

// Activities' messages.
type (
	// RecordEventsInput appends decisions to one stream; sources make a retry harmless.
	RecordEventsInput struct {
		Stream string     `json:"stream"`
		Events []NewEvent `json:"events"`
	}
	// RunInput asks a slot of a queue to see one run through: train, evaluate or export.
	RunInput struct {
		RunID string `json:"run_id"`
		Kind  Kind   `json:"kind"`
	}
	// RunOutput is how it ended. Large results are in the event log and the artifact store.
	RunOutput struct {
		Outcome    Outcome         `json:"outcome"`
		Step       int             `json:"step"`
		TotalSteps int             `json:"total_steps"`
		Checkpoint string          `json:"checkpoint,omitempty"`
		Metrics    json.RawMessage `json:"metrics,omitempty"` // small: no samples
	}
	// CheckpointRef is the detail of the CanceledError that a paused training activity returns.
	CheckpointRef struct {
		Name string `json:"name"`
		Step int    `json:"step"`
	}
	// DatasetInput is for ProfileDataset and ProcessDataset.
	DatasetInput struct {
		DatasetID string          `json:"dataset_id"`
		Options   *ProcessOptions `json:"options,omitempty"`
	}
	DatasetOutput struct {
		Format    string `json:"format"`
		Rows      int64  `json:"rows"`
		TrainRows int64  `json:"train_rows"`
		EvalRows  int64  `json:"eval_rows"`
	}
	// RecommendInput asks for a configuration; fixed choices are kept.
	RecommendInput struct {
		DatasetID string    `json:"dataset_id"`
		ModelID   string    `json:"model_id,omitempty"`
		Goal      string    `json:"goal,omitempty"`
		Config    *Training `json:"config,omitempty"`
	}
	// TokensInput names a question that the gateway holds for a worker.
	TokensInput struct {
		QuestionID string `json:"question_id"`
		Queue      string `json:"queue"` // the slot queue whose worker is asked
	}
	// RegisterModelInput makes a model of what a finished (or stopped-and-kept) job left with the gateway.
	RegisterModelInput struct {
		JobID string `json:"job_id"`
		// Checkpoint names the checkpoint to register from when the job did not finish.
		Checkpoint string `json:"checkpoint,omitempty"`
		// Keep says that the job was stopped: register from Checkpoint, or from the newest committed one without it.
		// CodeNotFound when there is none.
		Keep bool `json:"keep,omitempty"`
	}
	RegisterModelOutput struct {
		ModelID string `json:"model_id"`
		Step    int    `json:"step,omitempty"` // of the checkpoint that was kept
	}
	// ExportOutput is what AssembleExport found, and the payload of "export.completed".
	ExportOutput struct {
		Files int   `json:"files"`
		Bytes int64 `json:"bytes"`
	}
	// AwaitStatusInput waits until a resource is final or serving; a failed or cancelled one is an error.
	AwaitStatusInput struct {
		Kind Kind   `json:"kind"`
		ID   string `json:"id"`
	}
	AwaitStatusOutput struct {
		Status Status `json:"status"`
	}
	// StartStageInput creates the resource of a pipeline's stage; its id is derived from the pipeline's, so a retry
	// finds what the first try made. Attempt tells a user's retry of a failed stage from the first.
	StartStageInput struct {
		PipelineID string    `json:"pipeline_id"`
		Stage      string    `json:"stage"`
		Attempt    int       `json:"attempt"`
		DatasetID  string    `json:"dataset_id,omitempty"`
		ModelID    string    `json:"model_id,omitempty"` // base for train, tuned for evaluate and deploy
		JobID      string    `json:"job_id,omitempty"`
		Config     *Training `json:"config,omitempty"`
	}
	StartStageOutput struct {
		ID    string `json:"id"`
		Queue string `json:"queue"`
	}
)

// Recommendation is a proposed configuration, each choice with its reason and source.
type Recommendation struct {
	ModelID string     `json:"model_id"`
	Config  Training   `json:"config"`
	Reasons []Reason   `json:"reasons"`
	Memory  Estimate   `json:"memory"`
	Seconds [2]float64 `json:"seconds"` // predicted training time, low and high
	Steps   int        `json:"steps"`
}

// Reason explains one choice.
type Reason struct {
	Field  string `json:"field"`
	Value  string `json:"value"`
	Reason string `json:"reason"`
	Source string `json:"source"`
}

// Estimate is a predicted peak of memory in bytes, with its range and verdict.
type Estimate struct {
	Bytes   int64  `json:"bytes"`
	Low     int64  `json:"low"`
	High    int64  `json:"high"`
	Have    int64  `json:"have"`
	Verdict string `json:"verdict"` // green | amber | red
}

// Results of workflows, for a parent and for Temporal's UI.
type (
	TrainResult struct {
		ModelID string `json:"model_id"`
		Status  Status `json:"status"`
		Step    int    `json:"step"`
	}
	EvaluateResult struct {
		Verdict   Verdict    `json:"verdict"`
		LossDelta float64    `json:"loss_delta"`
		CI        [2]float64 `json:"loss_delta_ci"`
	}
	// PipelineResult is also the payload of "pipeline.completed".
	PipelineResult struct {
		JobID        string          `json:"job_id,omitempty"`
		ModelID      string          `json:"model_id,omitempty"`
		EvaluationID string          `json:"evaluation_id,omitempty"`
		Evaluation   *EvaluateResult `json:"evaluation,omitempty"`
		DeploymentID string          `json:"deployment_id,omitempty"`
	}
)
