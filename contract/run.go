package contract

import (
	"cmp"
	"encoding/json"
	"time"
)

// Verb is what a Python runner is asked to do: design §6.
type Verb string

// The verbs that read a RunSpec. `probe`, `inspect` and `serve` take flags instead.
const (
	VerbTrain    Verb = "train"
	VerbEvaluate Verb = "evaluate"
	VerbExport   Verb = "export"
)

// RunSpec is the runner's input, written as spec.json in the run's folder. Paths are absolute and local; the gateway
// sends it with digests, and the worker fills the paths in once it has fetched what they name.
type RunSpec struct {
	Version int    `json:"version"` // 1
	Verb    Verb   `json:"verb"`
	RunID   string `json:"run_id"` // the job's, evaluation's or export's id
	Epoch   int64  `json:"epoch"`
	// ModelsDir caches resolved base models (imported GGUFs, Hub snapshots).
	ModelsDir string      `json:"models_dir"`
	Model     ModelRef    `json:"model"`
	Adapter   *Input      `json:"adapter,omitempty"` // evaluate, export: the tuned weights beside the base
	Dataset   *DatasetRef `json:"dataset,omitempty"`
	Training  *Training   `json:"training,omitempty"`
	Evaluate  *Evaluation `json:"evaluate,omitempty"`
	Export    *ExportSpec `json:"export,omitempty"`
	// CheckpointsDir holds step-NNNNNNNN folders; OutputDir receives the artifacts named in the result.
	CheckpointsDir string `json:"checkpoints_dir,omitempty"`
	OutputDir      string `json:"output_dir"`
	// ResumeFrom is the folder of a complete checkpoint, empty for a fresh start.
	ResumeFrom string `json:"resume_from,omitempty"`
	// LeaseFile is renewed (mtime) by the worker; LeaseSeconds without renewal and the runner saves and exits.
	LeaseFile    string `json:"lease_file"`
	LeaseSeconds int    `json:"lease_seconds"` // 600
	Threads      int    `json:"threads"`       // 0: all cores
	// PredictedMemory is the most, in bytes, that a training was predicted to take on this machine. 0: nothing is known.
	PredictedMemory int64  `json:"predicted_memory,omitempty"`
	Device          string `json:"device"` // "auto", "cpu", "cuda"
}

// ModelRef names a base model. Source is one of
// "bundled:smollm2-135m-instruct", "tiny:llama", "hub:<owner>/<name>", "path:<absolute folder>", "upload:<model id>".
type ModelRef struct {
	Source   string `json:"source"`
	Revision string `json:"revision,omitempty"` // hub only: pinned commit
	Token    string `json:"token,omitempty"`    // hub only: for gated models
	// Files of an upload, which the worker fetches by digest; Path is the folder that it has put them into.
	Files []FileInfo `json:"files,omitempty"`
	Path  string     `json:"path,omitempty"`
}

// Input is content that the worker fetches by digest before the launch. Path is a file, or a folder when Files is set.
type Input struct {
	Path   string     `json:"path,omitempty"`
	SHA256 string     `json:"sha256,omitempty"`
	Size   int64      `json:"size,omitempty"`
	Files  []FileInfo `json:"files,omitempty"`
	// Method says how the folder's weights apply to the base: "lora" (a PEFT adapter) or "full" (a whole model).
	Method string `json:"method,omitempty"`
}

// DatasetRef is a processed dataset: canonical JSONL, one split a file. A line of format "chat" is
// {"messages":[{"role","content"}…]}, of "prompt_completion" {"prompt","completion"}, of "text" {"text"}.
type DatasetRef struct {
	ID     string `json:"id"`
	Format string `json:"format"`
	Train  Input  `json:"train"`
	Eval   Input  `json:"eval"`
}

