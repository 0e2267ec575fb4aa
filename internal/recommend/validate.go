package recommend

import (
	"math"
	"strconv"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/dataset"
	"github.com/vibeflow/vibeflow/internal/hardware"
)

// Methods, schedulers and precisions of contract.Training.
const (
	MethodLoRA  = "lora"
	MethodQLoRA = "qlora"
	MethodFull  = "full"

	SchedulerCosine   = "cosine"
	SchedulerLinear   = "linear"
	SchedulerConstant = "constant"

	PrecisionAuto = "auto"
	PrecisionFP32 = "fp32"
	PrecisionBF16 = "bf16"
	PrecisionFP16 = "fp16"

	// AllLinear is the adapter on every linear module but the head.
	AllLinear = "all-linear"
)

// Limits that no run has a use beyond.
const (
	maxEpochs = 100
	maxSteps  = 10_000_000
	maxBatch  = 1024
	maxRank   = 512
)

// Validate refuses a configuration that cannot run, naming the field and the remedy: CodeInvalidConfig, or
// CodeUnsupported for what the data or the machine does not allow. The profile and the hardware may be zero when they are
// not known; what depends on them is then not checked.
func Validate(c contract.Training, in Input) error {
	for _, check := range []error{
		trainable(in.Profile), checkMethod(c, in.Hardware), checkLength(c, in.Model), checkSteps(c), checkRates(c), checkBatch(c),
		checkAdapter(c), checkStart(c, in.Start), checkPrecision(c, in.Hardware), checkCadence(c),
	} {
		if check != nil {
			return check
		}
	}
	return nil
}

// Plain is a configuration that runs on any data: what a user's choices are laid over to be checked before there is any.
func Plain(in Input) contract.Training {
	c := contract.Training{
		Method: MethodLoRA, Epochs: 1, LearningRate: 2e-4, Scheduler: SchedulerCosine, MaxGradNorm: 1, BatchSize: 1,
		GradientAccumulationSteps: 1, MaxLength: 256, CompletionOnly: true, Precision: PrecisionAuto, Seed: 42,
		LoRA: contract.LoRA{Rank: 16, Alpha: 16, TargetModules: AllLinear},
	}
	if in.Model.Context > 0 {
		c.MaxLength = min(c.MaxLength, in.Model.Context)
	}
	if in.Start != nil {
		c.Method, c.LoRA = in.Start.Method, in.Start.LoRA
	}
	return c
}

// trainable refuses data that no training method reads yet.
func trainable(profile *dataset.Profile) error {
	if profile == nil || profile.Canonical != dataset.CanonicalPreference {
		return nil
	}
	return contract.Errorf(contract.CodeUnsupported, "the dataset holds preference pairs, and preference training does not exist yet").
		On("dataset_id").Mend("bring a dataset of prompts and answers; keep this one for later")
}

func refuse(field, format string, args ...any) *contract.Error {
	return contract.Errorf(contract.CodeInvalidConfig, format, args...).On(field)
}

func oneOf(field, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return refuse(field, "%s is %q", field, value).Mend("choose one of: %s", strings.Join(allowed, ", "))
}

func checkMethod(c contract.Training, h hardware.Hardware) error {
	if err := oneOf("method", c.Method, MethodLoRA, MethodQLoRA, MethodFull); err != nil {
		return err
	}
	if c.Method == MethodQLoRA && known(h) && !canQuantize(h) {
		return contract.Errorf(contract.CodeUnsupported, "QLoRA needs 4-bit kernels, which this machine's processor does not have").
			On("method").Mend("choose lora: on a CPU it is faster and takes no more memory")
	}
	return nil
}

// canQuantize tells whether bitsandbytes has kernels: any NVIDIA GPU, and processors with AVX2 or on 64-bit ARM.
func canQuantize(h hardware.Hardware) bool {
	if len(h.GPUs) > 0 || h.Arch == "arm64" {
		return true
	}
	for _, flag := range h.CPU.Flags {
		if flag == "avx2" || flag == "avx512f" {
			return true
		}
	}
	return false
}

func known(h hardware.Hardware) bool { return h.Arch != "" }

func checkLength(c contract.Training, m catalog.Entry) error {
	if c.MaxLength <= 0 {
		return refuse("max_length", "max_length is %d", c.MaxLength).Mend("choose at least 16 tokens")
	}
	if m.Context > 0 && c.MaxLength > m.Context {
		return refuse("max_length", "max_length is %d, but %s reads at most %d tokens", c.MaxLength, m.Name, m.Context).
			Mend("choose at most %d, or a model with a longer context", m.Context)
	}
	return nil
}

func checkSteps(c contract.Training) error {
	switch {
	case c.Epochs < 0 || c.Epochs > maxEpochs || math.IsNaN(c.Epochs):
		return refuse("epochs", "epochs is %v", c.Epochs).Mend("choose a number between 0 and %d", maxEpochs)
	case c.MaxSteps < 0 || c.MaxSteps > maxSteps:
		return refuse("max_steps", "max_steps is %d", c.MaxSteps).Mend("choose a number between 0 (by epochs) and %d", maxSteps)
	case c.Epochs == 0 && c.MaxSteps == 0:
		return refuse("epochs", "epochs and max_steps are both zero: nothing would be trained").Mend("set one of them, for example epochs to 1")
	}
	return nil
}

