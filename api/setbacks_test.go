package api_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

func TestAJobTellsWhatFailuresHaveChangedInIt(t *testing.T) {
	w := newWorld(t)
	w.create(contract.KindJob, "job_9", contract.JobCreated{ProjectID: store.DefaultProject, Name: "hard", DatasetID: "ds_ready", ModelID: baseModel, Queue: "cpu",
		Config: contract.Training{Method: "lora", LearningRate: 1e-3, BatchSize: 4, GradientAccumulationSteps: 2, MaxLength: 64, LoRA: contract.LoRA{Rank: 8, Alpha: 8},
			Precision: "auto", Scheduler: "cosine"}})
	get := func() apigen.Job { return into[apigen.Job](w.get("/api/training/job_9"), http.StatusOK) }
	require.Empty(t, get().Setbacks)

	short := contract.Adjustment{Code: contract.CodeOutOfMemory, Step: 41, BatchSize: 2, GradientAccumulationSteps: 4}
	w.tell(contract.KindJob, "job_9", contract.EventAdjusted, short)
	w.tell(contract.KindJob, "job_9", contract.EventAdjusted, short) // by a worker that died before it heard the answer
	w.tell(contract.KindJob, "job_9", contract.EventCheckpointLost, contract.CheckpointLost{Name: "step-00000060", Step: 60, Left: "step-00000040", LeftStep: 40})
	w.tell(contract.KindJob, "job_9", contract.EventAdjusted, contract.Adjustment{Code: contract.CodeNonFiniteLoss, Step: 70, LearningRateScale: 0.5})
	w.tell(contract.KindJob, "job_9", contract.EventAdjusted, contract.Adjustment{Code: contract.CodeNonFiniteLoss, Step: 71, LearningRateScale: 0.25})
	w.tell(contract.KindJob, "job_9", contract.EventAdjusted, contract.Adjustment{Code: contract.CodeOutOfMemory, BatchSize: 1, GradientAccumulationSteps: 8})
	w.tell(contract.KindJob, "job_9", contract.EventCheckpointLost, contract.CheckpointLost{Name: "step-00000040", Step: 40})

	var told []string
	for _, s := range get().Setbacks {
		require.NotZero(t, s.At)
		told = append(told, s.Text)
	}
	require.Equal(t, []string{
		"Memory was short after step 41. It went on with 2 rows at a time instead of 4, 4 times a step instead of 2: the same 8 rows a step.",
		"The checkpoint of step 60 was damaged and is left out. It went on from the one before, exactly from step 40.",
		"The loss was not finite after step 70. It went back to its last checkpoint and went on with half the learning rate: 0.0005 instead of 0.001.",
		"The loss was not finite after step 71. It went back to its last checkpoint and went on with half the learning rate: 0.00025 instead of 0.0005.",
		"Memory was short before the first step. It went on with 1 row at a time instead of 2, 8 times a step instead of 4: the same 8 rows a step.",
		"The checkpoint of step 40 was damaged and is left out. There was none before it: the training began at step 1 again.",
	}, told)
	require.Equal(t, []any{apigen.SetbackCode("checkpoint_damaged"), 60}, []any{get().Setbacks[1].Code, get().Setbacks[1].Step})
	for _, job := range into[apigen.JobPage](w.get("/api/training"), http.StatusOK).Items {
		require.Empty(t, job.Setbacks, "a list leaves them out")
	}
}
