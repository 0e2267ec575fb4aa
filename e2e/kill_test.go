//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/datadir"
)

// Two epochs over 240 rows in batches of 2: steps 1–120 are epoch 1, 121–240 epoch 2. Another 100 rows are held out.
const (
	trainRows  = 240
	totalSteps = 240
	inEpoch1   = 40
	inEpoch2   = 150
)

var tinyConfig = apigen.TrainingOverrides{
	"method": "lora", "epochs": 2, "max_steps": 0, "batch_size": 2, "gradient_accumulation_steps": 1, "max_length": 64,
	"learning_rate": 0.001, "precision": "fp32", "seed": 7,
	"lora":       map[string]any{"r": 8, "alpha": 8, "dropout": 0.05, "target_modules": "all-linear"},
	"checkpoint": map[string]any{"every_steps": 30, "every_seconds": 0},
}

func with(overrides apigen.TrainingOverrides, key string, value any) apigen.TrainingOverrides {
	out := apigen.TrainingOverrides{key: value}
	for k, v := range overrides {
		if k != key {
			out[k] = v
		}
	}
	return out
}

// told is what a run told: what must not differ between an undisturbed and a disturbed one.
type told struct {
	losses  map[int]string // by step, as the runner printed them
	samples map[int]string
	adapter string
	seqs    []int64
}

// run is one training job, watched live from start to end.
type run struct {
	p    *site
	id   string
	told told
	mu   sync.Mutex
}

func (p *site) train(ds apigen.Dataset, config apigen.TrainingOverrides) *run {
	p.t.Helper()
	job, err := apiclient.Start[apigen.Job](p.t.Context(), p.Client, "/api/training/start",
		apigen.StartTraining{DatasetID: ds.ID, ModelID: "tiny-llama", Config: config})
	require.NoError(p.t, err)
	return &run{p: p, id: job.ID, told: told{losses: map[int]string{}, samples: map[int]string{}}}
}

// at waits until the run has told of a step, and calls disturb once.
func (r *run) at(step int, disturb func()) *run {
	r.p.t.Helper()
	r.p.follow("/api/training/"+r.id, func(e contract.Event) bool { return stepOf(e) >= step })
	disturb()
	return r
}

func stepOf(e contract.Event) int {
	var m struct{ Step int }
	if e.Type != contract.RunnerMetrics || json.Unmarshal(e.Payload, &m) != nil {
		return 0
	}
	return m.Step
}

// finish watches the run to its end and returns all that it told, first event to last.
func (r *run) finish() told {
	t := r.p.t
	t.Helper()
	r.p.follow("/api/training/"+r.id, func(e contract.Event) bool {
		r.told.seqs = append(r.told.seqs, e.Seq)
		r.take(e)
		return false
	})
	job := r.job()
	require.Equal(t, string(contract.StatusCompleted), string(job.Status), "%+v", job.Error)
	require.Equal(t, totalSteps, job.Step)
	for i, seq := range r.told.seqs {
		require.Equal(t, int64(i+1), seq, "the event stream is gapless and tells nothing twice")
	}
	model, err := apiclient.Get[apigen.Model](t.Context(), r.p.Client, "/api/models/"+job.TunedModelID, nil)
	require.NoError(t, err)
	for _, file := range model.Files {
		if file.Path == "adapter_model.safetensors" {
			r.told.adapter = file.SHA256
		}
	}
	require.NotEmpty(t, r.told.adapter)
	return r.told
}

// take notes a step; one that is trained again must bring what it brought before.
func (r *run) take(e contract.Event) {
	if e.Type != contract.RunnerMetrics {
		return
	}
	var m struct {
		Step    int         `json:"step"`
		Loss    json.Number `json:"loss"`
		Samples string      `json:"samples"`
	}
	require.NoError(r.p.t, json.Unmarshal(e.Payload, &m))
	if before, again := r.told.losses[m.Step]; again {
		require.Equal(r.p.t, before, m.Loss.String(), "step %d was trained again and brought another loss", m.Step)
	}
	r.told.losses[m.Step], r.told.samples[m.Step] = m.Loss.String(), m.Samples
}

