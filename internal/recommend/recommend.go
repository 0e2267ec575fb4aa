// Package recommend chooses a configuration by rules, each choice with its reason and source, and predicts memory and
// time. It is deterministic: the same data, model and machine get the same answer. Language models may explain what it
// says; they do not choose.
package recommend

import (
	"fmt"
	"math"
	"strconv"

	"github.com/dustin/go-humanize"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/dataset"
	"github.com/vibeflow/vibeflow/internal/hardware"
)

// Input is what a recommendation follows from.
type Input struct {
	Profile *dataset.Profile
	// TrainRows are the rows to train on, once the dataset is processed; 0: estimated from the profile.
	TrainRows int64
	// EvalRows are the rows held out, whose loss is measured on the way and at the end. They are known, and estimated, together
	// with TrainRows.
	EvalRows int64
	Model    catalog.Entry
	// Start is what the tuned model to go on from was trained with; nil for a base. Its adapter's shape is kept.
	Start *contract.Training
	// Hardware of the queue that will train; zero if no worker has been seen, which is planned for as a small CPU.
	Hardware hardware.Hardware
	// Fixed are choices of the user, which are kept: see Merge.
	Fixed *contract.Training
}

// Sources of the rules.
const (
	sourceMeasured = "VibeFlow's measurements on SmolLM2-135M (docs/recommender.md)"
	sourceSample   = "VibeFlow's measurement on its sample set (docs/recommender.md)"
	sourceRegret   = "LoRA Without Regret (Thinking Machines, 2025)"
	sourceUnsloth  = "Unsloth's and TRL's defaults"
	sourceOpenAI   = "OpenAI fine-tuning cookbook (clamp of passes)"
	sourceEstimate = "VibeFlow's memory estimate"
	sourceStart    = "the model that training goes on from"
	sourceData     = "this dataset's profile"
	sourceUser     = "your choice"
	sourceRule     = "VibeFlow's rule of thumb"
)

// Recommend proposes a configuration. It refuses data that cannot be trained on (CodeUnsupported) and fixed choices that
// cannot run (CodeInvalidConfig with the field). A proposal that does not fit the machine comes with a red verdict and the
// reason, for estimates can be wrong and users may know better.
func Recommend(in Input) (contract.Recommendation, error) {
	if in.Profile == nil {
		return contract.Recommendation{}, contract.Errorf(contract.CodeConflict, "the dataset has not been read yet").On("dataset_id").
			Mend("wait until it is ready")
	}
	if err := trainable(in.Profile); err != nil {
		return contract.Recommendation{}, err
	}
	p := newPlan(in)
	p.chooseMethod()
	p.chooseAdapter()
	p.chooseBatch()
	p.choosePasses()
	p.chooseRates()
	p.chooseCadence()
	p.keepFixed()
	if err := Validate(p.config, in); err != nil {
		return contract.Recommendation{}, err
	}
	return p.proposal(), nil
}

// Merge keeps the choices of overrides that are set and takes the rest from defaults. A number or a name that is zero is
// not set. An override that is a whole configuration is taken as it is, so that a switch can also be turned off.
func Merge(defaults contract.Training, overrides *contract.Training) contract.Training {
	if overrides == nil {
		return defaults
	}
	o := *overrides
	if whole(o) {
		return o
	}
	d := defaults
	orDefault(&o.Method, d.Method)
	if o.Epochs == 0 && o.MaxSteps == 0 {
		o.Epochs = d.Epochs
		o.MaxSteps = d.MaxSteps
	}
	orDefault(&o.LearningRate, d.LearningRate)
	orDefault(&o.Scheduler, d.Scheduler)
	orDefault(&o.WarmupRatio, d.WarmupRatio)
	orDefault(&o.WeightDecay, d.WeightDecay)
	orDefault(&o.MaxGradNorm, d.MaxGradNorm)
	orDefault(&o.BatchSize, d.BatchSize)
	orDefault(&o.GradientAccumulationSteps, d.GradientAccumulationSteps)
	orDefault(&o.MaxLength, d.MaxLength)
	o.CompletionOnly = o.CompletionOnly || d.CompletionOnly
	o.GradientCheckpointing = o.GradientCheckpointing || d.GradientCheckpointing
	orDefault(&o.Precision, d.Precision)
	orDefault(&o.Seed, d.Seed)
	if o.LoRA.Alpha == 0 && o.LoRA.Rank > 0 {
		o.LoRA.Alpha = o.LoRA.Rank
	}
	orDefault(&o.LoRA.Rank, d.LoRA.Rank)
	orDefault(&o.LoRA.Alpha, d.LoRA.Alpha)
	orDefault(&o.LoRA.Dropout, d.LoRA.Dropout)
	orDefault(&o.LoRA.TargetModules, d.LoRA.TargetModules)
	o.LoRA.RSLoRA = o.LoRA.RSLoRA || d.LoRA.RSLoRA
	orDefault(&o.Checkpoint.EverySteps, d.Checkpoint.EverySteps)
	orDefault(&o.Checkpoint.EverySeconds, d.Checkpoint.EverySeconds)
	orDefault(&o.EvalEverySteps, d.EvalEverySteps)
	return o
}

