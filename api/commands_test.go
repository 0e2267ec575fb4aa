package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api"
	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
)

// signals are those that wait for Temporal.
func (w *world) signals() []contract.Signal {
	w.t.Helper()
	entries, err := w.store.PendingOutbox(w.t.Context(), 100)
	require.NoError(w.t, err)
	var signals []contract.Signal
	for _, e := range entries {
		if e.Signal != nil {
			signals = append(signals, *e.Signal)
		}
	}
	return signals
}

func TestPauseResumeCancelFollowTheStates(t *testing.T) {
	w := newWorld(t)
	everything(w)
	w.post("/api/training/job_1/resume", nil).problem(http.StatusConflict)
	require.Equal(t, apigen.Status("pausing"), into[apigen.Job](w.post("/api/training/job_1/pause", nil), http.StatusAccepted).Status)
	require.Equal(t, []contract.Signal{{WorkflowID: "train/job_1", Name: contract.SignalPause}}, w.signals())

	p := w.post("/api/training/job_1/pause", nil).problem(http.StatusConflict)
	require.Contains(t, p.Detail, "pausing")
	require.Contains(t, p.Remedy, "cancel")
	require.Equal(t, apigen.Status("resuming"), into[apigen.Job](w.post("/api/training/job_1/resume", nil), http.StatusAccepted).Status)
	require.Equal(t, apigen.Status("pausing"), into[apigen.Job](w.post("/api/training/job_1/pause", nil), http.StatusAccepted).Status)

	w.tell(contract.KindJob, "job_1", contract.EventPaused, contract.Paused{Step: 7})
	p = w.post("/api/training/job_1/pause", nil).problem(http.StatusConflict)
	require.Contains(t, p.Remedy, "resume")
	require.Equal(t, apigen.Status("queued"), into[apigen.Job](w.post("/api/training/job_1/resume", nil), http.StatusAccepted).Status)
	require.Equal(t, apigen.Status("stopping"), into[apigen.Job](w.post("/api/training/job_1/cancel", map[string]bool{"keep": true}), http.StatusAccepted).Status)
	w.tell(contract.KindJob, "job_1", contract.EventPaused, contract.Paused{Step: 7, Error: contract.Errorf(contract.CodeDiskFull, "no room")})
	p = w.post("/api/training/job_1/cancel", map[string]bool{"keep": true}).problem(http.StatusConflict)
	require.Equal(t, "keep", p.Field, "what was not saved cannot be kept, and is not thrown away")
	require.Contains(t, p.Remedy, "resume it")
	require.Equal(t, apigen.Status("paused"), into[apigen.Job](w.get("/api/training/job_1"), http.StatusOK).Status)
	w.handIn("job_1", contract.Manifest{Kind: "adapter", Name: "adapter"}, []byte("weights"))
	require.Equal(t, apigen.Status("stopping"), into[apigen.Job](w.post("/api/training/job_1/cancel", map[string]bool{"keep": true}), http.StatusAccepted).Status)

	w.tell(contract.KindJob, "job_1", contract.EventCancelled, struct{}{})
	for _, verb := range []string{"pause", "resume", "cancel"} {
		p := w.post("/api/training/job_1/"+verb, nil).problem(http.StatusConflict)
		require.Equal(t, "conflict", p.Code)
		require.Contains(t, p.Detail, "cancelled")
		require.NotEmpty(t, p.Remedy)
	}
	for _, verb := range []string{"pause", "resume", "cancel"} {
		require.Equal(t, "id", w.post("/api/training/job_none/"+verb, nil).problem(http.StatusNotFound).Field)
	}
}

// TestAJobThatWaitsForRoomCanBePaused: it would go on by itself, and stays once its user says so.
func TestAJobThatWaitsForRoomCanBePaused(t *testing.T) {
	w := newWorld(t)
	everything(w)
	waits := contract.Paused{Step: 7, Error: contract.Errorf(contract.CodeDiskFull, "no room"), GoesOn: true}
	show := func() apigen.Job { return into[apigen.Job](w.get("/api/training/job_1"), http.StatusOK) }
	w.tell(contract.KindJob, "job_1", contract.EventPaused, waits)
	require.True(t, show().GoesOn)
	require.Equal(t, apigen.Status("pausing"), into[apigen.Job](w.post("/api/training/job_1/pause", nil), http.StatusAccepted).Status)
	require.Equal(t, []contract.Signal{{WorkflowID: "train/job_1", Name: contract.SignalPause}}, w.signals())
	w.tell(contract.KindJob, "job_1", contract.EventPaused, contract.Paused{Step: 7})
	job := show()
	require.Equal(t, apigen.Status("paused"), job.Status)
	require.False(t, job.GoesOn)
	require.Empty(t, job.Error)
	w.post("/api/training/job_1/pause", nil).problem(http.StatusConflict)
}

