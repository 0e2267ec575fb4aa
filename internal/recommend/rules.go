package recommend

import (
	"fmt"
	"math"
	"strconv"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/dataset"
)

const (
	charsAToken    = 3.6 // of English; a little under 4, so that rows are rather cut too late than too early
	templateTokens = 32  // what a chat template puts around a short conversation, its own system prompt included
	lengthStep     = 64
	shortestLength = 128

	cpuTokensAForward = 1024 // on a CPU larger batches only add padding
	cpuMostRows       = 8
	gpuMostRows       = 16
	fewRows           = 500 // below it, smaller steps
)

// tokenLength covers 99 of 100 rows, rounded up to 64 tokens, within the model's context.
func (p *plan) tokenLength() int {
	p99 := p.rowChars(float64(p.in.Profile.Total.P99))/charsAToken + templateTokens
	length := max(shortestLength, int(math.Ceil(p99/lengthStep))*lengthStep)
	value := length
	if p.in.Model.Context > 0 {
		value = min(length, p.in.Model.Context)
	}
	reason := "About 99 of 100 rows fit; longer ones are cut."
	if value < length {
		reason = "The model reads no more; longer rows are cut."
	}
	p.because("max_length", strconv.Itoa(value), reason, sourceData)
	return value
}

// rowChars is the length of a row in characters once it is processed: long documents of plain text are cut to pieces.
func (p *plan) rowChars(profiled float64) float64 {
	if p.in.Profile.Canonical != dataset.CanonicalText {
		return profiled
	}
	return min(profiled, dataset.DefaultTextChunkChars)
}

// chooseMethod takes the method that fits: all weights of a small model with much data, else LoRA, else LoRA on 4-bit
// weights.
func (p *plan) chooseMethod() {
	const smallEnough, muchData = 400e6, 5000
	p.config.LoRA.Rank = p.rank()
	full := p.in.Start == nil && !p.onCPU && p.in.Model.Parameters > 0 && p.in.Model.Parameters <= smallEnough && p.rows >= muchData
	switch {
	case p.in.Start != nil && p.in.Start.Method == MethodFull:
		p.setMethod(MethodFull, "Training goes on with all weights, as the model was made.", sourceStart)
	case full && p.fits(MethodFull):
		p.setMethod(MethodFull, fmt.Sprintf("%d rows and a small model: all weights can be trained, and fit.", p.rows), sourceRule)
	case p.fits(MethodLoRA) || !canQuantize(p.in.Hardware) || p.onCPU:
		p.setMethod(MethodLoRA, "An adapter learns as well as all weights do on this much data, in a fraction of the memory.", sourceRegret)
	default:
		p.setMethod(MethodQLoRA, "16-bit weights do not fit; 4-bit ones cost a little quality and a quarter of the memory.", sourceEstimate)
	}
}

func (p *plan) setMethod(method, reason, source string) {
	p.config.Method = method
	p.because("method", method, reason, source)
}

// fits tells whether a single row fits with a method, with recomputation if need be.
func (p *plan) fits(method string) bool {
	c := p.config
	c.Method, c.GradientCheckpointing = method, true
	return Memory(c, p.in.Model, p.in.Hardware).Verdict != Red
}

func (p *plan) rank() int {
	switch {
	case p.in.Start != nil:
		return p.in.Start.LoRA.Rank
	case p.small:
		return 16
	case p.rows < 1_000:
		return 8
	case p.rows < 10_000:
		return 16
	case p.rows < 50_000:
		return 32
	default:
		return 64
	}
}

func (p *plan) chooseAdapter() {
	if p.config.Method == MethodFull {
		p.config.LoRA = contract.LoRA{}
		return
	}
	if p.in.Start != nil {
		p.config.LoRA = p.in.Start.LoRA
		for _, f := range shape(p.config.LoRA) {
			p.because(f.name, f.value, "Training goes on with the model's own adapter, whose shape is given.", sourceStart)
		}
		return
	}
	rank := p.config.LoRA.Rank
	p.config.LoRA.Alpha = rank
	reason, source := fmt.Sprintf("Enough for %d rows; alpha equals the rank, so the learning rate needs no change with it.", p.rows), sourceRule
	if p.small {
		reason, source = "Measured best for models under 500 million weights, together with the learning rate.", sourceMeasured
	}
	p.because("lora.r", strconv.Itoa(rank), reason, source)
	p.because("lora.target_modules", AllLinear, "Adapting all linear layers beats attention alone, even at equal size.", sourceRegret)
}

