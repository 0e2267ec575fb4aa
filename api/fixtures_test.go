package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/store"
)

const (
	baseModel  = "tiny-llama"
	tunedModel = "model_tuned"
)

func (w *world) object(content []byte) contract.ObjectRef {
	w.t.Helper()
	o, err := w.artifacts.Put(w.t.Context(), artifact.PutInput{Reader: bytes.NewReader(content)})
	require.NoError(w.t, err)
	return contract.ObjectRef{ObjectID: o.ID, SHA256: o.SHA256, Size: o.Size}
}

func (w *world) create(kind contract.Kind, id string, payload any) string {
	w.t.Helper()
	_, err := w.store.Create(w.t.Context(), store.Creation{Kind: kind, ID: id, Payload: payload})
	require.NoError(w.t, err)
	return id
}

// tell appends an event to a resource's stream.
func (w *world) tell(kind contract.Kind, id, suffix string, payload any) {
	w.t.Helper()
	w.append(contract.Stream(kind, id), contract.EventType(kind, suffix), payload)
}

func (w *world) append(stream, event string, payload any) {
	w.t.Helper()
	data, err := json.Marshal(payload)
	require.NoError(w.t, err)
	_, err = w.store.Append(w.t.Context(), stream, contract.NewEvent{Type: event, Payload: data})
	require.NoError(w.t, err)
}

// models adds a base and one tuned from it.
func (w *world) models() {
	w.t.Helper()
	require.NoError(w.t, w.store.UpsertCatalog(w.t.Context(), []store.Model{{ID: baseModel, Name: "Tiny", Source: "tiny:llama",
		Ref: contract.ModelRef{Source: "tiny:llama"}, Dims: json.RawMessage(`{"layers":2}`)}}))
	_, err := w.store.CreateModel(w.t.Context(), store.Model{ID: tunedModel, ProjectID: store.DefaultProject, Name: "tuned",
		Source: "job", BaseModelID: baseModel, JobID: "job_done", Method: "lora"})
	require.NoError(w.t, err)
}

// dataset adds one that is queued; ready takes it further.
func (w *world) dataset(id string) string {
	w.t.Helper()
	file := w.object([]byte("the file"))
	return w.create(contract.KindDataset, id, contract.DatasetCreated{ProjectID: store.DefaultProject, Name: "questions",
		FileName: "q.jsonl", ObjectID: file.ObjectID, SHA256: file.SHA256, Size: file.Size})
}

func (w *world) ready(id, canonical string) string {
	w.t.Helper()
	w.dataset(id)
	w.tell(contract.KindDataset, id, contract.EventProfiled, map[string]any{"rows": 5, "preview": []map[string]any{
		{"row": 1, "raw": map[string]any{"q": "one"}}, {"row": 2, "raw": map[string]any{"q": "two"}}}})
	var lines strings.Builder
	for i := range 5 {
		fmt.Fprintf(&lines, `{"prompt":"%d","completion":"answer"}`+"\n", i)
	}
	train, eval := w.object([]byte(lines.String())), w.object([]byte(`{"prompt":"held","completion":"out"}`+"\n"))
	w.tell(contract.KindDataset, id, contract.EventCompleted, contract.DatasetProcessed{Format: "prompt_completion", Canonical: canonical,
		Rows: 6, TrainRows: 5, EvalRows: 1, Train: &train, Eval: &eval})
	return id
}

// job adds a queued training job.
func (w *world) job(id string) string {
	w.t.Helper()
	w.create(contract.KindJob, id, contract.JobCreated{ProjectID: store.DefaultProject, Name: id, DatasetID: "ds_ready", ModelID: baseModel,
		Model: contract.ModelRef{Source: "tiny:llama", Token: hubSecret}, Queue: "cpu", Config: contract.Training{Method: "lora", LearningRate: 1e-4,
			BatchSize: 1, GradientAccumulationSteps: 1, MaxLength: 64, LoRA: contract.LoRA{Rank: 8, Alpha: 8}, Precision: "auto", Scheduler: "cosine"}})
	w.tell(contract.KindJob, id, contract.EventQueued, contract.Queued{Queue: "cpu"})
	return id
}