func TestOtherCommandsAreRefusedByState(t *testing.T) {
	w := newWorld(t)
	everything(w)
	for _, path := range []string{"/api/evaluation/eval_1/cancel", "/api/pipelines/pipe_1/confirm", "/api/pipelines/pipe_1/retry"} {
		w.post(path, nil).problem(http.StatusConflict)
	}
	w.dataset("ds_queued")
	w.post("/api/datasets/ds_queued/process", map[string]any{}).problem(http.StatusConflict)
	w.get("/api/datasets/ds_queued/preview?split=train").problem(http.StatusConflict)

	require.Equal(t, apigen.Status("stopping"), into[apigen.Deployment](w.call(http.MethodDelete, "/api/deployments/dep_1", nil), http.StatusAccepted).Status)
	w.tell(contract.KindDeployment, "dep_1", contract.EventStopped, struct{}{})
	w.call(http.MethodDelete, "/api/deployments/dep_1", nil).problem(http.StatusConflict)
}

func TestTrainingStarts(t *testing.T) {
	w := newWorld(t)
	everything(w)
	job := into[apigen.Job](w.post("/api/training/start", map[string]any{"dataset_id": "ds_ready", "model_id": baseModel, "name": "mine",
		"config": map[string]any{"learning_rate": 1e-3, "lora": map[string]any{"r": 4}}}), http.StatusCreated)
	require.Equal(t, "mine", job.Name)
	require.Equal(t, "cpu", job.Queue)
	require.InDelta(t, 1e-3, job.Config.LearningRate, 1e-12)
	require.Equal(t, contract.LoRA{Rank: 4, Alpha: 16, TargetModules: "all-linear"}, job.Config.LoRA, "what is not named stays the recommender's")
	row, err := w.store.GetJob(t.Context(), job.ID)
	require.NoError(t, err)
	require.Equal(t, "tiny:llama", row.Model.Source)

	w.append("worker", "noise", struct{}{})
	require.NoError(t, w.store.SaveWorkerReport(t.Context(), contract.WorkerReport{ID: "h/1", Queue: "gpu.h200", Slots: 1}))
	require.Equal(t, "gpu.h200", into[apigen.Job](w.post("/api/training/start", map[string]any{"dataset_id": "ds_ready"}), http.StatusCreated).Queue)
}

func TestTrainingIsCheckedBeforeThereIsData(t *testing.T) {
	w := newWorld(t)
	w.models()
	check := func(body map[string]any) answer { return w.post("/api/training/check", body) }
	for _, body := range []map[string]any{{}, {"model_id": baseModel}, {"model_id": baseModel, "config": map[string]any{"learning_rate": 1e-3, "lora": map[string]any{"r": 4}}},
		{"model_id": "hub:owner/name"}, {"model_id": "path:/models/mine"}} {
		require.Equal(t, http.StatusNoContent, check(body).status, body)
	}
	require.Len(t, into[apigen.ModelPage](w.get("/api/models"), http.StatusOK).Items, 2, "a check adds no model")
	for field, c := range map[string]struct {
		body   map[string]any
		status int
	}{
		"config.learning_rat": {map[string]any{"config": map[string]any{"learning_rat": 1}}, http.StatusBadRequest},
		"config.method":       {map[string]any{"config": map[string]any{"method": "magic"}}, http.StatusBadRequest},
		"learning_rate":       {map[string]any{"config": map[string]any{"learning_rate": -1}}, http.StatusUnprocessableEntity},
		"model_id":            {map[string]any{"model_id": "no-such-model"}, http.StatusBadRequest},
	} {
		p := check(c.body).problem(c.status)
		require.Equal(t, field, p.Field)
		require.NotEmpty(t, p.Remedy)
	}
	w.dataset("ds_queued")
	p := w.post("/api/pipelines", map[string]any{"dataset_id": "ds_queued", "config": map[string]any{"learning_rate": -1}}).problem(http.StatusUnprocessableEntity)
	require.Equal(t, "learning_rate", p.Field, "also while the data is being read")
}