// Training is the resolved configuration of a fine-tune: what the recommender proposes, a user edits and the runner obeys.
type Training struct {
	Method                    string     `json:"method"` // lora | qlora | full
	Epochs                    float64    `json:"epochs"`
	MaxSteps                  int        `json:"max_steps"` // 0: by epochs
	LearningRate              float64    `json:"learning_rate"`
	Scheduler                 string     `json:"scheduler"` // cosine | linear | constant
	WarmupRatio               float64    `json:"warmup_ratio"`
	WeightDecay               float64    `json:"weight_decay"`
	MaxGradNorm               float64    `json:"max_grad_norm"`
	BatchSize                 int        `json:"batch_size"` // rows a device and forward (micro-batch)
	GradientAccumulationSteps int        `json:"gradient_accumulation_steps"`
	MaxLength                 int        `json:"max_length"` // tokens
	CompletionOnly            bool       `json:"completion_only"`
	GradientCheckpointing     bool       `json:"gradient_checkpointing"`
	Precision                 string     `json:"precision"` // auto | fp32 | bf16 | fp16
	Seed                      int64      `json:"seed"`
	LoRA                      LoRA       `json:"lora"`
	Checkpoint                Checkpoint `json:"checkpoint"`
	EvalEverySteps            int        `json:"eval_every_steps"` // 0: at the end only
	// StockLoss forces TRL's own loss where the labelled-positions loss would be used.
	StockLoss bool `json:"stock_loss,omitempty"`
	// LearningRateScale multiplies LearningRate after a rollback from a non-finite loss (0.5, then 0.25); 0 means 1. A
	// resume may change it, which LearningRate itself may not: the fingerprint would refuse the checkpoint.
	LearningRateScale float64 `json:"learning_rate_scale,omitempty"`
}

// Rate is the highest learning rate that the schedule comes to, after all rollbacks.
func (t Training) Rate() float64 { return t.LearningRate * cmp.Or(t.LearningRateScale, 1) }

// Adjustment is what a failure has changed of a training's configuration, for good: every later launch keeps it. It says
// what holds, not by how much it changed, so that it may be told twice. A zero field leaves what is configured.
type Adjustment struct {
	Code Code `json:"code"` // of the failure: out_of_memory or non_finite_loss
	Step int  `json:"step"` // where it failed; 0: before the first step
	// BatchSize times GradientAccumulationSteps, set together, is the configured effective batch.
	BatchSize                 int     `json:"batch_size,omitempty"`
	GradientAccumulationSteps int     `json:"gradient_accumulation_steps,omitempty"`
	LearningRateScale         float64 `json:"learning_rate_scale,omitempty"`
}

// Adjust takes over what an adjustment sets; nil changes nothing.
func (t *Training) Adjust(a *Adjustment) {
	if a == nil {
		return
	}
	if a.BatchSize > 0 {
		t.BatchSize, t.GradientAccumulationSteps = a.BatchSize, a.GradientAccumulationSteps
	}
	if a.LearningRateScale > 0 {
		t.LearningRateScale = a.LearningRateScale
	}
}

// LoRA configures the adapter (PEFT's LoraConfig).
type LoRA struct {
	Rank          int     `json:"r"`
	Alpha         int     `json:"alpha"`
	Dropout       float64 `json:"dropout"`
	TargetModules string  `json:"target_modules"` // "all-linear" or a comma-separated list
	RSLoRA        bool    `json:"rslora,omitempty"`
}

// Checkpoint says when to save; whichever comes first.
type Checkpoint struct {
	EverySteps   int `json:"every_steps"`
	EverySeconds int `json:"every_seconds"`
}

// Evaluation configures an evaluation run.
type Evaluation struct {
	MaxRows        int    `json:"max_rows"`        // held-out rows scored, 0: all
	MaxGenerations int    `json:"max_generations"` // rows answered for exact match and ROUGE-L
	MaxNewTokens   int    `json:"max_new_tokens"`
	MaxLength      int    `json:"max_length"`
	BatchSize      int    `json:"batch_size"`
	Seed           int64  `json:"seed"` // of the bootstrap
	Precision      string `json:"precision"`
}

// ExportSpec says what an export run makes.
type ExportSpec struct {
	Format string `json:"format"` // "adapter" | "merged"
	// Card is the model card (README.md) to put beside the weights.
	Card string `json:"card"`
}

// Outcome is how a runner ended.
type Outcome string

// Outcomes. A runner that is gone without a result was killed.
const (
	OutcomeCompleted  Outcome = "completed"
	OutcomePaused     Outcome = "paused"     // SIGTERM: saved after the step
	OutcomeOrphaned   Outcome = "orphaned"   // nobody renewed the lease: saved and left
	OutcomeSuperseded Outcome = "superseded" // a newer epoch owns the run: nothing saved
	OutcomeFailed     Outcome = "failed"
)

