package workflows_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
)

func TestEvaluate(t *testing.T) {
	t.Parallel()
	const id = "eval_1"
	evaluate := func(w *world) (out contract.EvaluateResult, err error) {
		w.env.ExecuteWorkflow(contract.WorkflowEvaluate, contract.EvaluateInput{EvaluationID: id, Queue: contract.QueueCPU})
		require.True(t, w.env.IsWorkflowCompleted())
		if err := w.env.GetWorkflowError(); err != nil {
			return out, err
		}
		return out, w.env.GetWorkflowResult(&out)
	}
	t.Run("fails with the runner's reason", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan = func(int, string) launch {
			return fails(time.Second, contract.Errorf(contract.CodeModelUnavailable, "gated"))
		}
		_, err := evaluate(w)
		require.Equal(t, contract.CodeModelUnavailable, code(t, err))
		require.Equal(t, []string{"queued", "failed"}, w.told(contract.KindEvaluation, id))
	})
	t.Run("a result that cannot be read is a failure, not a verdict", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan = func(int, string) launch {
			return launch{lasts: 1, out: contract.RunOutput{Outcome: contract.OutcomeCompleted}}
		}
		_, err := evaluate(w)
		require.Equal(t, contract.CodeInternal, code(t, err))
	})
	t.Run("cancelled before its slot, it never runs", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.startWith(contract.SignalCancel, contract.CancelRequest{})
		_, err := evaluate(w)
		require.True(t, temporal.IsCanceledError(err))
		require.Empty(t, w.launches)
	})
	t.Run("cancelled while it runs, it waits for the runner", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.signal(time.Second, contract.SignalCancel, contract.CancelRequest{})
		_, err := evaluate(w)
		require.True(t, temporal.IsCanceledError(err))
		require.Zero(t, w.running)
		require.Equal(t, []string{"queued", "cancelled"}, w.told(contract.KindEvaluation, id))
	})
	t.Run("tells the verdict", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		out, err := evaluate(w)
		require.NoError(t, err)
		require.Equal(t, contract.VerdictBetter, out.Verdict)
		require.InDelta(t, -0.2, payload[contract.EvaluationResult](w, contract.KindEvaluation, id, "completed").LossDelta, 1e-9)
	})
}

func TestExport(t *testing.T) {
	t.Parallel()
	const id = "exp_1"
	in := contract.ExportInput{ExportID: id, Queue: contract.QueueCPU}

	t.Run("cancel", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.signal(time.Second, contract.SignalCancel, contract.CancelRequest{})
		w.env.ExecuteWorkflow(contract.WorkflowExport, in)
		require.True(t, temporal.IsCanceledError(w.env.GetWorkflowError()))
	})
	t.Run("lists what was made", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.env.ExecuteWorkflow(contract.WorkflowExport, in)
		require.NoError(t, w.env.GetWorkflowError())
		require.Equal(t, []string{"queued", "completed"}, w.told(contract.KindExport, id))
		require.Equal(t, contract.ExportOutput{Files: 3, Bytes: 4096}, payload[contract.ExportOutput](w, contract.KindExport, id, "completed"))
	})
}

func TestIngest(t *testing.T) {
	t.Parallel()
	const id = "ds_1"
	in := contract.IngestInput{DatasetID: id}

	t.Run("a file that cannot be used fails once", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		calls := 0
		w.control.profile = func(context.Context, contract.DatasetInput) (contract.DatasetOutput, error) {
			calls++
			return contract.DatasetOutput{}, appError(contract.Errorf(contract.CodeBadData, "line 3: broken JSON"))
		}
		w.env.ExecuteWorkflow(contract.WorkflowIngest, in)
		require.Equal(t, contract.CodeBadData, code(t, w.env.GetWorkflowError()))
		require.Equal(t, 1, calls)
		require.Equal(t, []string{"started", "failed"}, w.told(contract.KindDataset, id))
	})
	t.Run("a lost connection is tried again", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		calls := 0
		w.control.process = func(context.Context, contract.DatasetInput) (contract.DatasetOutput, error) {
			if calls++; calls < 3 {
				return contract.DatasetOutput{}, errors.New("disk hiccup")
			}
			return contract.DatasetOutput{Rows: 100, TrainRows: 90, EvalRows: 10}, nil
		}
		w.env.ExecuteWorkflow(contract.WorkflowIngest, in)
		require.NoError(t, w.env.GetWorkflowError())
		require.Equal(t, 3, calls)
	})
	t.Run("cancelled before it starts, it reads nothing", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.control.profile = func(context.Context, contract.DatasetInput) (contract.DatasetOutput, error) {
			require.Fail(t, "reads a cancelled dataset")
			return contract.DatasetOutput{}, nil
		}
		w.startWith(contract.SignalCancel, contract.CancelRequest{})
		w.env.ExecuteWorkflow(contract.WorkflowIngest, in)
		require.True(t, temporal.IsCanceledError(w.env.GetWorkflowError()))
		require.Equal(t, []string{"cancelled"}, w.told(contract.KindDataset, id))
	})
	t.Run("becomes ready", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.env.ExecuteWorkflow(contract.WorkflowIngest, in)
		require.NoError(t, w.env.GetWorkflowError())
		require.Equal(t, int64(90), payload[contract.DatasetOutput](w, contract.KindDataset, id, "completed").TrainRows)
	})
}