func TestTrainingThatCannotBeIsRefused(t *testing.T) {
	w := newWorld(t)
	everything(w)
	w.ready("ds_pairs", "preference")
	w.dataset("ds_queued")
	w.dataset("ds_failed")
	w.tell(contract.KindDataset, "ds_failed", contract.EventFailed, contract.Errorf(contract.CodeBadData, "line 3 is not JSON"))
	for name, c := range map[string]struct {
		body   string
		status int
		field  string
		says   string
	}{
		"no such dataset":   {`{"dataset_id":"ds_none"}`, http.StatusNotFound, "dataset_id", "ds_none"},
		"not read yet":      {`{"dataset_id":"ds_queued"}`, http.StatusConflict, "dataset_id", "still being read"},
		"could not be read": {`{"dataset_id":"ds_failed"}`, http.StatusConflict, "dataset_id", "line 3"},
		"preference pairs":  {`{"dataset_id":"ds_pairs"}`, http.StatusUnsupportedMediaType, "dataset_id", "preference"},
		"impossible value":  {`{"dataset_id":"ds_ready","config":{"learning_rate":-1}}`, http.StatusUnprocessableEntity, "learning_rate", "-1"},
		"unknown field":     {`{"dataset_id":"ds_ready","config":{"magic":1}}`, http.StatusBadRequest, "config.magic", "no such field"},
	} {
		for _, path := range []string{"/api/training/start", "/api/pipelines"} {
			if path == "/api/pipelines" && name == "not read yet" {
				continue // a pipeline waits for its dataset
			}
			p := w.post(path, c.body).problem(c.status)
			require.Equal(t, c.field, p.Field, name)
			require.Contains(t, p.Detail, c.says, name)
		}
	}
	w.post("/api/training/start", `{"dataset_id":"ds_ready","model_id":"no such"}`).problem(http.StatusBadRequest)
	require.Equal(t, "model_id", w.post("/api/pipelines", `{"dataset_id":"ds_queued","model_id":"no such"}`).problem(http.StatusBadRequest).Field)
	require.Len(t, into[apigen.JobPage](w.get("/api/training"), http.StatusOK).Items, 1, "a refusal leaves no job")
	require.Len(t, into[apigen.PipelinePage](w.get("/api/pipelines"), http.StatusOK).Items, 1)
}

func TestConfirmChecksChanges(t *testing.T) {
	w := newWorld(t)
	everything(w)
	proposal, err := w.advise(t.Context(), contract.RecommendInput{DatasetID: "ds_ready"})
	require.NoError(t, err)
	w.tell(contract.KindPipeline, "pipe_1", contract.EventProposed, proposal)
	confirm := "/api/pipelines/pipe_1/confirm"
	require.Equal(t, "learning_rate", w.post(confirm, `{"config":{"learning_rate":0}}`).problem(http.StatusUnprocessableEntity).Field)
	require.Equal(t, "model_id", w.post(confirm, `{"model_id":"none"}`).problem(http.StatusBadRequest).Field)
	require.Empty(t, w.signals())
	into[apigen.Pipeline](w.post(confirm, `{"config":{"epochs":2}}`), http.StatusAccepted)
	require.Len(t, w.signals(), 1)
	require.Contains(t, string(w.signals()[0].Input), `"epochs":2`)
	w.post(confirm, nil).problem(http.StatusConflict)
}

func TestEvaluationsAndExportsWantATunedModel(t *testing.T) {
	w := newWorld(t)
	everything(w)
	for _, path := range []string{"/api/evaluation/start", "/api/exports"} {
		require.Equal(t, "model_id", w.post(path, map[string]string{"model_id": baseModel}).problem(http.StatusConflict).Field)
		require.Equal(t, "model_id", w.post(path, map[string]string{"model_id": "none"}).problem(http.StatusNotFound).Field)
	}
	into[apigen.Evaluation](w.post("/api/evaluation/start", map[string]string{"model_id": tunedModel, "dataset_id": "ds_ready"}), http.StatusCreated)
	into[apigen.Export](w.post("/api/exports", map[string]string{"model_id": tunedModel, "format": "merged"}), http.StatusCreated)
	w.post("/api/exports", map[string]string{"model_id": tunedModel, "format": "zip"}).problem(http.StatusBadRequest)
}

