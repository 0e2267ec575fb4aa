package recommend_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/dataset"
	"github.com/vibeflow/vibeflow/internal/hardware"
	"github.com/vibeflow/vibeflow/internal/recommend"
)

var (
	twoCores = hardware.Hardware{
		Arch: "amd64", CPU: hardware.CPU{Cores: 2, Flags: []string{"avx2", "avx512_bf16"}},
		Memory: hardware.Memory{Total: 24 << 30, Available: 20 << 30},
	}
	t4 = hardware.Hardware{Arch: "amd64", GPUs: []hardware.GPU{{Name: "Tesla T4", Memory: 15 << 30, ComputeCapability: "7.5"}}}
)

func model(t *testing.T, id string) catalog.Entry {
	t.Helper()
	e, ok := catalog.Lookup(id)
	require.True(t, ok, id)
	return e
}

// chat is a profile of n conversations of which 99 % have at most so many characters.
func chat(n, p99 int64) *dataset.Profile {
	return &dataset.Profile{
		Detection: dataset.Detection{Canonical: dataset.CanonicalChat}, Examples: n, ValidRows: n,
		Total: dataset.Lengths{Count: n, Mean: float64(p99) / 2, P99: p99},
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	pairs := chat(1000, 400)
	pairs.Canonical = dataset.CanonicalPreference
	_, err := recommend.Recommend(recommend.Input{Profile: pairs, Model: model(t, catalog.Bundled), Hardware: twoCores})
	require.Equal(t, contract.CodeUnsupported, contract.CodeOf(err))
	require.ErrorContains(t, err, "preference")

	_, err = recommend.Recommend(recommend.Input{Model: model(t, catalog.Bundled), Hardware: twoCores})
	require.Equal(t, contract.CodeConflict, contract.CodeOf(err))

	_, err = recommend.Recommend(recommend.Input{
		Profile: chat(1000, 400), Model: model(t, catalog.Bundled), Hardware: twoCores, Fixed: &contract.Training{MaxLength: 100_000},
	})
	require.Equal(t, contract.CodeInvalidConfig, contract.CodeOf(err))
}

// TestTheMeasuredRule: the configuration that the demo's measurements recommend for the bundled model.
func TestTheMeasuredRule(t *testing.T) {
	t.Parallel()
	r, err := recommend.Recommend(recommend.Input{
		Profile: chat(420, 300), TrainRows: 320, Model: model(t, catalog.Bundled), Hardware: twoCores,
	})
	require.NoError(t, err)
	c := r.Config
	require.Equal(t, recommend.MethodLoRA, c.Method)
	require.InDelta(t, 2e-3, c.LearningRate, 1e-12)
	require.Equal(t, contract.LoRA{Rank: 16, Alpha: 16, TargetModules: recommend.AllLinear}, c.LoRA)
	require.Equal(t, 128, c.MaxLength)
	require.Equal(t, 4, c.BatchSize*c.GradientAccumulationSteps)
	require.Equal(t, 80, r.Steps)
	require.InDelta(t, 0.1, c.WarmupRatio, 1e-9)
	require.Equal(t, recommend.Green, r.Memory.Verdict)
	require.Equal(t, 60, c.Checkpoint.EverySeconds)
	require.True(t, c.CompletionOnly)
	// 75 s were measured for 79 steps of 4 such rows.
	require.Less(t, r.Seconds[0], 75.0)
	require.Greater(t, r.Seconds[1], 75.0)
}

func TestRules(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		model string
		on    hardware.Hardware
		rows  int64
		p99   int64
		check func(t *testing.T, r contract.Recommendation)
	}{
		"few rows on an instruct model go gently": {"qwen3-1.7b", t4, 300, 800, func(t *testing.T, r contract.Recommendation) {
			require.InDelta(t, 1e-4, r.Config.LearningRate, 1e-12)
			require.Equal(t, 8, r.Config.LoRA.Rank)
		}},
		"a tiny dataset is read more often": {"qwen3-0.6b", t4, 10, 800, func(t *testing.T, r contract.Recommendation) {
			require.InDelta(t, 10, r.Config.Epochs, 1e-9)
		}},
		"a large dataset is read once": {"qwen3-0.6b", t4, 60_000, 800, func(t *testing.T, r contract.Recommendation) {
			require.InDelta(t, 1, r.Config.Epochs, 1e-9)
			require.Equal(t, 64, r.Config.LoRA.Rank)
		}},
		"a small model with much data trains all weights": {"smollm2-135m-instruct", t4, 6000, 800, func(t *testing.T, r contract.Recommendation) {
			require.Equal(t, recommend.MethodFull, r.Config.Method)
			require.InDelta(t, 1e-4, r.Config.LearningRate, 1e-12)
			require.Zero(t, r.Config.LoRA)
		}},
		"a large model on a small GPU is quantized": {"qwen3-8b", t4, 2000, 800, func(t *testing.T, r contract.Recommendation) {
			require.Equal(t, recommend.MethodQLoRA, r.Config.Method)
			require.NotEqual(t, recommend.Red, r.Memory.Verdict)
		}},
		"a model that cannot fit says so": {"llama-3.1-8b-instruct", twoCores, 2000, 800, func(t *testing.T, r contract.Recommendation) {
			require.Equal(t, recommend.Red, r.Memory.Verdict)
			require.Contains(t, reason(r, "memory"), "smaller model")
		}},
		"rows longer than the context are cut to it": {"tinyllama-1.1b-chat", t4, 2000, 60_000, func(t *testing.T, r contract.Recommendation) {
			require.LessOrEqual(t, r.Config.MaxLength, 2048)
		}},
		"a model that is not in the catalog is planned for without an estimate": {"", t4, 2000, 800, func(t *testing.T, r contract.Recommendation) {
			require.Equal(t, recommend.Amber, r.Memory.Verdict)
			require.Zero(t, r.Memory.Bytes)
		}},
		"without a worker it plans for a small CPU": {"smollm2-135m-instruct", hardware.Hardware{}, 400, 800, func(t *testing.T, r contract.Recommendation) {
			require.Equal(t, recommend.MethodLoRA, r.Config.Method)
			require.Equal(t, recommend.Amber, r.Memory.Verdict)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entry, err := catalog.Parse("hub:somebody/unknown")
			require.NoError(t, err)
			if c.model != "" {
				entry = model(t, c.model)
			}
			in := recommend.Input{Profile: chat(c.rows, c.p99), TrainRows: c.rows, Model: entry, Hardware: c.on}
			r, err := recommend.Recommend(in)
			require.NoError(t, err)
			c.check(t, r)
			for _, why := range r.Reasons {
				require.NotEmpty(t, why.Reason, why.Field)
				require.NotEmpty(t, why.Source, why.Field)
			}
			again, err := recommend.Recommend(in)
			require.NoError(t, err)
			require.Equal(t, r, again, "the same question gets the same answer")
		})
	}
}

