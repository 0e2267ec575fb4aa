package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/vibeflow/vibeflow/contract"
)

func TestTrainWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.turn = func(int) (time.Duration, int) { return time.Hour, 3 } // and it is told twice more while the job trains
	_, err := w.train()
	require.NoError(t, err)
	require.Len(t, w.begun, 1)
	require.GreaterOrEqual(t, w.begun[0], time.Hour)
	require.Equal(t, []string{"queued", "completed"}, w.told(contract.KindJob, job))
}

// TestTrainPausedInLineStartsNothing, also where a server died after the log had that the job queued and before Temporal did:
// the next try of the workflow joins the line later than the log says, and its turn is for the place that the log knows.
func TestTrainPausedInLineStartsNothing(t *testing.T) {
	t.Parallel()
	for _, toldBefore := range []time.Duration{0, 10 * time.Second} {
		w := newWorld(t)
		w.toldBefore = toldBefore
		w.turn = func(int) (time.Duration, int) { return time.Hour, 1 }
		w.signal(time.Minute, contract.SignalPause, contract.ControlRequest{Seq: 1})
		w.signal(30*time.Minute, contract.SignalResume, contract.ControlRequest{Seq: 2})
		_, err := w.train()
		require.NoError(t, err)
		require.Equal(t, []string{"queued", "paused", "queued", "completed"}, w.told(contract.KindJob, job))
		require.Len(t, w.begun, 1)
		require.GreaterOrEqual(t, w.begun[0], 90*time.Minute, "the turn of the first stay in line, told after an hour, is over")
		require.Equal(t, 3, w.launches[0].Priority.PriorityKey, "it never held a slot")
	}
}

func TestCancelledInLineStartsNothing(t *testing.T) {
	t.Parallel()
	t.Run("a job", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.turn = func(int) (time.Duration, int) { return time.Minute, 1 }
		w.signal(time.Minute, contract.SignalCancel, contract.CancelRequest{}) // with its turn
		_, err := w.train()
		require.True(t, temporal.IsCanceledError(err))
		require.Empty(t, w.launches)
	})
	t.Run("an evaluation", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.turn = func(int) (time.Duration, int) { return time.Hour, 0 }
		w.signal(time.Minute, contract.SignalCancel, contract.CancelRequest{})
		w.env.ExecuteWorkflow(contract.WorkflowEvaluate, contract.EvaluateInput{EvaluationID: "eval_1", Queue: contract.QueueCPU})
		require.True(t, temporal.IsCanceledError(w.env.GetWorkflowError()))
		require.Empty(t, w.launches)
		require.Equal(t, []string{"queued", "cancelled"}, w.told(contract.KindEvaluation, "eval_1"))
	})
}
