package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/vibeflow/vibeflow/contract"
)

const pipe = "pipe_1"

func (w *world) pipeline(request contract.PipelineRequest) (out contract.PipelineResult, err error) {
	request.DatasetID = "ds_1"
	w.env.ExecuteWorkflow(contract.WorkflowPipeline, contract.PipelineInput{PipelineID: pipe, Request: request})
	require.True(w.t, w.env.IsWorkflowCompleted(), "the pipeline waits for ever")
	if err := w.env.GetWorkflowError(); err != nil {
		return out, err
	}
	return out, w.env.GetWorkflowResult(&out)
}

// stages lists "<stage> <status>" of every stage event, without the ones that only add an id.
func (w *world) stages() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := []string{}
	for _, event := range w.events[contract.Stream(contract.KindPipeline, pipe)] {
		if event.Type != contract.EventType(contract.KindPipeline, contract.EventStage) {
			continue
		}
		change := decode[contract.StageChanged](w.t, event.Payload)
		line := change.Stage + " " + string(change.Status)
		if len(lines) == 0 || lines[len(lines)-1] != line {
			lines = append(lines, line)
		}
	}
	return lines
}

// plain is a world in which every stage succeeds: deployments serve until they are stopped.
func plain(t require.TestingT) *world {
	w := newWorld(t)
	w.plan = func(_ int, activity string) launch {
		if activity == contract.ActivityServe {
			return launch{lasts: 24 * time.Hour}
		}
		return finishes(time.Minute)
	}
	return w
}

func TestPipelineStory(t *testing.T) {
	t.Parallel()
	w := plain(t)
	w.signal(time.Hour, contract.SignalConfirm, contract.ConfirmRequest{})
	result, err := w.pipeline(contract.PipelineRequest{})
	require.NoError(t, err)
	require.Equal(t, []string{
		"analyze running", "analyze completed", "recommend running", "recommend completed",
		"confirm awaiting_confirmation", "confirm completed", "train running", "train completed",
		"evaluate running", "evaluate completed", "deploy running", "deploy completed",
	}, w.stages())
	require.NotEmpty(t, result.ModelID)
	require.Equal(t, contract.VerdictBetter, result.Evaluation.Verdict)
	require.NotEmpty(t, result.DeploymentID)
	require.Equal(t, []string{"queued", "completed"}, w.told(contract.KindJob, result.JobID))
	require.Contains(t, w.told(contract.KindPipeline, pipe), "proposed")
	require.Equal(t, result, payload[contract.PipelineResult](w, contract.KindPipeline, pipe, "completed"))
}

func TestPipelineSkips(t *testing.T) {
	t.Parallel()
	w := plain(t)
	result, err := w.pipeline(contract.PipelineRequest{AutoConfirm: true, SkipEvaluate: true, SkipDeploy: true})
	require.NoError(t, err)
	require.Equal(t, []string{
		"analyze running", "analyze completed", "recommend running", "recommend completed", "train running", "train completed",
	}, w.stages())
	require.Nil(t, result.Evaluation)
}

func TestPipelineFailedStageIsRetriedAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plan = func(n int, activity string) launch {
		if activity == contract.ActivityEvaluate && n == 1 {
			return fails(time.Second, contract.Errorf(contract.CodeDiskFull, "no room"))
		}
		return finishes(time.Minute)
	}
	var started []contract.StartStageInput
	start := w.control.start
	w.control.start = func(in contract.StartStageInput) (contract.StartStageOutput, error) {
		started = append(started, in)
		return start(in)
	}
	w.signal(time.Second, contract.SignalRetry, contract.ControlRequest{Seq: 1}) // stray: nothing has failed
	w.signal(time.Hour, contract.SignalRetry, contract.ControlRequest{Seq: 2})
	result, err := w.pipeline(contract.PipelineRequest{AutoConfirm: true, SkipDeploy: true})
	require.NoError(t, err)
	require.Equal(t, []string{
		"analyze running", "analyze completed", "recommend running", "recommend completed", "train running", "train completed",
		"evaluate running", "evaluate failed", "evaluate running", "evaluate completed",
	}, w.stages())
	require.GreaterOrEqual(t, w.begun[2], time.Hour, "the stray retry was meant for nothing")
	require.Len(t, started, 3)
	require.Equal(t, []int{1, 1, 2}, []int{started[0].Attempt, started[1].Attempt, started[2].Attempt})
	require.Equal(t, stageID(started[2]), result.EvaluationID, "the retry made a resource of its own")
	require.Equal(t, contract.CodeDiskFull, payload[contract.Error](w, contract.KindPipeline, pipe, "failed").Code)
}

func TestPipelineRetryToldTwiceRetriesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tries := 0
	w.control.suggest = func(contract.RecommendInput) (contract.Recommendation, error) {
		tries++
		return contract.Recommendation{}, appError(contract.Errorf(contract.CodeUnsupported, "preference pairs"))
	}
	w.signal(time.Hour, contract.SignalRetry, contract.ControlRequest{Seq: 1})
	w.signal(2*time.Hour, contract.SignalRetry, contract.ControlRequest{Seq: 1})
	w.signal(3*time.Hour, contract.SignalCancel, contract.CancelRequest{})
	_, err := w.pipeline(contract.PipelineRequest{})
	require.True(t, temporal.IsCanceledError(err))
	require.Equal(t, 2, tries)
	require.Equal(t, "cancelled", last(w.told(contract.KindPipeline, pipe)))
}

func TestPipelineConfirm(t *testing.T) {
	t.Parallel()
	t.Run("changes are checked, and a refusal may be confirmed anew", func(t *testing.T) {
		t.Parallel()
		w := plain(t)
		var asked []contract.RecommendInput
		suggest := w.control.suggest
		w.control.suggest = func(in contract.RecommendInput) (contract.Recommendation, error) {
			asked = append(asked, in)
			if in.Config != nil && in.Config.LearningRate < 0 {
				return contract.Recommendation{}, appError(contract.Errorf(contract.CodeInvalidConfig, "negative").On("learning_rate"))
			}
			return suggest(in)
		}
		var started contract.StartStageInput
		start := w.control.start
		w.control.start = func(in contract.StartStageInput) (contract.StartStageOutput, error) {
			started = in
			return start(in)
		}
		w.signal(time.Hour, contract.SignalConfirm, contract.ConfirmRequest{Config: &contract.Training{LearningRate: -1}})
		w.signal(2*time.Hour, contract.SignalConfirm, contract.ConfirmRequest{Config: &contract.Training{LearningRate: 1e-3}})
		_, err := w.pipeline(contract.PipelineRequest{SkipEvaluate: true, SkipDeploy: true})
		require.NoError(t, err)
		require.Len(t, asked, 3)
		require.Equal(t, "smollm2-135m-instruct", asked[2].ModelID, "an unchanged model is the proposed one")
		require.InDelta(t, 1e-3, started.Config.LearningRate, 1e-12)
		require.Contains(t, w.stages(), "confirm failed")
	})
	t.Run("a confirm that came early is kept", func(t *testing.T) {
		t.Parallel()
		w := plain(t)
		w.startWith(contract.SignalConfirm, contract.ConfirmRequest{})
		_, err := w.pipeline(contract.PipelineRequest{SkipEvaluate: true, SkipDeploy: true})
		require.NoError(t, err)
	})
	t.Run("cancelled while it waits", func(t *testing.T) {
		t.Parallel()
		w := plain(t)
		w.signal(time.Hour, contract.SignalCancel, contract.CancelRequest{})
		_, err := w.pipeline(contract.PipelineRequest{})
		require.True(t, temporal.IsCanceledError(err))
		require.Equal(t, "confirm cancelled", last(w.stages()))
		require.Empty(t, w.launches)
	})
}

