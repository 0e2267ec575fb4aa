package api_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api"
	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
)

func TestPlacesInLineAreShown(t *testing.T) {
	var advise func(context.Context, contract.RecommendInput) (contract.Recommendation, error)
	w := newWorld(t, func(o *api.Options) {
		advise = o.Advise
		o.Advise = func(ctx context.Context, in contract.RecommendInput) (contract.Recommendation, error) {
			r, err := advise(ctx, in)
			r.Seconds = [2]float64{60, 120}
			return r, err
		}
	})
	everything(w)
	require.NoError(t, w.store.SaveWorkerReport(t.Context(), contract.WorkerReport{ID: "w", Queue: "gpu.line", Slots: 1}))
	start := func(priority string) string {
		job := into[apigen.Job](w.post("/api/training/start", map[string]any{"dataset_id": "ds_ready", "model_id": baseModel, "queue": "gpu.line", "priority": priority}), http.StatusCreated)
		require.Equal(t, apigen.Priority(priority), job.Priority)
		require.Zero(t, job.QueuePosition, "its workflow has not heard of it yet")
		w.tell(contract.KindJob, job.ID, contract.EventQueued, contract.Queued{Queue: "gpu.line"})
		return job.ID
	}
	first, low, high := start("normal"), start("low"), start("high")
	position := func(id string) int { return into[apigen.Job](w.get("/api/training/"+id), http.StatusOK).QueuePosition }
	require.Equal(t, []int{2, 3, 1}, []int{position(first), position(low), position(high)})
	next := into[apigen.Job](w.get("/api/training/"+high), http.StatusOK)
	require.False(t, next.ExpectedStart.Earliest.IsZero())
	last := into[apigen.Job](w.get("/api/training/"+low), http.StatusOK)
	require.True(t, last.ExpectedStart.Earliest.After(next.ExpectedStart.Earliest), "the two before it take a while")
	require.True(t, last.ExpectedStart.Latest.After(last.ExpectedStart.Earliest))

	edited := into[apigen.Job](w.call(http.MethodPatch, "/api/training/"+low, map[string]any{"priority": "high"}), http.StatusOK)
	require.Equal(t, apigen.PriorityHigh, edited.Priority)
	require.Equal(t, 1, edited.QueuePosition, "it came before the other one that goes first")
	page := into[apigen.JobPage](w.get("/api/training?status=queued"), http.StatusOK)
	shown := map[string]int{}
	for _, j := range page.Items {
		shown[j.ID] = j.QueuePosition
	}
	require.Equal(t, []int{3, 1, 2}, []int{shown[first], shown[low], shown[high]})

	again := into[apigen.Job](w.post("/api/training/start", map[string]any{"from_job": low}), http.StatusCreated)
	require.Equal(t, apigen.PriorityHigh, again.Priority)
}

func TestAPriorityIsRefusedWhereItMeansNothing(t *testing.T) {
	w := newWorld(t)
	everything(w)
	high := map[string]any{"priority": "high"}
	w.call(http.MethodPatch, "/api/training/job_1", map[string]any{"priority": "highest"}).problem(http.StatusBadRequest)
	require.Equal(t, "priority", w.call(http.MethodPatch, "/api/datasets/ds_ready", high).problem(http.StatusBadRequest).Field)
	w.tell(contract.KindJob, "job_1", contract.EventCancelled, struct{}{})
	require.Equal(t, "priority", w.call(http.MethodPatch, "/api/training/job_1", high).problem(http.StatusConflict).Field)
}