func checkRates(c contract.Training) error {
	switch {
	case !(c.LearningRate > 0) || c.LearningRate > 1:
		return refuse("learning_rate", "learning_rate is %v", c.LearningRate).Mend("choose a number above 0, for example 2e-4")
	case !(c.WarmupRatio >= 0 && c.WarmupRatio < 1):
		return refuse("warmup_ratio", "warmup_ratio is %v", c.WarmupRatio).Mend("choose a share from 0 to below 1, for example 0.1")
	case !(c.WeightDecay >= 0 && c.WeightDecay <= 1):
		return refuse("weight_decay", "weight_decay is %v", c.WeightDecay).Mend("choose a number from 0 to 1, for example 0.01")
	case !(c.MaxGradNorm >= 0) || math.IsInf(c.MaxGradNorm, 0):
		return refuse("max_grad_norm", "max_grad_norm is %v", c.MaxGradNorm).Mend("choose a number from 0 (no clipping), for example 1")
	}
	return oneOf("scheduler", c.Scheduler, SchedulerCosine, SchedulerLinear, SchedulerConstant)
}

func checkBatch(c contract.Training) error {
	if c.BatchSize <= 0 || c.BatchSize > maxBatch {
		return refuse("batch_size", "batch_size is %d", c.BatchSize).Mend("choose 1 to %d", maxBatch)
	}
	if c.GradientAccumulationSteps <= 0 || c.GradientAccumulationSteps > maxBatch {
		return refuse("gradient_accumulation_steps", "gradient_accumulation_steps is %d", c.GradientAccumulationSteps).
			Mend("choose 1 to %d", maxBatch)
	}
	return nil
}

func checkAdapter(c contract.Training) error {
	if c.Method == MethodFull {
		return nil
	}
	switch {
	case c.LoRA.Rank <= 0 || c.LoRA.Rank > maxRank:
		return refuse("lora.r", "the rank r is %d", c.LoRA.Rank).Mend("choose 1 to %d, for example 16", maxRank)
	case c.LoRA.Alpha <= 0:
		return refuse("lora.alpha", "alpha is %d", c.LoRA.Alpha).Mend("choose a number above 0, for example the rank")
	case !(c.LoRA.Dropout >= 0 && c.LoRA.Dropout < 1):
		return refuse("lora.dropout", "dropout is %v", c.LoRA.Dropout).Mend("choose a share from 0 to below 1; 0 trains fastest")
	case strings.TrimSpace(c.LoRA.TargetModules) == "":
		return refuse("lora.target_modules", "target_modules is empty").Mend("write %s, or module names with commas", AllLinear)
	}
	return nil
}

// checkStart refuses a shape that the tuned weights to go on from do not have.
func checkStart(c contract.Training, start *contract.Training) error {
	if start == nil {
		return nil
	}
	const remedy = "leave the field out, or start from the base model"
	if (c.Method == MethodFull) != (start.Method == MethodFull) {
		return refuse("method", "method is %q, and the model to go on from was trained with %q", c.Method, start.Method).Mend(remedy)
	}
	if c.Method == MethodFull {
		return nil
	}
	asked, has := shape(c.LoRA), shape(start.LoRA)
	for i := range asked {
		if asked[i].value != has[i].value {
			return refuse(asked[i].name, "%s is %s, and the adapter to go on from has %s", asked[i].name, asked[i].value, has[i].value).Mend(remedy)
		}
	}
	return nil
}

// shape is what cannot change of an adapter once it is trained.
func shape(l contract.LoRA) []fieldValue {
	return []fieldValue{
		{"lora.r", strconv.Itoa(l.Rank)}, {"lora.alpha", strconv.Itoa(l.Alpha)}, {"lora.target_modules", l.TargetModules},
		{"lora.rslora", strconv.FormatBool(l.RSLoRA)},
	}
}

func checkPrecision(c contract.Training, h hardware.Hardware) error {
	if err := oneOf("precision", c.Precision, PrecisionAuto, PrecisionFP32, PrecisionBF16, PrecisionFP16); err != nil {
		return err
	}
	if c.Precision == PrecisionFP16 && known(h) && len(h.GPUs) == 0 {
		return contract.Errorf(contract.CodeUnsupported, "fp16 does not train on a CPU").On("precision").Mend("choose auto")
	}
	return nil
}

func checkCadence(c contract.Training) error {
	switch {
	case c.Checkpoint.EverySteps < 0:
		return refuse("checkpoint.every_steps", "every_steps is %d", c.Checkpoint.EverySteps).Mend("choose 0 (by time only) or more")
	case c.Checkpoint.EverySeconds < 0:
		return refuse("checkpoint.every_seconds", "every_seconds is %d", c.Checkpoint.EverySeconds).Mend("choose 0 (by steps only) or more")
	case c.EvalEverySteps < 0:
		return refuse("eval_every_steps", "eval_every_steps is %d", c.EvalEverySteps).Mend("choose 0 (at the end only) or more")
	}
	return nil
}