func TestPipelineCancelReachesItsStage(t *testing.T) {
	t.Parallel()
	t.Run("training", func(t *testing.T) {
		t.Parallel()
		w := plain(t)
		w.signal(30*time.Second, contract.SignalCancel, contract.CancelRequest{})
		_, err := w.pipeline(contract.PipelineRequest{AutoConfirm: true})
		require.True(t, temporal.IsCanceledError(err))
		id := stageID(contract.StartStageInput{PipelineID: pipe, Stage: contract.StageTrain, Attempt: 1})
		require.Equal(t, []string{"queued", "cancelled"}, w.told(contract.KindJob, id))
		require.Zero(t, w.running)
	})
	t.Run("waiting for the dataset", func(t *testing.T) {
		t.Parallel()
		w := plain(t)
		w.control.await = func(ctx context.Context, _ contract.AwaitStatusInput) (contract.AwaitStatusOutput, error) {
			<-ctx.Done()
			return contract.AwaitStatusOutput{}, ctx.Err()
		}
		w.startWith(contract.SignalCancel, contract.CancelRequest{})
		_, err := w.pipeline(contract.PipelineRequest{})
		require.True(t, temporal.IsCanceledError(err))
	})
}

func TestPipelineOfAJobThatItsUserCancels(t *testing.T) {
	t.Parallel()
	w := plain(t)
	id := stageID(contract.StartStageInput{PipelineID: pipe, Stage: contract.StageTrain, Attempt: 1})
	w.env.RegisterDelayedCallback(func() {
		_ = w.env.SignalWorkflowByID(contract.WorkflowID(contract.KindJob, id), contract.SignalCancel, contract.CancelRequest{})
	}, 30*time.Second)
	w.signal(time.Hour, contract.SignalRetry, contract.ControlRequest{Seq: 1})
	result, err := w.pipeline(contract.PipelineRequest{AutoConfirm: true, SkipEvaluate: true, SkipDeploy: true})
	require.NoError(t, err)
	require.NotEqual(t, id, result.JobID)
	require.Equal(t, "its training was cancelled", payload[contract.Error](w, contract.KindPipeline, pipe, "stopped").Message)
	require.Contains(t, w.stages(), "train cancelled")
	require.NotContains(t, w.told(contract.KindPipeline, pipe), "failed", "nothing went wrong")
}

func TestPipelinePausedJobHoldsIt(t *testing.T) {
	t.Parallel()
	w := plain(t)
	id := stageID(contract.StartStageInput{PipelineID: pipe, Stage: contract.StageTrain, Attempt: 1})
	to := func(at time.Duration, signal string, seq int64) {
		w.env.RegisterDelayedCallback(func() {
			_ = w.env.SignalWorkflowByID(contract.WorkflowID(contract.KindJob, id), signal, contract.ControlRequest{Seq: seq})
		}, at)
	}
	to(30*time.Second, contract.SignalPause, 1)
	to(5*time.Hour, contract.SignalResume, 2)
	_, err := w.pipeline(contract.PipelineRequest{AutoConfirm: true, SkipEvaluate: true, SkipDeploy: true})
	require.NoError(t, err)
	require.Equal(t, []string{"queued", "paused", "queued", "completed"}, w.told(contract.KindJob, id))
	require.Greater(t, payload[contract.StageChanged](w, contract.KindPipeline, pipe, "stage").Seconds, 5*3600.0)
}

func TestPipelineDeploymentThatFails(t *testing.T) {
	t.Parallel()
	w := plain(t)
	fail := true
	w.control.await = func(_ context.Context, in contract.AwaitStatusInput) (contract.AwaitStatusOutput, error) {
		if in.Kind == contract.KindDeployment && fail {
			fail = false
			return contract.AwaitStatusOutput{}, appError(contract.Errorf(contract.CodeModelUnavailable, "gone"))
		}
		return contract.AwaitStatusOutput{}, nil
	}
	w.signal(time.Hour, contract.SignalRetry, contract.ControlRequest{Seq: 1})
	result, err := w.pipeline(contract.PipelineRequest{AutoConfirm: true, SkipEvaluate: true})
	require.NoError(t, err)
	require.Equal(t, stageID(contract.StartStageInput{PipelineID: pipe, Stage: contract.StageDeploy, Attempt: 2}), result.DeploymentID)
}

func last(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1]
}