const (
	hubSecret    = "hf_a_secret_of_the_hub"
	engineSecret = "the-engine's-secret"
)

// deployment adds one that an engine serves.
func (w *world) deployment(id, model, url, name string) string {
	w.t.Helper()
	w.create(contract.KindDeployment, id, contract.DeploymentCreated{ProjectID: store.DefaultProject, ModelID: model, Queue: "cpu.serve"})
	if url != "" {
		w.tell(contract.KindDeployment, id, contract.EventServing, contract.Serving{Worker: "host/1/boot", URL: url, Token: engineSecret, Name: name, Device: "cpu"})
	}
	return id
}

func (w *world) evaluation(id string) string {
	w.t.Helper()
	w.create(contract.KindEvaluation, id, contract.EvaluationCreated{ProjectID: store.DefaultProject, ModelID: tunedModel, DatasetID: "ds_ready", Queue: "cpu"})
	w.tell(contract.KindEvaluation, id, contract.EventCompleted, contract.EvaluationResult{Rows: 3, LossBase: 2, LossTuned: 1, LossDelta: -1,
		LossDeltaCI: [2]float64{-1.5, -0.5}, Verdict: contract.VerdictTooFew, VerdictText: "too few rows", Samples: []contract.EvaluationSample{
			{Row: 1, LossBase: 2, LossTuned: 1}, {Row: 2, LossBase: 1, LossTuned: 3}, {Row: 3, LossBase: 1, LossTuned: 1}}})
	return id
}

// export adds a completed one with one file.
func (w *world) export(id string, content []byte) contract.FileInfo {
	w.t.Helper()
	w.create(contract.KindExport, id, contract.ExportCreated{ProjectID: store.DefaultProject, ModelID: tunedModel, Format: "adapter", Queue: "cpu"})
	file := w.handIn(id, contract.Manifest{Kind: "adapter", Name: "export"}, content)
	w.tell(contract.KindExport, id, contract.EventCompleted, contract.ExportOutput{Files: 1, Bytes: file.Size})
	return file
}

// handIn commits an artifact of one file, as a worker does at the end of a run.
func (w *world) handIn(run string, manifest contract.Manifest, content []byte) contract.FileInfo {
	w.t.Helper()
	claim, err := w.store.ClaimRun(w.t.Context(), store.RunClaim{RunID: run, Nonce: "n"})
	require.NoError(w.t, err)
	fence, object := store.Fence{RunID: run, Epoch: claim.Epoch, Nonce: "n"}, w.object(content)
	require.NoError(w.t, w.store.AddRunBlob(w.t.Context(), fence, object))
	file := contract.FileInfo{Path: "adapter/weights.safetensors", SHA256: object.SHA256, Size: object.Size}
	manifest.Files = []contract.FileInfo{file}
	require.NoError(w.t, w.store.CommitArtifact(w.t.Context(), fence, manifest))
	return file
}

func (w *world) pipeline(id string) string {
	w.t.Helper()
	return w.create(contract.KindPipeline, id, contract.PipelineCreated{ProjectID: store.DefaultProject, Name: id,
		Request: contract.PipelineRequest{DatasetID: "ds_ready"}})
}

// everything is a world in which each kind has one resource.
func everything(w *world) map[string]string {
	w.t.Helper()
	w.models()
	w.export("exp_1", []byte("weights"))
	return map[string]string{"datasets": w.ready("ds_ready", "prompt_completion"), "models": tunedModel, "training": w.job("job_1"),
		"evaluation": w.evaluation("eval_1"), "deployments": w.deployment("dep_1", tunedModel, "http://127.0.0.1:1", "dep_1"),
		"exports": "exp_1", "pipelines": w.pipeline("pipe_1"), "keys": "key_1"}
}
