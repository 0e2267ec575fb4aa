package contract

import (
	"encoding/json"
	"time"
)

// Event is one entry of the log. Seq is gapless within a stream and starts at 1; (Stream, Source, SourceSeq) is
// unique, so that a delivery repeated changes nothing: design §5.
type Event struct {
	Stream    string          `json:"stream"`
	Seq       int64           `json:"seq"`
	Type      string          `json:"type"`
	Payload   json.RawMessage `json:"payload"`
	Source    string          `json:"source,omitempty"`
	SourceSeq int64           `json:"source_seq,omitempty"`
	At        time.Time       `json:"at"`
}

// NewEvent is an event that is to be appended. Source is "runner/<epoch>" for a runner's lines, "wf/<run id>" for a
// workflow's decisions, "cmd/<id>" for a user's command.
type NewEvent struct {
	Type      string          `json:"type"`
	Payload   json.RawMessage `json:"payload"`
	Source    string          `json:"source"`
	SourceSeq int64           `json:"source_seq"`
	At        time.Time       `json:"at"`
}

// Event types common to every kind that a workflow drives. The full type is "<kind>.<suffix>", e.g. "job.queued".
const (
	EventCreated         = "created"          // payload <Kind>Created
	EventQueued          = "queued"           // waits for a slot; payload Queued
	EventStarted         = "started"          // an epoch was claimed; payload Claimed
	EventRewound         = "rewound"          // payload Rewound: later steps will be told again
	EventPauseRequested  = "pause_requested"  //
	EventPaused          = "paused"           // payload Paused
	EventResumeRequested = "resume_requested" //
	EventCancelRequested = "cancel_requested" // payload CancelRequest
	EventCancelled       = "cancelled"        //
	EventFailed          = "failed"           // payload Error
	EventCompleted       = "completed"        // payload depends on the kind
	EventStopped         = "stopped"          // job: stop-and-keep, payload JobCompleted; deployment: taken down; pipeline: its user cancelled a stage's run, payload Error
	EventStage           = "stage"            // pipeline: payload StageChanged
	EventProfiled        = "profiled"         // dataset: payload is the profile
	EventServing         = "serving"          // deployment: payload Serving
	EventRestarting      = "restarting"       // deployment: its engine died, and is started again
	EventProgress        = "progress"         // payload Progress
	EventRetryRequested  = "retry_requested"  // pipeline
	EventConfirmed       = "confirmed"        // pipeline: payload ConfirmRequest
	EventProposed        = "proposed"         // pipeline: payload Recommendation, waits for confirm
	EventStopRequested   = "stop_requested"   // deployment
	EventEdited          = "edited"           // dataset, job: payload Edited
)

// EventType joins a kind and a suffix: EventType(KindJob, EventQueued) is "job.queued".
func EventType(kind Kind, suffix string) string { return string(kind) + "." + suffix }

// Types of a runner's lines, stored as "runner.<type>" (docs/runner-protocol.md).
const (
	RunnerStarted     = "runner.started"
	RunnerPreflight   = "runner.preflight"
	RunnerMetrics     = "runner.metrics"
	RunnerEvalMetrics = "runner.eval_metrics"
	RunnerCheckpoint  = "runner.checkpoint"
	RunnerResumed     = "runner.resumed"
	RunnerProgress    = "runner.progress"
	RunnerLog         = "runner.log"
	RunnerFinished    = "runner.finished"
)

// PhaseHeldOutLoss is the phase of a training's Progress while the loss on its held-out rows is measured.
const PhaseHeldOutLoss = "held_out_loss"

// Status of a resource, as its projection shows it. docs/state-machine.md draws the transitions.
type Status string

// Statuses. Not every kind has each: a dataset is queued, running ("being read"), ready or failed.
const (
	StatusQueued     Status = "queued"
	StatusRunning    Status = "running"
	StatusPausing    Status = "pausing"
	StatusResuming   Status = "resuming" // pausing, and to go on once that is done
	StatusPaused     Status = "paused"
	StatusCancelling Status = "cancelling"
	StatusCompleted  Status = "completed" // dataset: "ready", deployment: "serving"
	StatusStopped    Status = "stopped"
	StatusFailed     Status = "failed"
	StatusCancelled  Status = "cancelled"
	StatusReady      Status = "ready"
	StatusServing    Status = "serving"
	StatusRestarting Status = "restarting" // shown of a deployment that serves while its engine does not answer; never kept
	StatusStopping   Status = "stopping"
	StatusAwaiting   Status = "awaiting_confirmation"
)

// Final reports whether nothing more happens without a new command.
func (s Status) Final() bool {
	switch s {
	case StatusCompleted, StatusStopped, StatusFailed, StatusCancelled, StatusReady:
		return true
	default:
		return false
	}
}

// Edited is what somebody changes of what is said of a resource; nil stays as it is.
type Edited struct {
	Name  *string   `json:"name,omitempty"`
	Notes *string   `json:"notes,omitempty"`
	Tags  *[]string `json:"tags,omitempty"`
	// Priority is of a job that has not ended; it counts whenever the job waits in line.
	Priority *Priority `json:"priority,omitempty"`
}

