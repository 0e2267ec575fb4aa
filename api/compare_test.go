package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
)

func TestJobsSideBySide(t *testing.T) {
	w := newWorld(t)
	everything(w)
	w.create(contract.KindJob, "job_2", contract.JobCreated{ProjectID: "proj_default", Name: "two", DatasetID: "ds_gone", ModelID: baseModel, Queue: "cpu",
		Config: contract.Training{Method: "lora", LearningRate: 5e-4, BatchSize: 1, GradientAccumulationSteps: 1, MaxLength: 64,
			LoRA: contract.LoRA{Rank: 8, Alpha: 16}, Precision: "auto", Scheduler: "cosine"}})
	w.tell(contract.KindJob, "job_2", contract.EventStarted, contract.Claimed{Epoch: 1, Worker: "w"})
	for step := 1; step <= 500; step++ {
		w.append("job/job_2", contract.RunnerMetrics, map[string]any{"step": step, "epoch": 0.5, "loss": 2.0})
	}
	w.tell(contract.KindJob, "job_2", contract.EventCompleted, map[string]any{"model_id": tunedModel, "step": 500,
		"metrics": map[string]any{"final_loss": 2.0, "mean_loss": 2.5, "tokens": 1000, "seconds": 20, "tokens_per_second": 50}})

	got := into[apigen.JobComparison](w.get("/api/training/compare?id=job_1&id=job_2&max_points=50"), http.StatusOK)
	require.Len(t, got.Runs, 2)
	one, two := got.Runs[0], got.Runs[1]
	require.Equal(t, []string{"job_1", "job_2"}, []string{one.ID, two.ID}, "as they were asked for")
	require.Equal(t, []any{"questions", int64(5), "Tiny"}, []any{one.DatasetName, one.TrainRows, one.ModelName})
	require.Empty(t, two.DatasetName, "it was deleted")
	require.LessOrEqual(t, len(two.Points), 50)
	require.Equal(t, 500, two.Points[len(two.Points)-1].Step)
	require.Equal(t, []any{2.0, 2.5, int64(1000), 50.0, 20.0, int64(1)}, []any{two.FinalLoss, two.MeanLoss, two.Tokens, two.TokensPerSecond, two.TrainingSeconds, two.Launches})
	require.Equal(t, "eval_1", two.Evaluation.ID)
	require.Equal(t, []float64{-1.5, -0.5}, two.Evaluation.LossDeltaCi)
	require.Empty(t, one.Evaluation.ID)

	differ := map[string][]any{}
	for _, d := range got.Differences {
		differ[d.Field] = d.Values
	}
	require.Equal(t, map[string][]any{"dataset_id": {"ds_ready", "ds_gone"}, "learning_rate": {1e-4, 5e-4}, "lora.alpha": {8.0, 16.0}}, differ)
	same := map[string]any{}
	for _, s := range got.Same {
		same[s.Field] = s.Value
	}
	require.Equal(t, "cosine", same["scheduler"])
	require.Equal(t, 8.0, same["lora.r"])
	require.NotContains(t, same, "learning_rate")
}

func TestComparingRefuses(t *testing.T) {
	w := newWorld(t)
	everything(w)
	w.get("/api/training/compare?id=job_1&id=none").problem(http.StatusNotFound)
	w.get("/api/training/compare?id=job_1&id=job_1").problem(http.StatusBadRequest)
	w.get("/api/training/compare?id=job_1").problem(http.StatusBadRequest)
	w.get("/api/training/compare").problem(http.StatusBadRequest)
	w.get("/api/training/compare?id=" + strings.Repeat("job_1&id=", 8) + "job_1").problem(http.StatusBadRequest)
}