func reason(r contract.Recommendation, field string) string {
	for _, why := range r.Reasons {
		if why.Field == field {
			return why.Reason
		}
	}
	return ""
}

// TestLongDocumentsAreCutBeforeTraining: the profile measures whole documents, the rows to train on are pieces of them.
func TestLongDocumentsAreCutBeforeTraining(t *testing.T) {
	t.Parallel()
	text := chat(500, 100_000)
	text.Canonical = dataset.CanonicalText
	r, err := recommend.Recommend(recommend.Input{Profile: text, Model: model(t, catalog.Bundled), Hardware: twoCores})
	require.NoError(t, err)
	require.Less(t, r.Config.MaxLength, 1024)
	require.False(t, r.Config.CompletionOnly)
}

func TestTheTimeCountsHeldOutLosses(t *testing.T) {
	t.Parallel()
	in := recommend.Input{Profile: chat(420, 300), TrainRows: 320, Model: model(t, catalog.Bundled), Hardware: twoCores}
	took := func(heldOut int64, every int) [2]float64 {
		t.Helper()
		in.EvalRows, in.Fixed = heldOut, &contract.Training{MaxSteps: 80, EvalEverySteps: every}
		r, err := recommend.Recommend(in)
		require.NoError(t, err)
		return r.Seconds
	}
	none, atTheEnd, often := took(0, 0), took(100, 0), took(100, 10)
	require.Equal(t, none, took(0, 10), "there is nothing to measure")
	for i, share := range []float64{1.0 / 6, 1.0 / 2} {
		once := (none[i] - []float64{12.5, 25}[i]) * 100 / 320 * share // 100 rows beside the 320 that are trained on
		require.InDelta(t, none[i]+once, atTheEnd[i], 1.5)
		require.InDelta(t, none[i]+8*once, often[i], 4)
	}
}