// whole tells a configuration that was edited from one that names a few choices.
func whole(c contract.Training) bool {
	return c.Method != "" && c.LearningRate != 0 && c.Scheduler != "" && c.Precision != "" &&
		c.BatchSize != 0 && c.GradientAccumulationSteps != 0 && c.MaxLength != 0 && (c.Epochs != 0 || c.MaxSteps != 0)
}

func orDefault[V comparable](value *V, otherwise V) {
	var zero V
	if *value == zero {
		*value = otherwise
	}
}

// plan is a recommendation in the making.
type plan struct {
	in      Input
	rows    int64
	heldOut int64
	small   bool // under 500 million weights
	onCPU   bool
	config  contract.Training
	reasons []contract.Reason
}

const smallModel = 500e6

func newPlan(in Input) *plan {
	p := &plan{in: in, rows: in.TrainRows, heldOut: in.EvalRows, onCPU: len(in.Hardware.GPUs) == 0}
	p.small = in.Model.Parameters > 0 && in.Model.Parameters < smallModel
	if p.rows == 0 {
		p.heldOut = dataset.DefaultEvalRows(in.Profile.Examples)
		p.rows = max(1, in.Profile.Examples-p.heldOut)
	}
	p.config = contract.Training{
		Seed: 42, WeightDecay: 0.01, MaxGradNorm: 1, Scheduler: SchedulerCosine, Precision: PrecisionAuto,
		BatchSize: 1, GradientAccumulationSteps: 1, MaxLength: p.tokenLength(),
		CompletionOnly: in.Profile.Canonical != dataset.CanonicalText,
		LoRA:           contract.LoRA{Dropout: 0, TargetModules: AllLinear},
	}
	p.because("completion_only", strconv.FormatBool(p.config.CompletionOnly), completionReason(p.config.CompletionOnly), sourceData)
	return p
}

func completionReason(only bool) string {
	if only {
		return "The loss counts the answers alone: prompts are given, not learnt."
	}
	return "Plain text has no prompt: every token is learnt."
}

func (p *plan) because(field, value, reason, source string) {
	p.reasons = append(p.reasons, contract.Reason{Field: field, Value: value, Reason: reason, Source: source})
}

// proposal puts everything together, for the configuration with the user's choices in it.
func (p *plan) proposal() contract.Recommendation {
	steps := Steps(p.config, p.rows)
	memory := Memory(p.config, p.in.Model, p.in.Hardware)
	p.explainMemory(memory)
	return contract.Recommendation{
		ModelID: p.in.Model.ID, Config: p.config, Reasons: p.reasons, Memory: memory, Steps: steps,
		Seconds: Seconds(p.config, p.in.Model, p.in.Hardware, p.work(steps)),
	}
}

func (p *plan) explainMemory(memory contract.Estimate) {
	switch {
	case !p.in.Model.Dims.Known():
		p.because("memory", "unknown", "The model's size is known once it is fetched.", sourceEstimate)
	case memory.Have == 0:
		p.because("memory", humanize.IBytes(uint64(memory.Bytes)), "No worker has told its memory yet.", sourceEstimate)
	case memory.Verdict == Red:
		p.because("memory", humanize.IBytes(uint64(memory.Bytes)), fmt.Sprintf(
			"This needs about %s and the machine has %s: take a smaller model, or shorter rows.", humanize.IBytes(uint64(memory.Bytes)), humanize.IBytes(uint64(memory.Have))), sourceEstimate)
	default:
		p.because("memory", humanize.IBytes(uint64(memory.Bytes)), fmt.Sprintf("The machine has %s.", humanize.IBytes(uint64(memory.Have))), sourceEstimate)
	}
}

// Steps is how many optimizer steps a configuration takes over so many rows.
func Steps(c contract.Training, rows int64) int {
	if c.MaxSteps > 0 {
		return c.MaxSteps
	}
	batches := math.Ceil(float64(rows) / float64(c.BatchSize))
	steps := math.Ceil(batches/float64(c.GradientAccumulationSteps)) * c.Epochs
	return max(1, int(math.Ceil(steps)))
}

// work is what all steps read, and all held-out losses: rows of the mean length, cut at max_length.
func (p *plan) work(steps int) Work {
	mean := min(p.rowChars(p.in.Profile.Total.Mean)/charsAToken+templateTokens, float64(p.config.MaxLength))
	return Work{
		Trained:  mean * float64(steps) * float64(p.config.BatchSize*p.config.GradientAccumulationSteps),
		Measured: mean * float64(p.heldOut) * float64(evaluations(steps, p.config.EvalEverySteps)),
	}
}

// evaluations counts the held-out losses of a run: one every so many steps (0: none on the way), and one at the end.
func evaluations(steps, every int) int {
	if every <= 0 {
		return 1
	}
	return (steps + every - 1) / every
}
