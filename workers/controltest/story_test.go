package controltest

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/hardware"
	"github.com/vibeflow/vibeflow/internal/store"
)

// machine is a GPU worker without Python: it claims runs, hands in a file and serves, through the same database calls that
// the gateway makes.
type machine struct {
	*site
	queue string
	// hold makes training wait until it is cancelled.
	hold chan struct{}
	// quote is what runs tell of the rows that they read, if anything.
	quote string
}

func (s *site) machine() *machine {
	s.t.Helper()
	m := &machine{site: s, queue: s.queue + ".slots", hold: make(chan struct{})}
	body, err := json.Marshal(hardware.Hardware{Arch: "amd64", CPU: hardware.CPU{Cores: 2}, Memory: hardware.Memory{Total: 16 << 30}})
	require.NoError(s.t, err)
	require.NoError(s.t, s.store.SaveWorkerReport(s.t.Context(), contract.WorkerReport{ID: "host/1", Boot: "b", Queue: m.queue, Slots: 1, Hardware: body}))
	for queue, activities := range map[string]map[string]any{
		m.queue:                      {contract.ActivityTrain: m.train, contract.ActivityEvaluate: m.evaluate},
		contract.ServeQueue(m.queue): {contract.ActivityServe: m.serve},
	} {
		w := worker.New(s.client, queue, worker.Options{MaxHeartbeatThrottleInterval: 50 * time.Millisecond})
		for name, fn := range activities {
			w.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
		}
		require.NoError(s.t, w.Start())
		s.t.Cleanup(w.Stop)
	}
	return m
}

func (m *machine) train(ctx context.Context, in contract.RunInput) (contract.RunOutput, error) {
	state, err := m.store.RunState(ctx, in.RunID)
	if err != nil {
		return contract.RunOutput{}, err
	}
	run, err := m.store.ClaimRun(ctx, store.RunClaim{RunID: in.RunID, Nonce: "n", ClaimRequest: contract.ClaimRequest{ExpectEpoch: state.Epoch, Worker: "host/1/b"}})
	if err != nil {
		return contract.RunOutput{}, err
	}
	select {
	case <-m.hold:
	case <-cancelled(ctx):
		return contract.RunOutput{}, temporal.NewCanceledError(contract.CheckpointRef{Name: "step-00000004", Step: 4})
	}
	if err := m.tell(ctx, in.RunID, run.Epoch, contract.RunResult{}); err != nil {
		return contract.RunOutput{}, err
	}
	if err := m.handIn(ctx, store.Fence{RunID: in.RunID, Epoch: run.Epoch, Nonce: "n"}); err != nil {
		return contract.RunOutput{}, err
	}
	return contract.RunOutput{Outcome: contract.OutcomeCompleted, Step: 9, TotalSteps: 9}, nil
}

func (m *machine) handIn(ctx context.Context, f store.Fence) error {
	object, err := m.artifacts.Put(ctx, artifact.PutInput{Reader: strings.NewReader("weights"), Name: "adapter_model.safetensors"})
	if err != nil {
		return err
	}
	if err := m.store.AddRunBlob(ctx, f, contract.ObjectRef{ObjectID: object.ID, SHA256: object.SHA256, Size: object.Size}); err != nil {
		return err
	}
	return m.store.CommitArtifact(ctx, f, contract.Manifest{Kind: "adapter", Name: "adapter", Step: 9, Files: []contract.FileInfo{
		{Path: "adapter_model.safetensors", SHA256: object.SHA256, Size: object.Size},
	}})
}

// tell hands in what a runner says of the rows that it reads: a line of its log, and a result.
func (m *machine) tell(ctx context.Context, runID string, epoch int64, result contract.RunResult) error {
	if m.quote == "" {
		return nil
	}
	line, err := json.Marshal(map[string]any{"n": 1, "type": "log", "level": "warn", "message": "cut: " + m.quote})
	if err != nil {
		return err
	}
	fence := store.Fence{RunID: runID, Epoch: epoch, Nonce: "n"}
	batch := store.RunBatch{Fence: fence, First: 1, Events: []contract.NewEvent{{Type: contract.RunnerLog, Payload: line}}}
	if _, err := m.store.AppendRun(ctx, batch); err != nil || result.Outcome == "" {
		return err
	}
	result.RunID, result.Epoch = runID, epoch
	return m.store.SaveResult(ctx, fence, result)
}