// chooseBatch aims at an effective batch and finds the largest micro-batch that fits with room to spare; if none does,
// activations are recomputed, and at last rows are cut shorter.
func (p *plan) chooseBatch() {
	effective := 16
	switch {
	case p.small && p.rows < fewRows:
		effective = 4
	case p.rows < fewRows:
		effective = 8
	}
	micro := p.largestFitting(effective)
	if micro == 0 {
		p.config.GradientCheckpointing = true
		p.because("gradient_checkpointing", "true", "Activations are recomputed, which takes a third longer, because they do not fit.", sourceEstimate)
		micro = p.largestFitting(effective)
	}
	for micro == 0 && p.config.MaxLength > 2*shortestLength {
		p.config.MaxLength = max(shortestLength, p.config.MaxLength/2/lengthStep*lengthStep)
		micro = p.largestFitting(effective)
		p.because("max_length", strconv.Itoa(p.config.MaxLength), "Longer rows do not fit into memory.", sourceEstimate)
	}
	micro = max(micro, 1)
	p.config.BatchSize, p.config.GradientAccumulationSteps = micro, effective/micro
	p.because("batch_size", fmt.Sprintf("%d × %d", micro, effective/micro),
		fmt.Sprintf("%d rows a step suit %d rows of data; %d at once fit without wasting work on padding.", effective, p.rows, micro), sourceRegret)
}

// largestFitting returns 0 if not even one row is safe.
func (p *plan) largestFitting(effective int) int {
	most := gpuMostRows
	if p.onCPU {
		most = min(cpuMostRows, max(1, cpuTokensAForward/p.config.MaxLength))
	}
	for micro := min(effective, powerOfTwo(most)); micro >= 1; micro /= 2 {
		c := p.config
		c.BatchSize = micro
		memory := Memory(c, p.in.Model, p.in.Hardware)
		if memory.Verdict == Green || memory.Have == 0 || (memory.Bytes == 0 && micro <= 4) {
			return micro
		}
	}
	return 0
}

func powerOfTwo(n int) int {
	p := 1
	for p*2 <= n {
		p *= 2
	}
	return p
}

// choosePasses reads a dataset three times, fewer if it is large and more if it is tiny. A CPU's time is dear: one pass
// over 300 rows was enough to see a clear gain.
func (p *plan) choosePasses() {
	const fewest, most, cpuEnough = 100, 25_000, 300
	n := float64(p.rows)
	epochs, reason, source := 3.0, "Three passes are enough for an adapter to learn a style or a task.", sourceUnsloth
	switch {
	case n*epochs < fewest:
		epochs, reason, source = math.Min(math.Ceil(fewest/n), 25), "So few rows need more passes.", sourceOpenAI
	case p.onCPU && p.small && n >= cpuEnough:
		epochs, reason, source = 1, "On a CPU one pass over this many rows gives most of the gain (−0.145 nats in 64 s, measured).", sourceMeasured
	case n*epochs > most:
		epochs, reason, source = math.Max(1, math.Floor(most/n)), "Much data needs fewer passes.", sourceOpenAI
	case n > 10_000:
		epochs, reason = 2, "Much data needs fewer passes."
	}
	p.config.Epochs = epochs
	p.because("epochs", strconv.FormatFloat(epochs, 'g', -1, 64), reason, source)
}

