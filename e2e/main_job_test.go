//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/loopback/loopbacktest"
)

const short = `{"max_steps":6,"max_length":64,"batch_size":2,"gradient_accumulation_steps":1}`

// TestMainJob does what a user does by CLI: a file becomes a fine-tuned, evaluated, deployed model, is talked to,
// exported, and is still there after everything was killed.
func TestMainJob(t *testing.T) {
	t.Parallel()
	p := newSite(t)
	file := filepath.Join(t.TempDir(), "sums.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(rows(600)), 0o600))

	stdout, stderr, code := p.cli("run", file, "--model", "tiny-llama", "--config", short, "--json")
	require.Zero(t, code, stderr)
	var done apigen.Pipeline
	require.NoError(t, json.Unmarshal([]byte(stdout), &done))
	require.Equal(t, string(contract.StatusCompleted), string(done.Status))
	for _, stage := range done.Stages {
		require.Equal(t, string(contract.StatusCompleted), stage.Status, stage.Stage)
	}
	require.Contains(t, stderr, "✓ train")

	t.Run("the evaluation has a verdict over enough rows", func(t *testing.T) {
		e, err := apiclient.Get[apigen.Evaluation](t.Context(), p.Client, "/api/evaluation/"+done.EvaluationID, nil)
		require.NoError(t, err)
		require.GreaterOrEqual(t, e.Result.Rows, 100)
		require.NotEqual(t, contract.VerdictTooFew, e.Result.Verdict)
		require.LessOrEqual(t, e.Result.LossDeltaCI[0], e.Result.LossDelta)
		require.GreaterOrEqual(t, e.Result.LossDeltaCI[1], e.Result.LossDelta)
		comparison, err := apiclient.Get[apigen.Comparison](t.Context(), p.Client, "/api/evaluation/"+e.ID+"/compare", nil)
		require.NoError(t, err)
		require.NotEmpty(t, comparison.Samples)
	})
	t.Run("the rows that it was trained on show what is learned", func(t *testing.T) {
		stdout, stderr, code := p.cli("datasets", "tokens", done.DatasetID, "--model", "tiny-llama", "--limit", "2")
		require.Zero(t, code, stderr)
		require.Equal(t, 2, strings.Count(stdout, "⟦"), stdout)
	})
	t.Run("training goes on from it", func(t *testing.T) {
		stdout, stderr, code := p.cli("run", done.DatasetID, "--model", done.ModelID, "--config", short, "--json")
		require.Zero(t, code, stderr)
		var on apigen.Pipeline
		require.NoError(t, json.Unmarshal([]byte(stdout), &on))
		first := func(job string) float64 {
			metrics, err := apiclient.Get[apigen.Metrics](t.Context(), p.Client, "/api/training/"+job+"/metrics", nil)
			require.NoError(t, err)
			return *metrics.Points[0].Loss
		}
		require.Less(t, first(on.JobID), first(done.JobID), "it begins where the other left off")
	})
	t.Run("the model answers, also after everything was killed", func(t *testing.T) {
		answer := func() string {
			stdout, stderr, code := p.cli("chat", done.ModelID, "what is 3 plus 8?", "--max-tokens", "8", "--json")
			require.Zero(t, code, stderr)
			return stdout
		}
		before := answer()
		p.restartFromNothing()
		p.follow("/api/deployments/"+done.DeploymentID, func(contract.Event) bool {
			d, err := apiclient.Get[apigen.Deployment](t.Context(), p.Client, "/api/deployments/"+done.DeploymentID, nil)
			require.NoError(t, err)
			return string(d.Status) == string(contract.StatusServing)
		})
		require.Equal(t, before, answer(), "at temperature 0 the same model gives the same answer")
	})
	t.Run("an API key opens /v1 and nothing else", func(t *testing.T) {
		secret, stderr, code := p.cli("keys", "create", "test")
		require.Zero(t, code, stderr)
		key := &apiclient.Client{Base: p.Client.Base, Token: strings.TrimSpace(secret)}
		models, err := apiclient.Get[map[string]any](t.Context(), key, "/v1/models", nil)
		require.NoError(t, err)
		require.Contains(t, models["data"].([]any)[0], "id")
		_, err = apiclient.Get[apigen.JobPage](t.Context(), key, "/api/training", nil)
		require.Equal(t, contract.CodeForbidden, contract.CodeOf(err))
	})
	t.Run("adapter and merged model are downloaded", func(t *testing.T) {
		for format, weights := range map[string]string{"adapter": "adapter_model.safetensors", "merged": "model.safetensors"} {
			to := filepath.Join(t.TempDir(), format)
			_, stderr, code := p.cli("export", done.ModelID, "--format", format, "-o", to)
			require.Zero(t, code, stderr)
			require.FileExists(t, filepath.Join(to, weights))
			require.FileExists(t, filepath.Join(to, "README.md"))
			_, stderr, code = p.cli("export", done.ModelID, "--format", format, "-o", filepath.Join(to, "..", format))
			require.Zero(t, code, "the same again changes nothing: %s", stderr)
			require.NoError(t, os.WriteFile(filepath.Join(to, weights), []byte("another model"), 0o600))
			_, stderr, code = p.cli("export", done.ModelID, "--format", format, "-o", to)
			require.Equal(t, 4, code, stderr)
			require.Contains(t, stderr, weights, "what is there with another content is not overwritten, nor kept in silence")
		}
	})
}

// TestFormats trains a few steps on files that nobody here wrote: ../shared/data, where it is there.
func TestFormats(t *testing.T) {
	t.Parallel()
	folder := os.Getenv("VIBEFLOW_TEST_DATA")
	if folder == "" {
		folder = "../../shared/data"
	}
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("no sample files in %s; set VIBEFLOW_TEST_DATA to a folder that has them", folder)
	}
	p := newSite(t)
	for file, format := range map[string]string{"alpaca_en_demo.json": "alpaca", "glaive_toolcall_en_demo.json": "sharegpt", "wiki_demo.txt": "text"} {
		t.Run(file, func(t *testing.T) {
			stdout, stderr, code := p.cli("run", filepath.Join(folder, file), "--model", "tiny-llama", "--config", short, "--skip-deploy", "--json")
			require.Zero(t, code, stderr)
			var done apigen.Pipeline
			require.NoError(t, json.Unmarshal([]byte(stdout), &done))
			ds, err := apiclient.Get[apigen.Dataset](t.Context(), p.Client, "/api/datasets/"+done.DatasetID, nil)
			require.NoError(t, err)
			require.Equal(t, format, ds.Format)
		})
	}
	t.Run("preference pairs are read, and training on them is refused with the reason", func(t *testing.T) {
		stdout, stderr, code := p.cli("datasets", "upload", filepath.Join(folder, "dpo_en_demo.json"), "--json")
		require.Zero(t, code, stderr)
		var ds apigen.Dataset
		require.NoError(t, json.Unmarshal([]byte(stdout), &ds))
		require.Equal(t, "preference", ds.Format)
		require.NotEmpty(t, ds.Profile)
		_, stderr, code = p.cli("jobs", "start", "--dataset", ds.ID, "--model", "tiny-llama")
		require.NotZero(t, code)
		require.Contains(t, stderr, "preference")
	})
}