// RunResult is the runner's last act, result.json.
type RunResult struct {
	Version    int     `json:"version"`
	RunID      string  `json:"run_id"`
	Epoch      int64   `json:"epoch"`
	Outcome    Outcome `json:"outcome"`
	Step       int     `json:"step"`
	TotalSteps int     `json:"total_steps"`
	// Checkpoint is the name of the checkpoint folder saved last ("step-00000020"), if any.
	Checkpoint string `json:"checkpoint,omitempty"`
	// Artifacts lie in folders under OutputDir, each with its manifest.
	Artifacts []Manifest      `json:"artifacts,omitempty"`
	Metrics   json.RawMessage `json:"metrics,omitempty"` // TrainMetrics or EvaluationResult
	Error     *Error          `json:"error,omitempty"`
}

// Manifest lists what a folder holds; for a checkpoint its rename into place (manifest.json) is what makes it complete.
type Manifest struct {
	Kind        string          `json:"kind"` // checkpoint | adapter | model | samples
	Name        string          `json:"name"` // the folder's name
	Step        int             `json:"step"`
	Files       []FileInfo      `json:"files"`
	Fingerprint json.RawMessage `json:"fingerprint,omitempty"` // {"hard":{…},"soft":{…}}
	// Best marks the checkpoint with the lowest evaluation loss so far; Final the one training ended on.
	Best  bool `json:"best,omitempty"`
	Final bool `json:"final,omitempty"`
}

// FileInfo is one file of a folder, by its path relative to it (slashes, no "..").
type FileInfo struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// Lease is lease.json: whose the live runner in a run's folder is. The file's mtime is the last renewal.
type Lease struct {
	RunID    string    `json:"run_id"`
	Epoch    int64     `json:"epoch"`
	PID      int       `json:"pid"`
	PIDStart string    `json:"pid_start"` // the process's start time as the system tells it, against a reused pid
	Worker   string    `json:"worker"`    // host/instance/boot of the last renewer
	At       time.Time `json:"at"`
}

// EvaluationResult is what an evaluation measures. Losses are mean negative log-likelihoods per labelled token (nats),
// over identical tokens of base and tuned; the interval is a paired bootstrap's 95 % over rows.
type EvaluationResult struct {
	Rows            int                `json:"rows"`
	Tokens          int                `json:"tokens"`
	LossBase        float64            `json:"loss_base"`
	LossTuned       float64            `json:"loss_tuned"`
	LossDelta       float64            `json:"loss_delta"`
	LossDeltaCI     [2]float64         `json:"loss_delta_ci"`
	PerplexityBase  float64            `json:"perplexity_base"`
	PerplexityTuned float64            `json:"perplexity_tuned"`
	RowsImproved    int                `json:"rows_improved"`
	Generations     int                `json:"generations"`
	ExactMatchBase  float64            `json:"exact_match_base"`
	ExactMatchTuned float64            `json:"exact_match_tuned"`
	RougeLBase      float64            `json:"rouge_l_base"`
	RougeLTuned     float64            `json:"rouge_l_tuned"`
	Verdict         Verdict            `json:"verdict"`
	VerdictText     string             `json:"verdict_text"`
	Precision       string             `json:"precision"`
	Seconds         float64            `json:"seconds"`
	Samples         []EvaluationSample `json:"samples,omitempty"`
}

// EvaluationSample is one held-out row, answered by both.
type EvaluationSample struct {
	Row         int     `json:"row"`
	Prompt      string  `json:"prompt"`
	Reference   string  `json:"reference"`
	AnswerBase  string  `json:"answer_base"`
	AnswerTuned string  `json:"answer_tuned"`
	LossBase    float64 `json:"loss_base"`
	LossTuned   float64 `json:"loss_tuned"`
}

// Verdict is an evaluation's conclusion; VerdictTooFew is given under 100 rows, whatever the numbers.
type Verdict string

// Verdicts.
const (
	VerdictBetter       Verdict = "better"
	VerdictWorse        Verdict = "worse"
	VerdictInconclusive Verdict = "inconclusive"
	VerdictTooFew       Verdict = "too_few_rows"
)