func TestDeploy(t *testing.T) {
	t.Parallel()
	const id = "dep_1"
	in := contract.DeployInput{DeploymentID: id, Queue: contract.ServeQueue(contract.QueueCPU)}
	serves := func(int, string) launch { return launch{} }

	t.Run("a model that cannot be had fails it", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan = func(int, string) launch {
			return fails(time.Second, contract.Errorf(contract.CodeModelUnavailable, "gone"))
		}
		w.env.ExecuteWorkflow(contract.WorkflowDeploy, in)
		require.Equal(t, contract.CodeModelUnavailable, code(t, w.env.GetWorkflowError()))
		require.Equal(t, []string{"queued", "failed"}, w.told(contract.KindDeployment, id))
	})
	t.Run("stopped before it starts, it serves nothing", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.startWith(contract.SignalStop, contract.ControlRequest{Seq: 1})
		w.env.ExecuteWorkflow(contract.WorkflowDeploy, in)
		require.NoError(t, w.env.GetWorkflowError())
		require.Empty(t, w.launches)
		require.Equal(t, []string{"stopped"}, w.told(contract.KindDeployment, id))
	})
	t.Run("an engine that ends by itself is started again until stop", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan = func(n int, _ string) launch {
			if n < 3 {
				return launch{lasts: time.Minute}
			}
			return launch{saving: time.Second}
		}
		w.signal(time.Hour, contract.SignalStop, contract.ControlRequest{Seq: 1})
		w.signal(time.Hour, contract.SignalStop, contract.ControlRequest{Seq: 1})
		w.env.ExecuteWorkflow(contract.WorkflowDeploy, in)
		require.NoError(t, w.env.GetWorkflowError())
		require.Len(t, w.launches, 4)
		require.Equal(t, 30*time.Second, w.launches[0].HeartbeatTimeout)
		require.Equal(t, in.Queue, w.launches[0].TaskQueue)
		require.Equal(t, []string{"queued", "stopped"}, w.told(contract.KindDeployment, id))
	})
	t.Run("a cancel request from Temporal's UI takes it down", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan = serves
		w.env.RegisterDelayedCallback(w.env.CancelWorkflow, time.Second)
		w.env.ExecuteWorkflow(contract.WorkflowDeploy, in)
		require.NoError(t, w.env.GetWorkflowError())
		require.Equal(t, []string{"queued", "stopped"}, w.told(contract.KindDeployment, id))
	})
	t.Run("a long history goes on as a new run that does not queue again", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan = func(int, string) launch { return launch{lasts: time.Minute} }
		w.env.SetContinueAsNewSuggested(true)
		w.env.ExecuteWorkflow(contract.WorkflowDeploy, in)
		var next *workflow.ContinueAsNewError
		require.ErrorAs(t, w.env.GetWorkflowError(), &next)
		require.Equal(t, contract.WorkflowDeploy, next.WorkflowType.Name)
		require.Equal(t, []string{"queued"}, w.told(contract.KindDeployment, id))
		var served contract.DeployInput
		require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(next.Input, &served))
		require.True(t, served.Served)

		again := newWorld(t)
		again.plan = serves
		again.signal(time.Second, contract.SignalStop, contract.ControlRequest{Seq: 1})
		again.env.ExecuteWorkflow(contract.WorkflowDeploy, served)
		require.NoError(t, again.env.GetWorkflowError())
		require.Equal(t, []string{"stopped"}, again.told(contract.KindDeployment, id))
	})
}