func (r *run) job() apigen.Job {
	r.p.t.Helper()
	job, err := apiclient.Get[apigen.Job](r.p.t.Context(), r.p.Client, "/api/training/"+r.id, nil)
	require.NoError(r.p.t, err)
	return job
}

func (r *run) command(verb string) {
	r.p.t.Helper()
	_, err := apiclient.Post[apigen.Job](r.p.t.Context(), r.p.Client, "/api/training/"+r.id+"/"+verb, nil)
	require.NoError(r.p.t, err)
}

func (r *run) awaitStatus(want contract.Status) {
	r.p.t.Helper()
	r.p.follow("/api/training/"+r.id, func(contract.Event) bool { return string(r.job().Status) == string(want) })
	require.Equal(r.p.t, string(want), string(r.job().Status))
}

func (r *run) killRunner() {
	r.p.t.Helper()
	pid, alive := r.p.Runner(r.id)
	require.True(r.p.t, alive, "no runner of %s lives", r.id)
	killPID(r.p.t, pid)
}

// TestKillAnything is the promise: whatever dies, the same run finishes by itself with the result it would have had.
func TestKillAnything(t *testing.T) {
	p := newSite(t)
	ds := p.upload("train.jsonl", rows(trainRows+100))
	undisturbed := map[string]told{}
	reference := func(precision string) told {
		if _, done := undisturbed[precision]; !done {
			undisturbed[precision] = p.train(ds, with(tinyConfig, "precision", precision)).finish()
		}
		return undisturbed[precision]
	}

	cells := []struct {
		name, precision string
		step            int
		disturb         func(r *run)
	}{
		{"runner in epoch 1", "fp32", inEpoch1, (*run).killRunner},
		{"runner in epoch 2, bf16 autocast", "bf16", inEpoch2, (*run).killRunner},
		{"worker", "fp32", inEpoch1, func(r *run) {
			pid, _ := p.Runner(r.id)
			p.kill(datadir.ProcessWorker)
			r.at(inEpoch2, func() {})
			now, alive := p.Runner(r.id)
			require.True(t, !alive || now == pid, "the new worker takes the live runner over")
		}},
		{"server", "fp32", inEpoch1, func(*run) { p.kill(datadir.ProcessServer) }},
		{"temporal", "fp32", inEpoch2, func(*run) { p.kill(datadir.ProcessTemporal) }},
		{"everything in epoch 2", "fp32", inEpoch2, func(r *run) { p.restartFromNothing(r.id) }},
		{"everything while paused", "fp32", inEpoch1, func(r *run) {
			r.command("pause")
			r.awaitStatus(contract.StatusPaused)
			p.restartFromNothing(r.id)
			require.Equal(t, string(contract.StatusPaused), string(r.job().Status), "a pause survives")
			r.command("resume")
		}},
	}
	for _, cell := range cells {
		t.Run(cell.name, func(t *testing.T) {
			want := reference(cell.precision)
			r := p.train(ds, with(tinyConfig, "precision", cell.precision))
			got := r.at(cell.step, func() { cell.disturb(r) }).finish()
			require.Equal(t, want.losses, got.losses, "the loss at every step")
			require.Equal(t, want.samples, got.samples, "the order of the samples")
			require.Equal(t, want.adapter, got.adapter, "the adapter, bit for bit")
		})
	}
	t.Run("no process is left over", func(t *testing.T) {
		require.NoError(t, p.Stop())
		requireNoOrphans(t, p.Dir.Root())
	})
}

// rows makes n short questions and answers, each different.
func rows(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"messages":[{"role":"user","content":"what is %d plus %d?"},{"role":"assistant","content":"%d plus %d is %d."}]}`+"\n", i, i*7%13, i, i*7%13, i+i*7%13)
	}
	return b.String()
}
