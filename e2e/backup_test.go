//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/platform"
)

// outcome is what must be the same wherever a training came to its end.
type outcome struct {
	losses  map[int]string // by step, as the runner printed them
	adapter string         // digest
}

const restoredSteps = 60

// train starts a training with dropout and a checkpoint every 20 steps.
func (p *site) train(ds apigen.Dataset, steps int) apigen.Job {
	p.t.Helper()
	job, err := apiclient.Start[apigen.Job](p.t.Context(), p.Client, "/api/training/start", apigen.StartTraining{DatasetID: ds.ID, ModelID: "tiny-llama",
		Config: apigen.TrainingOverrides{"method": "lora", "epochs": 1, "max_steps": steps, "batch_size": 2, "gradient_accumulation_steps": 1, "max_length": 64, "seed": 7,
			"lora":       map[string]any{"r": 8, "alpha": 8, "dropout": 0.05, "target_modules": "all-linear"},
			"checkpoint": map[string]any{"every_steps": 20, "every_seconds": 0}}})
	require.NoError(p.t, err)
	return job
}

// reaches waits until a training has told of a step.
func (p *site) reaches(job string, step int) {
	p.t.Helper()
	p.follow("/api/training/"+job, func(e contract.Event) bool {
		var m struct{ Step int }
		return e.Type == contract.RunnerMetrics && json.Unmarshal(e.Payload, &m) == nil && m.Step >= step
	})
}

// ends waits until a training is over, and returns what it came to.
func (p *site) ends(id string) outcome {
	p.t.Helper()
	out := outcome{losses: map[int]string{}}
	p.follow("/api/training/"+id, func(e contract.Event) bool {
		var m struct {
			Step int
			Loss json.Number
		}
		if e.Type == contract.RunnerMetrics {
			require.NoError(p.t, json.Unmarshal(e.Payload, &m))
			out.losses[m.Step] = m.Loss.String()
		}
		return false
	})
	job, err := apiclient.Get[apigen.Job](p.t.Context(), p.Client, "/api/training/"+id, nil)
	require.NoError(p.t, err)
	require.Equal(p.t, string(contract.StatusCompleted), string(job.Status), "%+v", job.Error)
	model, err := apiclient.Get[apigen.Model](p.t.Context(), p.Client, "/api/models/"+job.TunedModelID, nil)
	require.NoError(p.t, err)
	for _, file := range model.Files {
		if file.Path == "adapter_model.safetensors" {
			out.adapter = file.SHA256
		}
	}
	require.NotEmpty(p.t, out.adapter)
	return out
}

// restore makes a platform of a backup; before, if any, is called before it starts.
func restore(t *testing.T, from, passphrase string, before func(*platform.Platform)) *site {
	t.Helper()
	p, err := platform.Restored(binary(t), func(folder string) error {
		_, stderr, code := runCLI(t, "restore", from, "--data", folder, "--passphrase-file", passphrase)
		require.Zero(t, code, stderr)
		return nil
	})
	require.NoError(t, err)
	if before != nil {
		before(p)
	}
	return run(t, p)
}

// backup makes an encrypted backup while everything goes on.
func (p *site) backup(to, passphrase string) {
	p.t.Helper()
	stdout, stderr, code := p.cli("backup", "--to", to, "--passphrase-file", passphrase, "--json")
	require.Zero(p.t, code, stderr)
	var report struct {
		Held float64 `json:"held_ms"`
	}
	require.NoError(p.t, json.Unmarshal([]byte(stdout), &report))
	p.t.Logf("the server's writes waited %.1f ms", report.Held)
}

// TestRestoredRuns backs up in the middle of trainings that are not disturbed by it, and restores.
func TestRestoredRuns(t *testing.T) {
	t.Parallel()
	p := newSite(t)
	ds := p.upload("sums.jsonl", rows(200))
	secret, kept := filepath.Join(t.TempDir(), "passphrase"), filepath.Join(t.TempDir(), "kept")
	require.NoError(t, os.WriteFile(secret, []byte("correct horse battery\n"), 0o600))
	first := p.train(ds, restoredSteps)
	p.reaches(first.ID, 30)
	p.backup(kept, secret)
	undisturbed := p.ends(first.ID)
	require.Len(t, undisturbed.losses, restoredSteps)

	t.Run("comes to the end of the undisturbed one, which ended after the backup", func(t *testing.T) {
		later := p.train(ds, 2) // of which the backup knows nothing
		p.ends(later.ID)
		back := restore(t, kept, secret, nil)
		require.Equal(t, undisturbed, back.ends(first.ID))
		_, err := apiclient.Get[apigen.Job](t.Context(), back.Client, "/api/training/"+later.ID, nil)
		require.Equal(t, contract.CodeNotFound, contract.CodeOf(err))
		row, err := apiclient.Get[apigen.Job](t.Context(), back.Client, "/api/training/"+first.ID, nil)
		require.NoError(t, err)
		require.EqualValues(t, 2, row.Epoch, "it was launched once more")
		back.ends(back.train(ds, 2).ID)
		doctor, _, _ := p.cli("doctor", "--json")
		require.Contains(t, doctor, kept, "the last backup")
	})
	// The server was restored, and its worker's folder is of the time after the backup, with a runner in it that still trains for
	// the other life. That one is fenced, and the run comes to its end all the same.
	t.Run("beside a newer worker", func(t *testing.T) {
		job := p.train(ds, restoredSteps)
		p.reaches(job.ID, 25)
		p.backup(kept, secret)
		p.reaches(job.ID, 35)
		for _, process := range []datadir.Process{datadir.ProcessUp, datadir.ProcessWorker, datadir.ProcessServer, datadir.ProcessTemporal} {
			_ = p.Kill(process) // one may leave by itself once up is dead
		}
		alive, err := p.Detached(t.Context())
		require.NoError(t, err)
		back := restore(t, kept, secret, func(r *platform.Platform) {
			worker := filepath.Join(r.Dir.Root(), "worker")
			require.NoError(t, os.Remove(worker))
			require.NoError(t, os.Symlink(filepath.Join(p.Dir.Root(), "worker"), worker))
		})
		require.Equal(t, undisturbed, back.ends(job.ID), "%d runners of the other life were alive", len(alive.Runners))
		left, err := p.Detached(t.Context())
		require.NoError(t, err)
		require.Empty(t, left.Runners, "the other life's runner is gone")
		require.NoError(t, platform.KillPIDs(left.All()...))
	})
}