func (m *machine) evaluate(ctx context.Context, in contract.RunInput) (contract.RunOutput, error) {
	if m.quote != "" {
		if err := m.answer(ctx, in.RunID); err != nil {
			return contract.RunOutput{}, err
		}
	}
	return contract.RunOutput{Outcome: contract.OutcomeCompleted, Metrics: json.RawMessage(`{"rows":100,"verdict":"better","loss_delta":-0.1}`)}, nil
}

// answer hands in an evaluation with samples.
func (m *machine) answer(ctx context.Context, runID string) error {
	run, err := m.store.ClaimRun(ctx, store.RunClaim{RunID: runID, Nonce: "n", ClaimRequest: contract.ClaimRequest{Worker: "host/1/b"}})
	if err != nil {
		return err
	}
	metrics, err := json.Marshal(contract.EvaluationResult{Rows: 100, Verdict: contract.VerdictBetter,
		Samples: []contract.EvaluationSample{{Prompt: m.quote, Reference: m.quote, AnswerBase: "what?", AnswerTuned: m.quote}}})
	if err != nil {
		return err
	}
	return m.tell(ctx, runID, run.Epoch, contract.RunResult{Outcome: contract.OutcomeCompleted, Metrics: metrics})
}

func (m *machine) serve(ctx context.Context, in contract.RunInput) error {
	if err := m.store.SaveServing(ctx, in.RunID, contract.Serving{Worker: "host/1/b", URL: "http://127.0.0.1:1", Name: "a"}); err != nil {
		return err
	}
	<-cancelled(ctx)
	return temporal.NewCanceledError()
}

// cancelled beats until the activity is cancelled.
func cancelled(ctx context.Context) <-chan struct{} {
	go func() {
		beat := time.NewTicker(20 * time.Millisecond)
		defer beat.Stop()
		for ctx.Err() == nil {
			activity.RecordHeartbeat(ctx)
			select {
			case <-beat.C:
			case <-ctx.Done():
			}
		}
	}()
	return ctx.Done()
}

// ask carries out a command as the API does.
func (s *site) ask(kind contract.Kind, id, event, signal string) {
	s.t.Helper()
	_, err := s.store.Command(s.t.Context(), store.Command{
		Kind: kind, ID: id, Event: contract.NewEvent{Type: contract.EventType(kind, event)},
		Signal: &contract.Signal{WorkflowID: contract.WorkflowID(kind, id), Name: signal},
	})
	require.NoError(s.t, err)
}

// becomes waits, woken by the log, until status holds.
func (s *site) becomes(kind contract.Kind, id string, want contract.Status, status func() contract.Status) {
	s.t.Helper()
	wake, release := s.store.Subscribe(contract.Stream(kind, id))
	defer release()
	patience := time.After(30 * time.Second)
	for status() != want {
		select {
		case <-wake:
		case <-patience:
			require.Fail(s.t, "it never became so", "%s is %s, not %s", id, status(), want)
		}
	}
}

func (s *site) pipelineIs(id string, want contract.Status) *store.Pipeline {
	s.t.Helper()
	var row *store.Pipeline
	s.becomes(contract.KindPipeline, id, want, func() (status contract.Status) {
		var err error
		row, err = s.store.GetPipeline(s.t.Context(), id)
		require.NoError(s.t, err)
		return row.Status
	})
	return row
}

func (s *site) jobIs(id string, want contract.Status) *store.Job {
	s.t.Helper()
	var row *store.Job
	s.becomes(contract.KindJob, id, want, func() contract.Status {
		var err error
		row, err = s.store.GetJob(s.t.Context(), id)
		require.NoError(s.t, err)
		return row.Status
	})
	return row
}

func (s *site) deploymentIs(id string, want contract.Status) {
	s.t.Helper()
	s.becomes(contract.KindDeployment, id, want, func() contract.Status {
		row, err := s.store.GetDeployment(s.t.Context(), id)
		require.NoError(s.t, err)
		return row.Status
	})
}

