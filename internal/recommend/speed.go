package recommend

import (
	"math"
	"slices"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/hardware"
)

// Measured throughput, in billions of weights × tokens a second, so that a model's speed is the figure over its size.
//
// CPU: SmolLM2-135M LoRA on two cores, labelled positions only: 202–453 tokens/s under bf16 autocast, 108–201 in fp32.
// GPU: PEFT on an L40S (Llama-3.2-3B LoRA, 7,300 tokens/s), torchtune on a 4090 and an A6000 (8B LoRA, 3,083 and 4,699),
// Qwen on an A100 (1.8B LoRA, 7,400). Classes without a published figure are scaled by their bf16 rate and get a
// wider range.
const (
	noise                           = 1.15 // of those measurements
	cpuAutocastLow, cpuAutocastHigh = 0.135 * 202 / noise, 0.135 * 453 * noise
	cpuFloatLow, cpuFloatHigh       = 0.135 * 108 / noise, 0.135 * 201 * noise
	measuredCores                   = 2
	scalingCores                    = 16 // more cores than this help little
	startSeconds                    = 25 // import, model, data, the last save
)

var gpuSpeeds = []struct {
	class     string
	low, high float64
}{
	{"t4", 1_200, 4_000}, {"l4", 5_000, 12_000}, {"a10", 6_000, 14_000}, {"rtx-3090", 8_000, 20_000},
	{"rtx-4090", 15_000, 30_000}, {"a6000", 20_000, 40_000}, {"l40", 15_000, 28_000}, {"a100", 11_000, 35_000},
	{"h100", 25_000, 80_000}, {"h200", 25_000, 90_000},
}

// unknownGPU covers what the table does not have.
const unknownGPULow, unknownGPUHigh = 1_000, 40_000

// recomputeCost is what gradient checkpointing costs: 278 instead of 453 tokens/s measured on a CPU, a third on GPUs.
const recomputeCost = 1.5

// Work is the tokens that a run trains on in all passes, and those whose loss alone it measures.
type Work struct{ Trained, Measured float64 }

// What the loss of a token costs against training on it: a third measured on idle CPUs, a sixth on a busy one (pace.py, which
// judges the rest of a run that way too).
const measuredLow, measuredHigh = 1.0 / 6, 1.0 / 2

// Seconds predicts how long a run takes, low and high.
func Seconds(c contract.Training, m catalog.Entry, h hardware.Hardware, work Work) [2]float64 {
	size := float64(m.Parameters) / 1e9
	if size == 0 || work.Trained == 0 {
		return [2]float64{}
	}
	low, high := throughput(c, h)
	least, most := work.Trained, work.Trained
	if c.GradientCheckpointing { // which measuring has no use for
		least, most = least*recomputeCost, most*recomputeCost
	}
	least, most = least+work.Measured*measuredLow, most+work.Measured*measuredHigh
	return [2]float64{math.Round(startSeconds/2 + least*size/high), math.Round(startSeconds + most*size/low)}
}

func throughput(c contract.Training, h hardware.Hardware) (low, high float64) {
	if len(h.GPUs) > 0 {
		return gpuThroughput(h.GPUs[0].Class())
	}
	cores := float64(min(max(h.CPU.Cores, 1), scalingCores)) / measuredCores
	if c.Precision == PrecisionFP32 || (c.Precision == PrecisionAuto && !hasBF16(h)) {
		return cpuFloatLow * cores, cpuFloatHigh * cores
	}
	return cpuAutocastLow * cores, cpuAutocastHigh * cores
}

func gpuThroughput(class string) (low, high float64) {
	for _, g := range gpuSpeeds {
		if strings.HasPrefix(class, g.class) {
			return g.low, g.high
		}
	}
	return unknownGPULow, unknownGPUHigh
}

// hasBF16 tells whether the processor multiplies in bf16; without, autocast is slower than fp32.
func hasBF16(h hardware.Hardware) bool {
	return slices.ContainsFunc(h.CPU.Flags, func(flag string) bool {
		return flag == "avx512_bf16" || flag == "amx_bf16" || flag == "bf16"
	})
}