// Payloads of "<kind>.created": what the resource was asked to be.
type (
	// DatasetCreated names the uploaded file, which is already in the artifact store.
	DatasetCreated struct {
		ProjectID string `json:"project_id"`
		Name      string `json:"name"`
		FileName  string `json:"file_name"`
		ObjectID  string `json:"object_id"`
		SHA256    string `json:"sha256"`
		Size      int64  `json:"size"`
		// Options are those that it is to be processed with.
		Options *ProcessOptions `json:"options,omitempty"`
	}
	// JobCreated is a training job. ModelID names the base in the catalog or an earlier tuned model.
	JobCreated struct {
		ProjectID  string   `json:"project_id"`
		Name       string   `json:"name"`
		DatasetID  string   `json:"dataset_id"`
		ModelID    string   `json:"model_id"`
		Model      ModelRef `json:"model"`
		Queue      string   `json:"queue"`
		Config     Training `json:"config"`
		PipelineID string   `json:"pipeline_id,omitempty"`
		Priority   Priority `json:"priority,omitempty"`
		// Seconds is how long the recommender expects it to take, low and high; zeros: not known.
		Seconds [2]float64 `json:"predicted_seconds,omitzero"`
	}
	// EvaluationCreated compares a tuned model with its base on a dataset's held-out rows.
	EvaluationCreated struct {
		ProjectID  string     `json:"project_id"`
		JobID      string     `json:"training_job_id,omitempty"`
		ModelID    string     `json:"model_id"`
		DatasetID  string     `json:"dataset_id"`
		Queue      string     `json:"queue"`
		Config     Evaluation `json:"config"`
		PipelineID string     `json:"pipeline_id,omitempty"`
		Priority   Priority   `json:"priority,omitempty"`
	}
	// DeploymentCreated asks for a model to be served.
	DeploymentCreated struct {
		ProjectID  string `json:"project_id"`
		ModelID    string `json:"model_id"`
		Queue      string `json:"queue"` // a ServeQueue
		PipelineID string `json:"pipeline_id,omitempty"`
	}
	// ExportCreated asks for a downloadable archive of a model.
	ExportCreated struct {
		ProjectID string `json:"project_id"`
		ModelID   string `json:"model_id"`
		Format    string `json:"format"`
		Queue     string `json:"queue"`
	}
	// PipelineCreated asks for the whole story.
	PipelineCreated struct {
		ProjectID string          `json:"project_id"`
		Name      string          `json:"name"`
		Request   PipelineRequest `json:"request"`
	}
)

// Further payloads.
type (
	Queued struct {
		Queue    string `json:"queue"`
		Priority bool   `json:"priority,omitempty"` // a resumed job goes first
	}
	// DatasetQueued is the payload of "dataset.queued": the dataset is processed anew.
	DatasetQueued struct {
		Queued
		Options *ProcessOptions `json:"options,omitempty"`
	}
	Claimed struct {
		Epoch      int64  `json:"epoch"`
		Worker     string `json:"worker"`
		Checkpoint string `json:"checkpoint,omitempty"`
		Step       int    `json:"step"`
	}
	Rewound struct {
		ToStep int `json:"to_step"`
	}
	Paused struct {
		Step       int    `json:"step"`
		Checkpoint string `json:"checkpoint,omitempty"`
		// Error is set when the job paused by itself (a full disk). GoesOn says that it resumes by itself once the cause is
		// mended.
		Error  *Error `json:"error,omitempty"`
		GoesOn bool   `json:"goes_on,omitempty"`
	}
	JobCompleted struct {
		ModelID    string          `json:"model_id"`
		Step       int             `json:"step"`
		TotalSteps int             `json:"total_steps"`
		Metrics    json.RawMessage `json:"metrics,omitempty"`
	}
	// Serving says where an engine answers. URL and Token never leave the server.
	Serving struct {
		Worker string `json:"worker"`
		URL    string `json:"url"`
		Token  string `json:"token"`
		Name   string `json:"name"` // the engine's name of the adapter
		Device string `json:"device"`
	}
	// Progress is how far a long piece of work is. The seconds left are 0 while nobody knows; where a range is known, they
	// lie between low and high.
	Progress struct {
		Phase   string  `json:"phase"`
		Done    int64   `json:"done"`
		Total   int64   `json:"total"`
		Note    string  `json:"note,omitempty"`
		ETA     float64 `json:"eta_seconds,omitempty"`
		ETALow  float64 `json:"eta_low_seconds,omitempty"`
		ETAHigh float64 `json:"eta_high_seconds,omitempty"`
	}
	StageChanged struct {
		Stage  string `json:"stage"` // ingest, analyze, recommend, train, evaluate, deploy
		Status Status `json:"status"`
		ID     string `json:"id,omitempty"` // the resource that the stage made
		Error  *Error `json:"error,omitempty"`
		// Seconds is how long the stage took, waiting included; set once it has ended.
		Seconds float64 `json:"seconds,omitempty"`
	}
	// CheckpointLost names a damaged checkpoint, and the newest one that is left.
	CheckpointLost struct {
		Name     string `json:"name"`
		Step     int    `json:"step"`
		Left     string `json:"left,omitempty"`
		LeftStep int    `json:"left_step,omitempty"`
	}
	CheckpointCommitted struct {
		Name  string `json:"name"`
		Step  int    `json:"step"`
		Bytes int64  `json:"bytes"`
		Best  bool   `json:"best,omitempty"`
		Final bool   `json:"final,omitempty"`
	}
)

// EventAdjusted says that a failure has changed a job's configuration; payload Adjustment.
const EventAdjusted = "adjusted"

// EventCheckpointLost says that a committed checkpoint cannot be read any more; payload CheckpointLost.
const EventCheckpointLost = "checkpoint_lost"

// EventCheckpointCommitted is appended once a checkpoint's files, events and manifest are all with the gateway.
const EventCheckpointCommitted = "checkpoint_committed"