func TestFixedChoicesAreKeptAndSaidToBe(t *testing.T) {
	t.Parallel()
	in := recommend.Input{Profile: chat(420, 300), TrainRows: 320, Model: model(t, catalog.Bundled), Hardware: twoCores}
	in.Fixed = &contract.Training{LearningRate: 5e-4, MaxSteps: 7, LoRA: contract.LoRA{Rank: 4}}
	r, err := recommend.Recommend(in)
	require.NoError(t, err)
	require.InDelta(t, 5e-4, r.Config.LearningRate, 1e-12)
	require.Equal(t, 7, r.Steps)
	require.Equal(t, 4, r.Config.LoRA.Alpha, "alpha follows the rank unless it is set")
	require.Equal(t, "Kept as you set it.", reason(r, "learning_rate"))
	require.Equal(t, 128, r.Config.MaxLength, "what was not set is recommended")
}

func TestGoingOnKeepsTheShapeOfWhatIsTuned(t *testing.T) {
	t.Parallel()
	in := recommend.Input{Profile: chat(420, 300), Model: model(t, catalog.Bundled), Hardware: twoCores}
	fresh, err := recommend.Recommend(in)
	require.NoError(t, err)
	in.Start = &contract.Training{Method: recommend.MethodLoRA, LoRA: contract.LoRA{Rank: 8, Alpha: 32, TargetModules: "q_proj", RSLoRA: true}}
	on, err := recommend.Recommend(in)
	require.NoError(t, err)
	require.Equal(t, in.Start.LoRA, on.Config.LoRA)
	require.InDelta(t, fresh.Config.LearningRate/2, on.Config.LearningRate, 1e-12)
	require.Contains(t, reason(on, "lora.r"), "own adapter")

	for field, fixed := range map[string]contract.Training{
		"method":              {Method: recommend.MethodFull},
		"lora.r":              {LoRA: contract.LoRA{Rank: 16, Alpha: 32, TargetModules: "q_proj", RSLoRA: true}},
		"lora.target_modules": {LoRA: contract.LoRA{Rank: 8, Alpha: 32, TargetModules: recommend.AllLinear, RSLoRA: true}},
	} {
		in.Fixed = &fixed
		_, err := recommend.Recommend(in)
		var problem *contract.Error
		require.ErrorAs(t, err, &problem, field)
		require.Equal(t, contract.CodeInvalidConfig, problem.Code)
		require.Equal(t, field, problem.Field)
	}

	in.Fixed, in.Start = nil, &contract.Training{Method: recommend.MethodFull}
	all, err := recommend.Recommend(in)
	require.NoError(t, err)
	require.Equal(t, recommend.MethodFull, all.Config.Method)
}

func TestMergeTakesAWholeConfigurationAsItIs(t *testing.T) {
	t.Parallel()
	r, err := recommend.Recommend(recommend.Input{Profile: chat(420, 300), Model: model(t, catalog.Bundled), Hardware: twoCores})
	require.NoError(t, err)
	edited := r.Config
	edited.CompletionOnly, edited.WeightDecay = false, 0
	require.Equal(t, edited, recommend.Merge(r.Config, &edited))
	require.Equal(t, r.Config, recommend.Merge(r.Config, nil))
	require.Equal(t, r.Config, recommend.Merge(r.Config, &contract.Training{}))
}