// TestOddColumns: a CSV whose columns nobody could guess is understood with a mapping.
func TestOddColumns(t *testing.T) {
	t.Parallel()
	p := newSite(t)
	var csv strings.Builder
	csv.WriteString("Ticket;Frage des Kunden;Antwort\n")
	for i := range 60 {
		fmt.Fprintf(&csv, "%d;\"Wie geht %d, bitte?\";Über Schritt %d.\n", i, i, i)
	}
	file := filepath.Join(t.TempDir(), "tickets.csv")
	require.NoError(t, os.WriteFile(file, []byte(csv.String()), 0o600))
	_, stderr, code := p.cli("datasets", "upload", file)
	require.Equal(t, 8, code)
	require.Contains(t, stderr, "Frage des Kunden", "the columns that are there are named")
	stdout, stderr, code := p.cli("run", file, "--map", "prompt=Frage des Kunden,completion=Antwort", "--model", "tiny-llama",
		"--config", short, "--skip-deploy", "--json")
	require.Zero(t, code, stderr)
	var done apigen.Pipeline
	require.NoError(t, json.Unmarshal([]byte(stdout), &done))
	require.Equal(t, string(contract.StatusCompleted), string(done.Status))
	readings := 0
	p.follow("/api/datasets/"+done.DatasetID, func(e contract.Event) bool {
		if e.Type == contract.EventType(contract.KindDataset, contract.EventProfiled) {
			readings++
		}
		return false
	})
	require.Equal(t, 1, readings, "the mapping goes along with the file")

	stdout, stderr, code = p.cli("datasets", "process", done.DatasetID, "--eval-rows", "5", "--json")
	require.Zero(t, code, stderr)
	var again apigen.Dataset
	require.NoError(t, json.Unmarshal([]byte(stdout), &again))
	require.EqualValues(t, 5, again.EvalRows)
	require.Equal(t, map[string]string{"prompt": "Frage des Kunden", "completion": "Antwort"}, again.Options.Mapping, "what is not named stays")
}

// TestClientsMakeNothing: a command that asks a server leaves nothing where none has ever been.
func TestClientsMakeNothing(t *testing.T) {
	t.Parallel()
	data, file := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "x.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(rows(3)), 0o600))
	for _, args := range [][]string{{"jobs", "list"}, {"models", "add", "hub:a/b"}, {"chat", "model_1", "hi"}, {"open"}, {"run", file},
		{"jobs", "list", "--server", "http://127.0.0.1:1"}, {"demo", "--server", "http://127.0.0.1:1"}} {
		_, stderr, code := runCLI(t, append(args, "--data", data)...)
		want := 5
		if slices.Contains(args, "--server") {
			want = 6 // there is no token to sign in with
		}
		require.Equal(t, want, code, "%v: %s", args, stderr)
		require.NoDirExists(t, data, args)
	}
	_, stderr, _ := runCLI(t, "jobs", "list", "--data", data)
	require.Contains(t, stderr, data)
	require.Contains(t, stderr, "vibeflow up")
}