func (s *site) tellPipeline(asked contract.PipelineRequest) string {
	s.t.Helper()
	id := contract.NewID(contract.PrefixPipeline)
	s.create(contract.KindPipeline, id, contract.PipelineCreated{ProjectID: store.DefaultProject, Name: "story", Request: asked},
		contract.WorkflowPipeline, contract.PipelineInput{PipelineID: id, Request: asked})
	return id
}

// TestTheWholeStory: upload, proposal, confirmation, training that is paused and resumed under its own id, evaluation,
// serving, and the deployment's own life after it; every status as docs/state-machine.md has it.
func TestTheWholeStory(t *testing.T) {
	s := newSite(t)
	m := s.machine()
	defer s.serve(s.store)()
	id := s.tellPipeline(contract.PipelineRequest{DatasetID: s.upload(rows(400))})

	proposed := s.pipelineIs(id, contract.StatusAwaiting)
	require.Equal(t, catalog.Bundled, proposed.Recommendation.ModelID)
	s.ask(contract.KindPipeline, id, contract.EventConfirmed, contract.SignalConfirm)
	training := contract.DerivedID(contract.PrefixJob, id, contract.StageTrain, "1")
	s.until(contract.KindPipeline, id, contract.EventConfirmed)
	require.Eventually(t, func() bool { _, err := s.store.GetJob(context.Background(), training); return err == nil }, 20*time.Second, 5*time.Millisecond)
	s.jobIs(training, contract.StatusRunning)
	s.ask(contract.KindJob, training, contract.EventPauseRequested, contract.SignalPause)
	require.Equal(t, 4, s.jobIs(training, contract.StatusPaused).Step)
	s.ask(contract.KindJob, training, contract.EventResumeRequested, contract.SignalResume)
	require.True(t, s.jobIs(training, contract.StatusRunning).Priority)
	close(m.hold)

	done := s.pipelineIs(id, contract.StatusCompleted)
	names := []string{}
	for _, stage := range done.Stages {
		require.Equal(t, contract.StatusCompleted, stage.Status, stage.Stage)
		names = append(names, stage.Stage)
	}
	require.Equal(t, []string{"analyze", "recommend", "confirm", "train", "evaluate", "deploy"}, names)
	job := s.jobIs(training, contract.StatusCompleted)
	tuned, err := s.store.GetModel(t.Context(), job.TunedModelID)
	require.NoError(t, err)
	require.Equal(t, catalog.Bundled, tuned.BaseModelID)

	deployment := done.Stages[5].ID
	s.deploymentIs(deployment, contract.StatusServing)
	s.ask(contract.KindDeployment, deployment, contract.EventStopRequested, contract.SignalStop)
	s.deploymentIs(deployment, contract.StatusStopped)

	before, err := s.store.GetPipeline(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, s.store.Rebuild(t.Context()))
	after, err := s.store.GetPipeline(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, before, after, "the row follows from the log")
}

// TestAPipelineOfABadDataset fails its first stage with the dataset's own reason, and is cancelled with its job later.
func TestAPipelineOfABadDataset(t *testing.T) {
	s := newSite(t)
	defer s.serve(s.store)()
	id := s.tellPipeline(contract.PipelineRequest{DatasetID: s.upload("{\"instruction\": 1\n"), AutoConfirm: true})
	failed := s.pipelineIs(id, contract.StatusFailed)
	require.Equal(t, contract.CodeBadData, failed.Error.Code)
	require.Contains(t, failed.Error.Message, "line 1")
}

func TestCancellingAPipelineCancelsItsJob(t *testing.T) {
	s := newSite(t)
	s.machine()
	defer s.serve(s.store)()
	id := s.tellPipeline(contract.PipelineRequest{DatasetID: s.upload(rows(400)), AutoConfirm: true})
	training := contract.DerivedID(contract.PrefixJob, id, contract.StageTrain, "1")
	require.Eventually(t, func() bool { _, err := s.store.GetJob(context.Background(), training); return err == nil }, 20*time.Second, 5*time.Millisecond)
	s.jobIs(training, contract.StatusRunning)
	s.ask(contract.KindPipeline, id, contract.EventCancelRequested, contract.SignalCancel)
	s.pipelineIs(id, contract.StatusCancelled)
	s.jobIs(training, contract.StatusCancelled)
}