func TestComparisonShowsRegressionsFirst(t *testing.T) {
	w := newWorld(t)
	everything(w)
	c := into[apigen.Comparison](w.get("/api/evaluation/eval_1/compare"), http.StatusOK)
	require.Equal(t, []int{2, 3, 1}, []int{c.Samples[0].Row, c.Samples[1].Row, c.Samples[2].Row})
	w.create(contract.KindEvaluation, "eval_2", contract.EvaluationCreated{ModelID: tunedModel})
	w.get("/api/evaluation/eval_2/compare").problem(http.StatusConflict)
}

func TestDeployingTwiceIsOneDeployment(t *testing.T) {
	w := newWorld(t)
	w.models()
	first := into[apigen.Deployment](w.post("/api/deployments", map[string]string{"model_id": tunedModel, "queue": "cpu"}), http.StatusCreated)
	require.Equal(t, "cpu.serve", first.Queue, "serving has a queue of its own")
	ids := make(chan string)
	for range 8 {
		go func() {
			var d apigen.Deployment
			_ = jsonInto(w.post("/api/deployments", map[string]string{"model_id": baseModel}).body, &d)
			ids <- d.ID
		}()
	}
	one := <-ids
	for range 7 {
		require.Equal(t, one, <-ids)
	}
	require.Equal(t, http.StatusOK, w.post("/api/deployments", map[string]string{"model_id": tunedModel}).status)
}