func (p *plan) chooseRates() {
	const large = 13e9
	rate, reason, source := 2e-4, "The usual rate of an adapter whose alpha equals its rank.", sourceUnsloth
	switch {
	case p.small && p.rows < fewRows:
		rate, reason, source = 2e-3, "With few rows, small steps of 4 rows at this rate taught a 135 M model most (1.35 against 1.99 nats for 8 rows at 1e-3, same pass).", sourceSample
	case p.small:
		rate, reason, source = 1e-3, "Models under 500 million weights learn best at this rate with r = alpha = 16 (measured on one of them).", sourceMeasured
	case float64(p.in.Model.Parameters) >= large:
		rate, reason = 1e-4, "Large models want a smaller rate."
	case p.rows < fewRows:
		rate, reason = 1e-4, "Few rows on a model that follows instructions already: gently."
	}
	if p.config.Method == MethodFull {
		rate, reason, source = rate/10, "Training all weights wants a tenth of an adapter's rate.", sourceRegret
	}
	if p.in.Start != nil {
		rate, reason, source = rate/2, "Half of what a fresh start would take: what has been learnt is to stay.", sourceRule
	}
	p.config.LearningRate = rate
	p.because("learning_rate", strconv.FormatFloat(rate, 'g', 3, 64), reason, source)
	p.chooseWarmup()
}

// chooseWarmup is 5 % of the steps but at least five of them; a tenth for small models.
func (p *plan) chooseWarmup() {
	steps := float64(Steps(p.config, p.rows))
	share := min(0.25, max(0.05, 5/steps))
	if p.small {
		share = 0.1
	}
	p.config.WarmupRatio = math.Round(share*1000) / 1000
	p.because("warmup_ratio", strconv.FormatFloat(p.config.WarmupRatio, 'g', -1, 64),
		"The rate rises slowly at first, then falls along a cosine: no jumps at the start, fine steps at the end.", sourceUnsloth)
}

// chooseCadence saves at least once a minute, so that a machine that vanishes costs at most that.
func (p *plan) chooseCadence() {
	steps := Steps(p.config, p.rows)
	p.config.Checkpoint = contract.Checkpoint{EverySeconds: 60, EverySteps: min(500, max(20, steps/3))}
	p.because("checkpoint", fmt.Sprintf("60 s or %d steps", p.config.Checkpoint.EverySteps),
		"A machine that vanishes costs at most a minute of work.", sourceRule)
}

// keepFixed puts the user's choices in, and says which ones they were.
func (p *plan) keepFixed() {
	if p.in.Fixed == nil {
		return
	}
	chosen := p.config
	p.config = Merge(chosen, p.in.Fixed)
	before, after := fields(chosen), fields(p.config)
	for i, f := range after {
		if f.value == before[i].value {
			continue
		}
		p.forget(f.name)
		p.because(f.name, f.value, "Kept as you set it.", sourceUser)
	}
}

func (p *plan) forget(field string) {
	kept := p.reasons[:0]
	for _, r := range p.reasons {
		if r.Field != field {
			kept = append(kept, r)
		}
	}
	p.reasons = kept
}

type fieldValue struct{ name, value string }

// fields lists the choices that a person sees.
func fields(c contract.Training) []fieldValue {
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
	return []fieldValue{
		{"method", c.Method}, {"epochs", number(c.Epochs)}, {"max_steps", strconv.Itoa(c.MaxSteps)},
		{"learning_rate", number(c.LearningRate)}, {"scheduler", c.Scheduler}, {"warmup_ratio", number(c.WarmupRatio)},
		{"weight_decay", number(c.WeightDecay)}, {"max_grad_norm", number(c.MaxGradNorm)},
		{"batch_size", fmt.Sprintf("%d × %d", c.BatchSize, c.GradientAccumulationSteps)},
		{"max_length", strconv.Itoa(c.MaxLength)}, {"completion_only", strconv.FormatBool(c.CompletionOnly)},
		{"gradient_checkpointing", strconv.FormatBool(c.GradientCheckpointing)}, {"precision", c.Precision},
		{"seed", strconv.FormatInt(c.Seed, 10)}, {"lora.r", strconv.Itoa(c.LoRA.Rank)}, {"lora.alpha", strconv.Itoa(c.LoRA.Alpha)},
		{"lora.dropout", number(c.LoRA.Dropout)}, {"lora.target_modules", c.LoRA.TargetModules},
	}
}