func TestValidateNamesTheFieldAndTheRemedy(t *testing.T) {
	t.Parallel()
	m := model(t, catalog.Bundled)
	good, err := recommend.Recommend(recommend.Input{Profile: chat(420, 300), Model: m, Hardware: twoCores})
	require.NoError(t, err)
	noVectors := twoCores
	noVectors.CPU.Flags = nil

	for field, c := range map[string]struct {
		change string // JSON merged over a good configuration
		on     hardware.Hardware
		code   contract.Code
	}{
		"method":                      {`{"method":"prompt-tuning"}`, twoCores, contract.CodeInvalidConfig},
		"method ":                     {`{"method":"qlora"}`, noVectors, contract.CodeUnsupported},
		"max_length":                  {`{"max_length":9000}`, twoCores, contract.CodeInvalidConfig},
		"max_length ":                 {`{"max_length":0}`, twoCores, contract.CodeInvalidConfig},
		"epochs":                      {`{"epochs":0,"max_steps":0}`, twoCores, contract.CodeInvalidConfig},
		"epochs ":                     {`{"epochs":-1}`, twoCores, contract.CodeInvalidConfig},
		"max_steps":                   {`{"max_steps":-1}`, twoCores, contract.CodeInvalidConfig},
		"learning_rate":               {`{"learning_rate":0}`, twoCores, contract.CodeInvalidConfig},
		"warmup_ratio":                {`{"warmup_ratio":1}`, twoCores, contract.CodeInvalidConfig},
		"weight_decay":                {`{"weight_decay":-0.1}`, twoCores, contract.CodeInvalidConfig},
		"max_grad_norm":               {`{"max_grad_norm":-1}`, twoCores, contract.CodeInvalidConfig},
		"scheduler":                   {`{"scheduler":"polynomial"}`, twoCores, contract.CodeInvalidConfig},
		"batch_size":                  {`{"batch_size":0}`, twoCores, contract.CodeInvalidConfig},
		"gradient_accumulation_steps": {`{"gradient_accumulation_steps":0}`, twoCores, contract.CodeInvalidConfig},
		"lora.r":                      {`{"lora":{"r":0,"alpha":16,"target_modules":"all-linear"}}`, twoCores, contract.CodeInvalidConfig},
		"lora.alpha":                  {`{"lora":{"r":8,"alpha":0,"target_modules":"all-linear"}}`, twoCores, contract.CodeInvalidConfig},
		"lora.dropout":                {`{"lora":{"r":8,"alpha":8,"dropout":1,"target_modules":"all-linear"}}`, twoCores, contract.CodeInvalidConfig},
		"lora.target_modules":         {`{"lora":{"r":8,"alpha":8,"target_modules":" "}}`, twoCores, contract.CodeInvalidConfig},
		"precision":                   {`{"precision":"int8"}`, twoCores, contract.CodeInvalidConfig},
		"precision ":                  {`{"precision":"fp16"}`, twoCores, contract.CodeUnsupported},
		"checkpoint.every_steps":      {`{"checkpoint":{"every_steps":-1}}`, twoCores, contract.CodeInvalidConfig},
		"checkpoint.every_seconds":    {`{"checkpoint":{"every_seconds":-1}}`, twoCores, contract.CodeInvalidConfig},
		"eval_every_steps":            {`{"eval_every_steps":-1}`, twoCores, contract.CodeInvalidConfig},
	} {
		t.Run(field+c.change, func(t *testing.T) {
			t.Parallel()
			bad := good.Config
			require.NoError(t, json.Unmarshal([]byte(c.change), &bad))
			err := recommend.Validate(bad, recommend.Input{Model: m, Hardware: c.on})
			var problem *contract.Error
			require.ErrorAs(t, err, &problem)
			require.Equal(t, c.code, problem.Code)
			require.Contains(t, field, problem.Field)
			require.NotEmpty(t, problem.Field)
			require.NotEmpty(t, problem.Remedy)
		})
	}
	require.NoError(t, recommend.Validate(good.Config, recommend.Input{Model: m, Hardware: twoCores, Profile: chat(420, 300)}))
	require.NoError(t, recommend.Validate(good.Config, recommend.Input{Model: m}))
}