func TestListsPageWithoutGapsOrRepeats(t *testing.T) {
	w := newWorld(t)
	w.models()
	for i := range 23 {
		w.job(fmt.Sprintf("job_%02d", i))
	}
	seen, cursor := []string{}, ""
	for {
		page := into[apigen.JobPage](w.get("/api/training?limit=5&cursor="+cursor), http.StatusOK)
		for _, j := range page.Items {
			seen = append(seen, j.ID)
		}
		if len(seen) == 10 {
			w.job("job_new") // what is added in between belongs to the first page
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
		require.Len(t, page.Items, 5)
	}
	require.Len(t, seen, 23)
	for i, id := range seen {
		require.Equal(t, fmt.Sprintf("job_%02d", 22-i), id, "newest first")
	}
	w.get("/api/training?cursor=bm90IG91cnM").problem(http.StatusBadRequest)

	w.tell(contract.KindJob, "job_03", contract.EventCancelled, struct{}{})
	page := into[apigen.JobPage](w.get("/api/training?status=cancelled"), http.StatusOK)
	require.Len(t, page.Items, 1)
	require.Equal(t, "job_03", page.Items[0].ID)
}

func TestFilteredModelsFillTheirPages(t *testing.T) {
	w := newWorld(t)
	w.models()
	for i := range 9 {
		into[apigen.Model](w.post("/api/models", map[string]string{"source": fmt.Sprintf("hub:a/b%d", i)}), http.StatusCreated)
	}
	tuned := into[apigen.ModelPage](w.get("/api/models?kind=tuned&limit=3"), http.StatusOK)
	require.Len(t, tuned.Items, 1, "behind nine bases that are newer")
	cursor, count := "", 0
	for {
		page := into[apigen.ModelPage](w.get("/api/models?kind=base&limit=4&cursor="+cursor), http.StatusOK)
		count += len(page.Items)
		if cursor = page.NextCursor; cursor == "" {
			break
		}
		require.Len(t, page.Items, 4)
	}
	require.Equal(t, 10, count)
}

func TestProcessingAgainChangesWhatItIsTold(t *testing.T) {
	w := newWorld(t)
	mapping := map[string]any{"prompt": "Q", "completion": "A"}
	d := into[apigen.Dataset](w.upload(field{"options", "", `{"mapping":{"prompt":"Q","completion":"A"},"min_chars":9}`}, field{"file", "q.csv", "Q,A\n"}), http.StatusCreated)
	process := func(options map[string]any) contract.ProcessOptions {
		t.Helper()
		w.tell(contract.KindDataset, d.ID, contract.EventFailed, contract.Errorf(contract.CodeBadData, "nothing to learn"))
		into[apigen.Dataset](w.post("/api/datasets/"+d.ID+"/process", options), http.StatusAccepted)
		inputs := w.ingests()
		return *inputs[len(inputs)-1].Options
	}
	require.Equal(t, contract.ProcessOptions{Mapping: map[string]string{"prompt": "Q", "completion": "A"}, MinChars: 9, EvalRows: 5, Seed: 42},
		process(map[string]any{"eval_rows": 5, "deduplicate": false}))
	require.Equal(t, contract.ProcessOptions{Mapping: map[string]string{"text": "A"}, MinChars: 9, EvalRows: 5, Seed: 42},
		process(map[string]any{"mapping": map[string]any{"text": "A"}}))
	w.tell(contract.KindDataset, d.ID, contract.EventFailed, contract.Errorf(contract.CodeBadData, "nothing to learn"))
	p := w.post("/api/datasets/"+d.ID+"/process", map[string]any{"max_chars": 3, "mapping": mapping}).problem(http.StatusBadRequest)
	require.Equal(t, "min_chars", p.Field, "refused at once, for what it comes to with what is there")
	require.Equal(t, apigen.Status("failed"), into[apigen.Dataset](w.get("/api/datasets/"+d.ID), http.StatusOK).Status)
}

func TestModelSourcesAreChecked(t *testing.T) {
	w := newWorld(t)
	for _, source := range []string{"hub:noowner", "path:relative/folder", "path:/a/../b", "http://example.org/m", "bundled:x", "hub:a/../b", "path:"} {
		require.Equal(t, "source", w.post("/api/models", map[string]string{"source": source}).problem(http.StatusBadRequest).Field, source)
	}
}

// folder is one that looks as if it held a model.
func folder(t *testing.T, names ...string) string {
	t.Helper()
	path := t.TempDir()
	for _, name := range names {
		require.NoError(t, os.WriteFile(filepath.Join(path, name), nil, 0o600))
	}
	return path
}

func TestFoldersOfModelsAreLookedAtWhereTheWorkersSeeThem(t *testing.T) {
	w := newWorld(t, func(o *api.Options) { o.Host = "here" })
	add := func(path string) answer {
		t.Helper()
		return w.post("/api/models", map[string]string{"source": "path:" + path})
	}
	good := folder(t, "config.json", "tokenizer.json", "model.safetensors")
	require.NoError(t, w.store.SaveWorkerReport(t.Context(), contract.WorkerReport{ID: "here/1", Queue: "cpu"}))
	p := add("/nowhere/model").problem(http.StatusBadRequest)
	require.Equal(t, "source", p.Field)
	require.Contains(t, p.Detail, "/nowhere/model")
	p = add(folder(t, "config.json", "tokenizer.json", "pytorch_model.bin")).problem(http.StatusBadRequest)
	require.Contains(t, p.Remedy, "safetensors")
	require.Empty(t, into[apigen.ModelPage](w.get("/api/models"), http.StatusOK).Items, "what is refused is not added")
	require.NotContains(t, into[apigen.Model](add(good+"/"), http.StatusCreated).Note, "not looked at")
	require.Equal(t, "path:"+good, into[apigen.ModelPage](w.get("/api/models"), http.StatusOK).Items[0].ID)

	w.ready("ds_ready", "prompt_completion")
	w.dataset("ds_queued")
	for path, dataset := range map[string]string{"/api/training/check": "", "/api/training/start": "ds_ready", "/api/training/recommend": "ds_ready", "/api/pipelines": "ds_queued"} {
		body := map[string]any{"model_id": "path:/nowhere/model"}
		if dataset != "" {
			body["dataset_id"] = dataset
		}
		require.Equal(t, "model_id", w.post(path, body).problem(http.StatusBadRequest).Field, path)
	}

	require.NoError(t, w.store.SaveWorkerReport(t.Context(), contract.WorkerReport{ID: "elsewhere/1", Queue: "gpu.h200"}))
	require.Contains(t, into[apigen.Model](add("/nowhere/model"), http.StatusCreated).Note, "first uses it", "it may be there on the other machine")
}

// TestOnlyAnOwnerLearnsWhichFoldersThereAre: members and keys get one answer, whatever is there.
func TestOnlyAnOwnerLearnsWhichFoldersThereAre(t *testing.T) {
	w := newWorld(t, func(o *api.Options) { o.Host = "here" })
	owner, member := bearer(w.owner().AccessToken), bearer(w.signUp("ada@example.com").AccessToken)
	home := into[apigen.Me](w.get("/api/me", member), http.StatusOK).DefaultProjectID
	key := bearer(into[apigen.CreatedKey](w.post("/api/keys/generate", map[string]any{"name": "k", "project_id": home,
		"scopes": []string{"read", "write"}}, member), http.StatusCreated).Secret)
	good := "path:" + folder(t, "config.json", "tokenizer.json", "model.safetensors")
	for _, source := range []string{good, "path:/nowhere", "path:/etc/passwd"} {
		for name, caller := range map[string]with{"a member": member, "a key": key} {
			for path, field := range map[string]string{"/api/models": "source", "/api/training/check": "model_id"} {
				p := w.post(path, map[string]string{field: source}, caller).problem(http.StatusForbidden)
				require.Equal(t, field, p.Field, "%s %s", name, path)
				require.Contains(t, p.Detail, "only an owner", "%s %s", name, source)
				require.NotContains(t, p.Detail, "nowhere")
			}
		}
	}
	added := into[apigen.Model](w.post("/api/models", map[string]string{"source": good}, owner), http.StatusCreated)
	require.Equal(t, http.StatusNoContent, w.post("/api/training/check", map[string]string{"model_id": added.ID}, member).status, "what an owner has added is everybody's")
}

func TestModelsOfTheHubAreFoundByTheirIDs(t *testing.T) {
	w := newWorld(t)
	added := into[apigen.Model](w.post("/api/models", map[string]string{"source": "hub:owner/name", "revision": "v1"}), http.StatusCreated)
	require.Equal(t, "hub:owner/name@v1", added.ID)
	require.Equal(t, "v1", into[apigen.Model](w.get("/api/models/"+url.PathEscape(added.ID)), http.StatusOK).Revision)
	into[apigen.Deployment](w.post("/api/deployments", map[string]string{"model_id": added.ID}), http.StatusCreated)
	require.Equal(t, http.StatusServiceUnavailable, w.get("/v1/models/"+url.PathEscape(added.ID)).status, "found, and being loaded")
}

func TestPreviewPagesThroughASplit(t *testing.T) {
	w := newWorld(t)
	w.ready("ds_1", "prompt_completion")
	require.Len(t, into[apigen.Preview](w.get("/api/datasets/ds_1/preview?offset=1"), http.StatusOK).Rows, 1)
	require.Empty(t, into[apigen.Preview](w.get("/api/datasets/ds_1/preview?offset=99"), http.StatusOK).Rows)
	page := into[apigen.Preview](w.get("/api/datasets/ds_1/preview?split=train&offset=1&limit=2"), http.StatusOK)
	require.JSONEq(t, `{"prompt":"1","completion":"answer"}`, string(page.Rows[0]))
	require.EqualValues(t, 3, page.NextOffset)
	last := into[apigen.Preview](w.get("/api/datasets/ds_1/preview?split=train&offset=3&limit=2"), http.StatusOK)
	require.Len(t, last.Rows, 2)
	require.Zero(t, last.NextOffset)
}

func TestRowsKeepTheOrderOfTheirColumns(t *testing.T) {
	w := newWorld(t)
	w.ready("ds_1", "prompt_completion")
	require.Contains(t, string(w.get("/api/datasets/ds_1/preview?split=train").body), `{"prompt":"0","completion":"answer"}`)
	w.dataset("ds_2")
	w.tell(contract.KindDataset, "ds_2", contract.EventProfiled, json.RawMessage(`{"preview":[{"row":1,"raw":{"question":"q","answer":{"text":"t","by":"b"}}}]}`))
	for _, path := range []string{"/api/datasets/ds_2", "/api/datasets/ds_2/preview"} {
		require.Contains(t, string(w.get(path).body), `{"question":"q","answer":{"text":"t","by":"b"}}`, path)
	}
}

func TestKeysAreShownOnceAndEndForGood(t *testing.T) {
	w := newWorld(t)
	created := into[apigen.CreatedKey](w.post("/api/keys/generate", map[string]string{"name": "laptop"}), http.StatusCreated)
	a := w.get("/api/keys")
	require.NotContains(t, string(a.body), created.Secret)
	require.Equal(t, created.Secret[:9], into[apigen.KeyPage](a, http.StatusOK).Items[0].Prefix)
	require.Equal(t, "expires_at", w.post("/api/keys/generate", map[string]string{"name": "old", "expires_at": "2020-01-01T00:00:00Z"}).problem(http.StatusBadRequest).Field)
	require.Equal(t, http.StatusNoContent, w.call(http.MethodDelete, "/api/keys/"+created.Key.ID, nil).status)
	require.Equal(t, http.StatusNoContent, w.call(http.MethodDelete, "/api/keys/"+created.Key.ID, nil).status)
	w.call(http.MethodDelete, "/api/keys/key_none", nil).problem(http.StatusNotFound)
	for range 3 {
		w.post("/api/keys/generate", map[string]string{"name": "more"})
	}
	page := into[apigen.KeyPage](w.get("/api/keys?limit=3"), http.StatusOK)
	require.Len(t, page.Items, 3)
	require.Len(t, into[apigen.KeyPage](w.get("/api/keys?limit=3&cursor="+page.NextCursor), http.StatusOK).Items, 1)
}

func TestLogsAndMetricsOfAJob(t *testing.T) {
	w := newWorld(t)
	everything(w)
	for i := range 120 {
		w.append("job/job_1", contract.RunnerMetrics, map[string]any{"step": i + 1, "loss": 2.5, "learning_rate": float64(i)})
		if i%2 == 0 {
			w.append("job/job_1", contract.RunnerLog, map[string]any{"level": "info", "message": fmt.Sprint(i)})
		}
	}
	first := into[apigen.Logs](w.get("/api/training/job_1/logs?limit=50"), http.StatusOK)
	require.Len(t, first.Lines, 50)
	rest := into[apigen.Logs](w.get(fmt.Sprintf("/api/training/job_1/logs?after=%d", first.NextAfter)), http.StatusOK)
	require.Len(t, rest.Lines, 10)
	require.Equal(t, "100", rest.Lines[0].Message)
	require.Empty(t, into[apigen.Logs](w.get(fmt.Sprintf("/api/training/job_1/logs?after=%d", rest.NextAfter)), http.StatusOK).Lines)
	require.Len(t, into[apigen.Metrics](w.get("/api/training/job_1/metrics?max_points=10"), http.StatusOK).Points, 10)
	points := into[apigen.Metrics](w.get("/api/training/job_1/metrics"), http.StatusOK).Points
	require.NotNil(t, points[0].LearningRate, "a rate of zero is one that was measured")
	require.Zero(t, *points[0].LearningRate)
	require.Nil(t, points[0].GradNorm, "nobody measured a gradient")
	w.get("/api/training/none/logs").problem(http.StatusNotFound)
	w.get("/api/training/none/checkpoints").problem(http.StatusNotFound)
}

func TestListsAreNarrowedAndSorted(t *testing.T) {
	w := newWorld(t)
	everything(w)
	w.job("job_2")
	w.tell(contract.KindJob, "job_1", contract.EventCancelled, struct{}{})
	for path, want := range map[string][]string{
		"/api/training?sort=name":                                {"job_1", "job_2"},
		"/api/training?sort=-updated":                            {"job_1", "job_2"},
		"/api/training?q=_2":                                     {"job_2"},
		"/api/training?status=cancelled&status=running":          {"job_1"},
		"/api/training?dataset_id=ds_ready&sort=created":         {"job_1", "job_2"},
		"/api/training?dataset_id=ds_none":                       {},
		"/api/training?model_id=" + baseModel + "&sort=-name":    {"job_2", "job_1"},
		"/api/datasets?q=QUEST&status=ready":                     {"ds_ready"},
		"/api/models?base_model_id=" + baseModel:                 {tunedModel},
		"/api/models?kind=base&sort=name":                        {baseModel},
		"/api/evaluation?q=tune&model_id=" + tunedModel:          {"eval_1"},
		"/api/evaluation?q=nothing":                              {},
		"/api/evaluation?dataset_id=ds_ready&sort=updated":       {"eval_1"},
		"/api/deployments?status=serving&model_id=" + tunedModel: {"dep_1"},
		"/api/exports?status=completed&sort=-updated":            {"exp_1"},
		"/api/pipelines?q=pipe&status=queued":                    {"pipe_1"},
		"/api/keys?q=x&sort=name":                                {},
	} {
		page := into[struct{ Items []struct{ ID string } }](w.get(path), http.StatusOK)
		ids := []string{}
		for _, item := range page.Items {
			ids = append(ids, item.ID)
		}
		require.Equal(t, want, ids, path)
	}
	require.Equal(t, "sort", w.get("/api/evaluation?sort=name").problem(http.StatusBadRequest).Field)
	w.get("/api/training?status=tired").problem(http.StatusBadRequest)
	next := into[apigen.JobPage](w.get("/api/training?limit=1&sort=name"), http.StatusOK).NextCursor
	require.Equal(t, "cursor", w.get("/api/training?limit=1&cursor="+next).problem(http.StatusBadRequest).Field)
}
