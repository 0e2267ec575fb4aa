package recommend

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/internal/catalog"
)

// attention is the adapter of the published runs: rank 32 on the four attention modules.
func attention(d catalog.Dims) int64 {
	q, kv := int64(d.Hidden+d.Heads*d.HeadDim), int64(d.Hidden+d.KVHeads*d.HeadDim)
	return 32 * int64(d.Layers) * (2*q + 2*kv)
}

var (
	tinyLlama = catalog.Dims{Hidden: 2048, Layers: 22, Heads: 32, KVHeads: 4, HeadDim: 64, FeedForward: 5632, Vocab: 32000}
	llama160m = catalog.Dims{Hidden: 768, Layers: 12, Heads: 12, KVHeads: 12, HeadDim: 64, FeedForward: 3072, Vocab: 32000}
	gemma2    = catalog.Dims{Hidden: 2304, Layers: 26, Heads: 8, KVHeads: 4, HeadDim: 256, FeedForward: 9216, Vocab: 256000, Tied: true}
)

func dims(t *testing.T, id string) catalog.Dims {
	t.Helper()
	e, ok := catalog.Lookup(id)
	require.True(t, ok, id)
	return e.Dims
}

// TestPublishedGPURuns compares with the allocated memory that fitcheck-llm publishes for a T4 (README, the 12 with SDPA
// attention). Each within 5 %, 2.5 % on average.
func TestPublishedGPURuns(t *testing.T) {
	t.Parallel()
	smol135, smol17 := dims(t, catalog.Bundled), dims(t, "smollm2-1.7b-instruct")
	qwen05, qwen15 := dims(t, "qwen2.5-0.5b-instruct"), dims(t, "qwen2.5-1.5b-instruct")
	runs := []struct {
		name          string
		d             catalog.Dims
		method        string
		batch, length int
		recompute     bool
		mib           float64
	}{
		{"TinyLlama", tinyLlama, MethodQLoRA, 2, 512, true, 1847},
		{"TinyLlama", tinyLlama, MethodQLoRA, 2, 1024, true, 2528},
		{"TinyLlama", tinyLlama, MethodQLoRA, 2, 2048, true, 3897},
		{"SmolLM2-1.7B", smol17, MethodQLoRA, 4, 1024, true, 5281},
		{"Qwen2.5-1.5B", qwen15, MethodQLoRA, 2, 1024, true, 6823},
		{"SmolLM2-135M", smol135, MethodLoRA, 2, 512, false, 1846},
		{"SmolLM2-135M", smol135, MethodLoRA, 4, 512, false, 3314},
		{"SmolLM2-1.7B", smol17, MethodLoRA, 1, 512, false, 5112},
		{"Qwen2.5-0.5B", qwen05, MethodLoRA, 2, 512, false, 4504},
		{"Qwen2.5-1.5B", qwen15, MethodLoRA, 1, 512, false, 5552},
		{"gemma-2-2b", gemma2, MethodLoRA, 1, 512, false, 8993},
		{"llama-160m full", llama160m, MethodFull, 2, 1024, true, 3377},
	}
	total := 0.0
	for _, r := range runs {
		l := load{dims: r.d, method: r.method, adapter: attention(r.d), batch: r.batch, length: r.length, recompute: r.recompute}
		if r.method == MethodFull {
			l.adapter = 0
		}
		got := l.tensors() / mib
		off := got/r.mib - 1
		total += math.Abs(off)
		require.Less(t, math.Abs(off), 0.05, "%s b%d s%d: %.0f MiB, published %.0f", r.name, r.batch, r.length, got, r.mib)
	}
	require.Less(t, total/float64(len(runs)), 0.025)
}

// TestMeasuredCPURuns compares with peak resident sizes of SmolLM2-135M with rank 16 on two cores (labelled positions
// only), each within 10 %.
func TestMeasuredCPURuns(t *testing.T) {
	t.Parallel()
	d := dims(t, catalog.Bundled)
	for _, r := range []struct {
		length, batch       int
		autocast, recompute bool
		gib                 float64
	}{
		{256, 4, false, false, 4.0},
		{256, 4, true, false, 3.3},
		{256, 8, true, false, 5.1},
		{512, 1, true, false, 2.4},
		{512, 4, true, false, 5.1},
		{512, 8, true, false, 9.0},
		{256, 4, true, true, 2.1},
	} {
		l := load{dims: d, method: MethodLoRA, adapter: d.Adapter(16), batch: r.batch, length: r.length, recompute: r.recompute, onCPU: true, autocast: r.autocast}
		got := l.process() / gib
		require.InEpsilon(t, r.gib, got, 0.1, "%d × %d: %.2f GiB, measured %.1f", r.length, r.batch, got, r.gib)
	}
}
