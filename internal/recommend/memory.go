package recommend

import (
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/hardware"
)

// Constants of the memory formula. GPU ones follow fitcheck-llm's structure (33 published T4 runs); the CPU's are fitted
// to peak resident sizes of SmolLM2-135M on two cores (docs: 256 × 4 to 512 × 8, within 10 %).
const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30

	nf4Double  = 0.5 + 1.0/64 // bytes a weight, with double quantization
	logitsCopy = 4.0          // live copies of the logits in fp32
	halfBytes  = 2.0          // an activation of a GPU run
	keptHalf   = 2.0          // a layer input kept by gradient checkpointing
	keptFloat  = 4.0          // the same where the model was prepared for k-bit training, or on a CPU

	cpuProcess  = 0.91 * gib // Python with torch, transformers, peft and trl imported
	cpuFloat    = 4.5        // bytes an activation in fp32, temporaries included
	cpuAutocast = 2.8        // under bf16 autocast: matmul inputs in bf16, norms and residuals in fp32

	gpuContext  = 0.5 * gib
	gpuFragment = 1.10

	spread    = 0.15 // of an estimate whose dimensions are known
	spreadLow = 0.40 // of a model that the formula does not cover
)

// load is what decides how much memory a run takes.
type load struct {
	dims      catalog.Dims
	method    string
	adapter   int64 // weights of the adapter
	batch     int
	length    int // tokens a row
	recompute bool
	onCPU     bool
	autocast  bool // CPU only
}

// tensors is the peak of everything that training allocates, in bytes, without the process around it.
func (l load) tensors() float64 { return l.weights() + l.states() + l.activations() }

// weights of the model itself. A CPU holds them in fp32.
func (l load) weights() float64 {
	linear, rest := float64(l.dims.Linear()), float64(l.dims.Rest())
	switch {
	case l.method == MethodFull:
		return 0 // part of the 16 bytes of states
	case l.method == MethodQLoRA:
		return nf4Double*linear + 4*rest
	case l.onCPU:
		return 4 * (linear + rest)
	default:
		return 2 * (linear + rest)
	}
}

// states are gradients and AdamW's moments beside the fp32 weights that are trained: 16 bytes each.
func (l load) states() float64 {
	if l.method == MethodFull {
		return 16 * float64(l.dims.Parameters())
	}
	return 16 * float64(l.adapter)
}

func (l load) activations() float64 {
	d := l.dims
	tokens := float64(l.batch) * float64(l.length)
	width := 12*float64(d.Hidden) + float64(3*d.Heads*d.HeadDim+d.KVHeads*d.HeadDim) + 3*float64(d.FeedForward)
	layer := l.bytesAnActivation() * tokens * width
	logits := logitsCopy * 4 * tokens * float64(d.Vocab)
	layers := float64(d.Layers)
	if !l.recompute {
		return layers*layer + logits
	}
	kept := keptHalf
	if l.onCPU || l.method == MethodQLoRA {
		kept = keptFloat
	}
	return layers*kept*tokens*float64(d.Hidden) + max(logits, layer)
}

func (l load) bytesAnActivation() float64 {
	switch {
	case !l.onCPU:
		return halfBytes
	case l.autocast:
		return cpuAutocast
	default:
		return cpuFloat
	}
}

// process is the whole process's peak.
func (l load) process() float64 {
	if l.onCPU {
		return cpuProcess + l.tensors()
	}
	return gpuContext + gpuFragment*l.tensors()
}

// Verdicts of an estimate.
const (
	Green = "green" // fits with room to spare
	Amber = "amber" // may fit
	Red   = "red"   // does not fit
)

// Memory predicts the peak memory of a run on a machine. A model without dimensions gets an amber zero: nothing is known.
func Memory(c contract.Training, m catalog.Entry, h hardware.Hardware) contract.Estimate {
	have := available(h)
	if !m.Dims.Known() {
		return contract.Estimate{Have: have, Verdict: Amber}
	}
	peak := loadOf(c, m, h).process()
	around := spread
	if m.Confidence == catalog.Low {
		around = spreadLow
	}
	e := contract.Estimate{
		Bytes: int64(peak), Low: int64(peak * (1 - around)), High: int64(peak * (1 + around)), Have: have,
	}
	e.Verdict = verdict(e)
	return e
}

func verdict(e contract.Estimate) string {
	switch {
	case e.Have == 0:
		return Amber
	case e.High <= e.Have:
		return Green
	case e.Bytes <= e.Have:
		return Amber
	default:
		return Red
	}
}

func loadOf(c contract.Training, m catalog.Entry, h hardware.Hardware) load {
	onCPU := len(h.GPUs) == 0
	return load{
		dims: m.Dims, method: c.Method, adapter: adapterWeights(c, m.Dims), batch: c.BatchSize, length: c.MaxLength,
		recompute: c.GradientCheckpointing, onCPU: onCPU,
		autocast: onCPU && (c.Precision == PrecisionBF16 || (c.Precision == PrecisionAuto && hasBF16(h))),
	}
}

// adapterWeights takes the whole of all-linear for a list of modules too: an upper bound.
func adapterWeights(c contract.Training, d catalog.Dims) int64 {
	if c.Method == MethodFull {
		return 0
	}
	return d.Adapter(c.LoRA.Rank)
}

// available is what a run may take: the first GPU's memory, or the main memory that is free.
func available(h hardware.Hardware) int64 {
	if len(h.GPUs) > 0 {
		return int64(h.GPUs[0].Memory) //nolint:gosec // far below 2^63
	}
	if h.Memory.Available > 0 {
		return int64(h.Memory.Available) //nolint:gosec // far below 2^63
	}
	return int64(h.Memory.Total) //nolint:gosec // far below 2^63
}
