package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

func (w *world) remove(path string) apigen.Deletion {
	w.t.Helper()
	return into[apigen.Deletion](w.call(http.MethodDelete, path, nil), http.StatusOK)
}

func TestWhatIsInUseIsNotDeleted(t *testing.T) {
	w := newWorld(t)
	everything(w)
	files := w.files()
	for path, by := range map[string]string{"/api/datasets/ds_ready": "job_1", "/api/models/" + tunedModel: "dep_1", "/api/training/job_1": "queued",
		"/api/pipelines/pipe_1": "queued"} {
		for _, query := range []string{"?preview=true", ""} {
			p := w.call(http.MethodDelete, path+query, nil).problem(http.StatusConflict)
			require.Equal(t, string(contract.CodeInUse), p.Code)
			require.Contains(t, p.Detail, by, path)
			require.NotEmpty(t, p.Remedy)
		}
	}
	require.Contains(t, w.call(http.MethodDelete, "/api/datasets/ds_ready", nil).problem(http.StatusConflict).Detail, "pipe_1")
	require.Contains(t, w.call(http.MethodDelete, "/api/models/"+baseModel, nil).problem(http.StatusConflict).Detail, "catalog")
	require.Equal(t, files, w.files())
}

// finish brings everything to its end.
func finish(w *world) {
	w.t.Helper()
	w.tell(contract.KindJob, "job_1", contract.EventCancelled, struct{}{})
	w.tell(contract.KindPipeline, "pipe_1", contract.EventCancelled, struct{}{})
	w.tell(contract.KindDeployment, "dep_1", contract.EventStopped, struct{}{})
}

func TestAPreviewSaysWhatADeletionThenDoes(t *testing.T) {
	w := newWorld(t)
	everything(w)
	_, err := w.store.ClaimRun(t.Context(), store.RunClaim{RunID: "job_1", Nonce: "n", Inputs: []contract.ObjectRef{w.splitOf("ds_ready")}})
	require.NoError(t, err)
	finish(w)
	for _, path := range []string{"/api/datasets/ds_ready", "/api/models/" + tunedModel, "/api/evaluation/eval_none", "/api/training/job_1", "/api/pipelines/pipe_1"} {
		if path == "/api/evaluation/eval_none" {
			w.call(http.MethodDelete, path, nil).problem(http.StatusNotFound)
			continue
		}
		files := w.files()
		preview := w.remove(path + "?preview=true")
		require.False(t, preview.Deleted)
		require.Equal(t, files, w.files(), "a preview deletes nothing")
		require.Equal(t, http.StatusOK, w.get(path).status)
		gone := w.remove(path)
		require.True(t, gone.Deleted)
		gone.Deleted = false
		require.Equal(t, preview, gone)
		require.Len(t, w.files(), len(files)-gone.Files, path)
		w.get(path).problem(http.StatusNotFound)
		w.call(http.MethodDelete, path, nil).problem(http.StatusNotFound)
		switch path {
		case "/api/datasets/ds_ready":
			require.Equal(t, 3, gone.Files, "the upload and both splits, though a job was given one")
			require.Positive(t, gone.Bytes)
		case "/api/models/" + tunedModel:
			require.ElementsMatch(t, []apigen.DeletedResource{{Kind: "export", ID: "exp_1"}, {Kind: "evaluation", ID: "eval_1"}, {Kind: "deployment", ID: "dep_1"}}, gone.Also)
			w.get("/api/exports/exp_1").problem(http.StatusNotFound)
		}
	}
	for _, list := range []string{"/api/datasets", "/api/training", "/api/evaluation", "/api/exports", "/api/deployments", "/api/pipelines"} {
		require.Zero(t, w.count(list), list)
	}
	require.NoError(t, w.store.Rebuild(t.Context()))
	require.Zero(t, w.count("/api/training"), "the log does not bring it back")
	require.Empty(t, w.files())
}

func (w *world) splitOf(dataset string) contract.ObjectRef {
	w.t.Helper()
	d, err := w.store.GetDataset(w.t.Context(), dataset)
	require.NoError(w.t, err)
	return *d.Train
}

func TestAPipelineOutlivesItsJob(t *testing.T) {
	w := newWorld(t)
	everything(w)
	w.tell(contract.KindPipeline, "pipe_1", contract.EventStage, contract.StageChanged{Stage: contract.StageTrain, Status: contract.StatusCompleted, ID: "job_1"})
	finish(w)
	w.remove("/api/training/job_1")
	require.Equal(t, 1, w.count("/api/pipelines"))
}

func TestAJobRunsAgainWithChanges(t *testing.T) {
	w := newWorld(t)
	everything(w)
	first := into[apigen.Job](w.get("/api/training/job_1"), http.StatusOK)
	again := into[apigen.Job](w.post("/api/training/start", `{"from_job":"job_1"}`), http.StatusCreated)
	require.Equal(t, first.Config, again.Config)
	require.Equal(t, []string{first.DatasetID, first.ModelID, first.Name}, []string{again.DatasetID, again.ModelID, again.Name})
	changed := into[apigen.Job](w.post("/api/training/start", `{"from_job":"job_1","name":"faster","config":{"learning_rate":0.003}}`), http.StatusCreated)
	require.InDelta(t, 0.003, changed.Config.LearningRate, 1e-12)
	changed.Config.LearningRate = first.Config.LearningRate
	require.Equal(t, first.Config, changed.Config, "the rest is the job's, not the recommender's")
	require.Equal(t, "faster", changed.Name)
	require.Equal(t, "from_job", w.post("/api/training/start", `{"from_job":"job_none"}`).problem(http.StatusNotFound).Field)
	require.Equal(t, "dataset_id", w.post("/api/training/start", `{}`).problem(http.StatusBadRequest).Field)
}

func TestGarbageIsWhatNothingRefersTo(t *testing.T) {
	w := newWorld(t)
	everything(w)
	files := len(w.files())
	orphan := w.object([]byte("nobody's"))
	collect := func(query string) apigen.Garbage {
		return into[apigen.Garbage](w.post("/api/system/gc"+query, nil), http.StatusOK)
	}
	require.Zero(t, collect("").Files, "somebody may be about to refer to it")
	w.later(25 * time.Hour)
	require.Equal(t, apigen.Garbage{Files: 1, Bytes: orphan.Size}, collect("?preview=true"))
	require.Len(t, w.files(), files+1)
	require.Equal(t, apigen.Garbage{Deleted: true, Files: 1, Bytes: orphan.Size}, collect(""))
	require.Len(t, w.files(), files)
	require.Zero(t, collect("").Files)
}
