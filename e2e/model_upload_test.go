//go:build e2e

package e2e

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

// TestAnUploadedModelIsTrainedOn: the tiny model, as the worker has made it, is uploaded as a folder and as an archive. It
// trains to the very losses of the tiny model itself, is evaluated, answers, and goes when nothing needs it any more.
func TestAnUploadedModelIsTrainedOn(t *testing.T) {
	t.Parallel()
	p := newSite(t)
	file := filepath.Join(t.TempDir(), "sums.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(rows(60)), 0o600))
	run := func(model string, more ...string) (apigen.Pipeline, float64) {
		stdout, stderr, code := p.cli(append([]string{"run", file, "--model", model, "--config", short, "--json"}, more...)...)
		require.Zero(t, code, stderr)
		done := decoded[apigen.Pipeline](t, stdout)
		job, err := apiclient.Get[apigen.Job](t.Context(), p.Client, "/api/training/"+done.JobID, nil)
		require.NoError(t, err)
		return done, job.Loss
	}
	_, loss := run("tiny-llama", "--skip-deploy", "--skip-evaluate")
	made, err := filepath.Glob(filepath.Join(p.Dir.Root(), "worker", "main", "models", "tiny-llama-*"))
	require.NoError(t, err)
	require.Len(t, made, 1)

	stdout, stderr, code := p.cli("models", "upload", made[0], "--name", "ours", "--json")
	require.Zero(t, code, stderr)
	ours := decoded[apigen.Model](t, stdout)
	require.EqualValues(t, 119_232, ours.Parameters, "as the headers say")
	stdout, stderr, code = p.cli("models", "upload", tarOf(t, made[0]), "--json")
	require.Zero(t, code, stderr)
	packed := decoded[apigen.Model](t, stdout)
	require.Equal(t, ours.Files, packed.Files, "the same files, by their digests")

	shown := map[string]apigen.TokenRows{}
	for _, model := range []string{"tiny-llama", ours.ID} {
		stdout, stderr, code = p.cli("datasets", "tokens", firstDataset(t, p), "--model", model, "--json")
		require.Zero(t, code, stderr)
		rows := decoded[apigen.TokenRows](t, stdout)
		rows.ModelID = ""
		shown[model] = rows
	}
	require.NotEmpty(t, shown[ours.ID].Rows)
	require.Equal(t, shown["tiny-llama"], shown[ours.ID], "its own tokenizer, the same")

	done, same := run(ours.ID)
	require.Equal(t, loss, same)
	require.NotZero(t, loss)
	_, stderr, code = p.cli("chat", done.ModelID, "what is 3 plus 8?", "--max-tokens", "4")
	require.Zero(t, code, stderr)

	_, stderr, code = p.cli("models", "rm", ours.ID)
	require.Equal(t, 7, code, "it is in use: %s", stderr)
	require.Contains(t, stderr, done.ModelID)
	_, stderr, code = p.cli("models", "rm", packed.ID)
	require.Zero(t, code, stderr)
	left, err := filepath.Glob(filepath.Join(p.Dir.Root(), "worker", "main", "runs", "*", "data", "*", "*.safetensors"))
	require.NoError(t, err)
	require.Empty(t, left, "a run that has ended leaves no weights")
}

func decoded[T any](t *testing.T, text string) (v T) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	return v
}

// firstDataset is the id of the dataset that was read first.
func firstDataset(t *testing.T, p *site) string {
	t.Helper()
	page, err := apiclient.Get[apigen.DatasetPage](t.Context(), p.Client, "/api/datasets", nil)
	require.NoError(t, err)
	require.NotEmpty(t, page.Items)
	return page.Items[len(page.Items)-1].ID
}

// tarOf packs a folder's files as `tar -C folder -czf packed.tar.gz .` does.
func tarOf(t *testing.T, folder string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "packed.tar.gz")
	file, err := os.Create(path)
	require.NoError(t, err)
	packed := gzip.NewWriter(file)
	archive := tar.NewWriter(packed)
	require.NoError(t, archive.AddFS(os.DirFS(folder)))
	require.NoError(t, archive.Close())
	require.NoError(t, packed.Close())
	require.NoError(t, file.Close())
	return path
}

// TestModelsThatAreNone are refused before anything is sent, or by the server, and leave nothing.
func TestModelsThatAreNone(t *testing.T) {
	t.Parallel()
	p := newSite(t)
	folder := t.TempDir()
	for _, name := range []string{"config.json", "tokenizer.json", "model.safetensors"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte("{}"), 0o600))
	}
	before, err := apiclient.Get[apigen.ModelPage](t.Context(), p.Client, "/api/models", nil)
	require.NoError(t, err)
	for args, says := range map[string]string{"/nowhere": "/nowhere", folder: "model.safetensors is not a safetensors file", t.TempDir(): "no config.json",
		filepath.Join(folder, "config.json"): "neither a folder nor"} {
		_, stderr, code := p.cli("models", "upload", args)
		require.Contains(t, []int{2, 3}, code, stderr)
		require.Contains(t, stderr, says)
		require.Contains(t, stderr, "try:")
	}
	after, err := apiclient.Get[apigen.ModelPage](t.Context(), p.Client, "/api/models", nil)
	require.NoError(t, err)
	require.Equal(t, len(before.Items), len(after.Items))
}
