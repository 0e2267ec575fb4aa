package store

import (
	"encoding/json"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// Lifecycle is what every projection has: where its resource stands, since when, and up to which event of its stream it
// was folded (Seq). Times not reached yet are zero.
type Lifecycle struct {
	Status      contract.Status    `bun:"status" json:"status"`
	Error       *contract.Error    `bun:"-" json:"error,omitempty"`
	Progress    *contract.Progress `bun:"-" json:"progress,omitempty"`
	Seq         int64              `bun:"seq" json:"seq"`
	CreatedAt   time.Time          `bun:"created_at" json:"created_at"`
	CompletedAt time.Time          `bun:"completed_at,nullzero" json:"completed_at,omitzero"`
	UpdatedAt   time.Time          `bun:"updated_at" json:"updated_at"`

	Sealed []byte `bun:"sealed,nullzero" json:"-"` // stands in the database for the fields without a column; see content.go
}

// Slot is what the projections of runs have besides: their place in a queue, and the launch that holds the slot.
type Slot struct {
	Queue    string `bun:"queue" json:"queue"`
	Priority bool   `bun:"priority" json:"priority,omitempty"` // a resumed run goes first
	// Urgency orders the runs of one project that wait.
	Urgency   contract.Priority `bun:"urgency" json:"urgency"`
	Epoch     int64             `bun:"epoch" json:"epoch"` // of the launch, 0: none yet
	Worker    string            `bun:"worker" json:"worker,omitempty"`
	QueuedAt  time.Time         `bun:"queued_at,nullzero" json:"queued_at,omitzero"`
	StartedAt time.Time         `bun:"started_at,nullzero" json:"started_at,omitzero"` // first launch
}

// Dataset is the projection of an ingest.
type Dataset struct {
	bun.BaseModel `bun:"table:datasets" json:"-"`

	ID        string              `bun:"id,pk" json:"id"`
	ProjectID string              `bun:"project_id" json:"project_id"`
	Name      string              `bun:"name" json:"name"`
	FileName  string              `bun:"file_name" json:"file_name"`
	ObjectID  string              `bun:"object_id" json:"-"` // the file as it was uploaded
	SHA256    string              `bun:"sha256" json:"sha256"`
	Size      int64               `bun:"size" json:"size"`
	Format    string              `bun:"format" json:"format,omitempty"`
	Canonical string              `bun:"canonical" json:"canonical,omitempty"` // contract.DatasetRef.Format
	Rows      int64               `bun:"rows" json:"rows"`
	TrainRows int64               `bun:"train_rows" json:"train_rows"`
	EvalRows  int64               `bun:"eval_rows" json:"eval_rows"`
	Columns   []string            `bun:"-" json:"columns,omitempty"`
	Train     *contract.ObjectRef `bun:"train,type:json,nullzero" json:"-"`
	Eval      *contract.ObjectRef `bun:"eval,type:json,nullzero" json:"-"`
	Profile   json.RawMessage     `bun:"-" json:"profile,omitempty"`
	Dropped   map[string]int64    `bun:"dropped,type:json,nullzero" json:"dropped,omitempty"` // rows left out, by reason
	// Options are those that the splits were made with, or are to be made with while there are none. Nil: not known.
	Options *contract.ProcessOptions `bun:"-" json:"options,omitempty"`
	Labels
	Lifecycle
}

// Job is the projection of a training job.
type Job struct {
	bun.BaseModel `bun:"table:training_jobs" json:"-"`

	ID           string            `bun:"id,pk" json:"id"`
	ProjectID    string            `bun:"project_id" json:"project_id"`
	Name         string            `bun:"name" json:"name"`
	DatasetID    string            `bun:"dataset_id" json:"dataset_id"`
	ModelID      string            `bun:"model_id" json:"model_id"` // what it starts from
	Model        contract.ModelRef `bun:"-" json:"-"`
	TunedModelID string            `bun:"tuned_model_id" json:"tuned_model_id,omitempty"` // what it made
	PipelineID   string            `bun:"pipeline_id" json:"pipeline_id,omitempty"`
	Config       contract.Training `bun:"config,type:json" json:"config"`
	Keep         bool              `bun:"keep" json:"keep,omitempty"` // a cancel that keeps the model was asked for
	// GoesOn says of a paused job that it resumes by itself, once what Error names has passed.
	GoesOn bool `bun:"goes_on" json:"goes_on,omitempty"`
	// The range of seconds that it was expected to take when it was made; 0: not known.
	PredictedLowSeconds  float64 `bun:"predicted_low_seconds" json:"predicted_low_seconds,omitempty"`
	PredictedHighSeconds float64 `bun:"predicted_high_seconds" json:"predicted_high_seconds,omitempty"`
	Labels
	Slot
	Lifecycle

	Step            int             `bun:"step" json:"step"`
	TotalSteps      int             `bun:"total_steps" json:"total_steps"` // 0: not known yet
	DataEpoch       float64         `bun:"data_epoch" json:"data_epoch"`   // passes over the data so far
	Loss            *float64        `bun:"loss" json:"loss,omitempty"`
	LearningRate    *float64        `bun:"learning_rate" json:"learning_rate,omitempty"`
	GradNorm        *float64        `bun:"grad_norm" json:"grad_norm,omitempty"`
	TokensPerSecond *float64        `bun:"tokens_per_second" json:"tokens_per_second,omitempty"`
	ETASeconds      *float64        `bun:"eta_seconds" json:"eta_seconds,omitempty"` // of work: it stands still while the job is paused
	ETALowSeconds   *float64        `bun:"eta_low_seconds" json:"eta_low_seconds,omitempty"`
	ETAHighSeconds  *float64        `bun:"eta_high_seconds" json:"eta_high_seconds,omitempty"`
	MemoryBytes     *int64          `bun:"memory_bytes" json:"memory_bytes,omitempty"` // peak
	EvalLoss        *float64        `bun:"eval_loss" json:"eval_loss,omitempty"`
	BestEvalLoss    *float64        `bun:"best_eval_loss" json:"best_eval_loss,omitempty"`
	Checkpoint      string          `bun:"checkpoint" json:"checkpoint,omitempty"` // newest committed
	CheckpointStep  int             `bun:"checkpoint_step" json:"checkpoint_step,omitempty"`
	Device          string          `bun:"device" json:"device,omitempty"`
	Precision       string          `bun:"precision" json:"precision,omitempty"`
	LossPath        string          `bun:"loss_path" json:"loss_path,omitempty"`
	Metrics         json.RawMessage `bun:"-" json:"metrics,omitempty"` // of the finished run
	// Adjusted is what failures have changed of Config; later launches keep it.
	Adjusted *contract.Adjustment `bun:"adjusted,type:json,nullzero" json:"adjusted,omitempty"`
}

// MetricPoint is one step of a job's curve. Split is "train" or "eval"; values that were not told are nil.
type MetricPoint struct {
	bun.BaseModel `bun:"table:metric_points" json:"-"`

	JobID           string   `bun:"job_id,pk" json:"-"`
	Split           string   `bun:"split,pk" json:"split"`
	Step            int      `bun:"step,pk" json:"step"`
	DataEpoch       float64  `bun:"data_epoch" json:"data_epoch"`
	Loss            *float64 `bun:"loss" json:"loss"`
	LearningRate    *float64 `bun:"learning_rate" json:"learning_rate,omitempty"`
	GradNorm        *float64 `bun:"grad_norm" json:"grad_norm,omitempty"`
	TokensPerSecond *float64 `bun:"tokens_per_second" json:"tokens_per_second,omitempty"`
}

// The splits of metric points.
const (
	SplitTrain = "train"
	SplitEval  = "eval"
)

// Evaluation is the projection of an evaluation.
type Evaluation struct {
	bun.BaseModel `bun:"table:evaluations" json:"-"`

	ID            string                     `bun:"id,pk" json:"id"`
	ProjectID     string                     `bun:"project_id" json:"project_id"`
	TrainingJobID string                     `bun:"training_job_id" json:"training_job_id,omitempty"`
	ModelID       string                     `bun:"model_id" json:"model_id"`
	DatasetID     string                     `bun:"dataset_id" json:"dataset_id"`
	PipelineID    string                     `bun:"pipeline_id" json:"pipeline_id,omitempty"`
	Config        contract.Evaluation        `bun:"config,type:json" json:"config"`
	Metrics       *contract.EvaluationResult `bun:"-" json:"metrics,omitempty"`
	Slot
	Lifecycle
}

// Deployment is the projection of a served model. Serving is set while an engine answers; its URL and token are for the
// server alone.
type Deployment struct {
	bun.BaseModel `bun:"table:deployments" json:"-"`

	ID         string            `bun:"id,pk" json:"id"`
	ProjectID  string            `bun:"project_id" json:"project_id"`
	ModelID    string            `bun:"model_id" json:"model_id"`
	PipelineID string            `bun:"pipeline_id" json:"pipeline_id,omitempty"`
	Queue      string            `bun:"queue" json:"queue"`
	Serving    *contract.Serving `bun:"-" json:"-"`
	StartedAt  time.Time         `bun:"started_at,nullzero" json:"started_at,omitzero"` // since when it has been serving
	Lifecycle
}

// Export is the projection of an export. What it made is its run's artifacts: RunArtifacts.
type Export struct {
	bun.BaseModel `bun:"table:exports" json:"-"`

	ID        string `bun:"id,pk" json:"id"`
	ProjectID string `bun:"project_id" json:"project_id"`
	ModelID   string `bun:"model_id" json:"model_id"`
	Format    string `bun:"format" json:"format"`
	Files     int    `bun:"files" json:"files,omitempty"`
	Bytes     int64  `bun:"bytes" json:"bytes,omitempty"`
	Slot
	Lifecycle
}

// Pipeline is the projection of a pipeline: its stages in the order in which they first moved.
type Pipeline struct {
	bun.BaseModel `bun:"table:pipelines" json:"-"`

	ID             string                   `bun:"id,pk" json:"id"`
	ProjectID      string                   `bun:"project_id" json:"project_id"`
	Name           string                   `bun:"name" json:"name"`
	Request        contract.PipelineRequest `bun:"-" json:"request"`
	Stages         []PipelineStage          `bun:"-" json:"stages"`
	Recommendation *contract.Recommendation `bun:"-" json:"recommendation,omitempty"`
	Confirmed      *contract.ConfirmRequest `bun:"-" json:"confirmed,omitempty"`
	StartedAt      time.Time                `bun:"started_at,nullzero" json:"started_at,omitzero"`
	Lifecycle
}

// PipelineStage is one stage: the resource that it made, and the seconds from its (latest) start to its end.
type PipelineStage struct {
	Stage       string          `json:"stage"`
	Status      contract.Status `json:"status"`
	ID          string          `json:"id,omitempty"`
	Error       *contract.Error `json:"error,omitempty"`
	Attempts    int             `json:"attempts"`
	Seconds     float64         `json:"seconds,omitempty"`
	StartedAt   time.Time       `json:"started_at,omitzero"`
	CompletedAt time.Time       `json:"completed_at,omitzero"`
}