// TestAFailedStageWaitsForARetry: a model whose files are there by name and are no model fails the training. The user is
// told how to go on, and following the pipeline again does not stop at the failure before.
func TestAFailedStageWaitsForARetry(t *testing.T) {
	t.Parallel()
	p := newSite(t)
	model, file := t.TempDir(), filepath.Join(t.TempDir(), "sums.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(rows(20)), 0o600))
	for _, name := range []string{"config.json", "tokenizer.json", "model.safetensors"} {
		require.NoError(t, os.WriteFile(filepath.Join(model, name), []byte("{}"), 0o600))
	}
	_, stderr, code := p.cli("run", file, "--model", "path:"+model, "--config", short, "--skip-deploy")
	require.Equal(t, 8, code, stderr)
	pipelines, err := apiclient.Get[apigen.PipelinePage](t.Context(), p.Client, "/api/pipelines", nil)
	require.NoError(t, err)
	id := pipelines.Items[0].ID
	require.Contains(t, stderr, "pipelines retry "+id)

	_, stderr, code = p.cli("pipelines", "retry", id)
	require.Zero(t, code, stderr)
	_, again, code := p.cli("pipelines", "watch", id)
	require.Equal(t, 8, code, again)
	require.Contains(t, again, "pipelines retry "+id, "it failed again, and says so")
	watched, err := apiclient.Get[apigen.Pipeline](t.Context(), p.Client, "/api/pipelines/"+id, nil)
	require.NoError(t, err)
	require.Equal(t, string(contract.StatusFailed), string(watched.Status))

	stdout, stderr, code := p.cli("pipelines", "cancel", id)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "cancelling")
	_, stderr, code = p.cli("pipelines", "watch", id)
	require.Equal(t, 8, code)
	require.Contains(t, stderr, "the pipeline was cancelled")
}

// TestRefusals reads each refusal as the person who gets it: what is wrong, where, and what to do.
func TestRefusals(t *testing.T) {
	t.Parallel()
	p := newSite(t)
	write := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	cases := []struct {
		name string
		args []string
		says string
		code int
	}{
		{"a file that was cut off names its line", []string{"datasets", "upload", write("a.jsonl", rows(3)+"{\"messages\": [")}, "line 4", 8},
		{"an empty file", []string{"datasets", "upload", write("b.jsonl", "")}, "empty", 2},
		{"one row", []string{"datasets", "upload", write("c.jsonl", rows(1))}, "row", 8},
		{"a picture", []string{"datasets", "upload", write("d.jsonl", "\x89PNG\r\n\x1a\n"+strings.Repeat("x", 100))}, "PNG", 2},
		{"a picture to run on", []string{"run", write("d2.jsonl", "\x89PNG\r\n\x1a\n"+strings.Repeat("x", 100))}, "PNG", 2},
		{"a model that is not there", []string{"models", "add", "path:/nowhere/model"}, "/nowhere/model", 2},
		{"a base that is not there", []string{"run", write("d3.jsonl", rows(20)), "--model", "path:/nowhere/model"}, "/nowhere/model", 2},
		{"a file that is not there", []string{"datasets", "upload", "/nowhere/x.jsonl"}, "/nowhere/x.jsonl", 3},
		{"an unknown model", []string{"run", write("e.jsonl", rows(20)), "--model", "no-such-model"}, "no-such-model", 2},
		{"an impossible configuration", []string{"run", write("f.jsonl", rows(20)), "--model", "tiny-llama", "--config", `{"learning_rate":-1}`}, "learning_rate", 2},
		{"an unknown setting", []string{"run", write("g.jsonl", rows(20)), "--model", "tiny-llama", "--config", `{"lerning_rate":1}`}, "lerning_rate", 2},
		{"a word that is no command", []string{"jobs", "bogus"}, "bogus", 2},
		{"an unknown job", []string{"jobs", "pause", "job_nope"}, "job_nope", 3},
		{"no server there", []string{"jobs", "list", "--server", "http://127.0.0.1:1"}, "vibeflow up", 5},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, stderr, code := p.cli(c.args...)
			require.Contains(t, stderr, c.says)
			require.Equal(t, c.code, code, stderr)
			if c.args[0] == "run" {
				require.NotContains(t, stderr, "✓", "refused before anything is sent")
			}
		})
	}
	t.Run("a data folder in use", func(t *testing.T) {
		_, stderr, code := p.cli("up", "--listen", loopbacktest.Free(t))
		require.Equal(t, 7, code, stderr)
		require.Contains(t, stderr, "in use")
	})
	t.Run("a port that is taken", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { require.NoError(t, listener.Close()) }()
		_, stderr, code := runCLI(t, "up", "--data", t.TempDir(), "--listen", listener.Addr().String())
		require.Equal(t, 7, code, stderr)
		require.Contains(t, stderr, "taken")
	})
}
