package recording

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/embedded/embeddedtest"
	"github.com/vibeflow/vibeflow/workflows"
)

var (
	record  = flag.Bool("record", false, "write the histories")
	version = flag.String("version", "v1", "folder of the histories")
)

// histories is where the recorded ones lie, a folder a release.
var histories = filepath.Join("..", "testdata", "histories")

func TestMain(m *testing.M) { embeddedtest.MainForRecording(m) }

// stage is a Temporal with one worker whose activities do what a story says.
type stage struct {
	t      *testing.T
	client client.Client
	queue  string
	events chan contract.NewEvent
	// plan says what the nth launch of a slot activity does.
	plan    func(n int64) launch
	suggest func(n int64) error
	profile error
	serves  int64 // how many engines end at once
	// register says whether the nth registration of a model fails.
	register func(n int64) error
	// room says that a disk which was full has room again.
	room bool

	launches, suggestions, registrations atomic.Int64
	running                              chan struct{} // told when a launch has begun
}

// launch ends as told, or, with neither, waits to be cancelled and saves.
type launch struct {
	done bool
	err  error
}

func newStage(t *testing.T) *stage {
	t.Helper()
	return newStageOn(t, embeddedtest.Start(t).Name(t, "queue"))
}

func newStageOn(t *testing.T, queue string) *stage {
	t.Helper()
	server := embeddedtest.Start(t)
	s := &stage{
		t: t, client: server.Client, queue: queue,
		events: make(chan contract.NewEvent, 1000), running: make(chan struct{}, 100),
		plan: func(int64) launch { return launch{done: true} }, suggest: func(int64) error { return nil },
		register: func(int64) error { return nil },
	}
	w := worker.New(s.client, s.queue, worker.Options{MaxHeartbeatThrottleInterval: 50 * time.Millisecond})
	workflows.Register(w)
	for name, fn := range map[string]any{
		contract.ActivityRecordEvents: s.recordEvents,
		contract.ActivityProfileDataset: func(context.Context, contract.DatasetInput) (contract.DatasetOutput, error) {
			return contract.DatasetOutput{Format: "chat", Rows: 420}, s.profile
		},
		contract.ActivityProcessDataset: func(context.Context, contract.DatasetInput) (contract.DatasetOutput, error) {
			return contract.DatasetOutput{Format: "chat", Rows: 420, TrainRows: 320, EvalRows: 100}, nil
		},
		contract.ActivityRecommend: func(context.Context, contract.RecommendInput) (contract.Recommendation, error) {
			return contract.Recommendation{ModelID: "smollm2-135m-instruct", Config: contract.Training{Method: "lora"}}, s.suggest(s.suggestions.Add(1))
		},
		contract.ActivityRegisterModel: func(context.Context, contract.RegisterModelInput) (contract.RegisterModelOutput, error) {
			return contract.RegisterModelOutput{ModelID: "model_1", Step: 3}, s.register(s.registrations.Add(1))
		},
		contract.ActivityStartStage: func(_ context.Context, in contract.StartStageInput) (contract.StartStageOutput, error) {
			return contract.StartStageOutput{ID: contract.DerivedID(in.Stage+"_", in.PipelineID, in.Stage), Queue: s.queue}, nil
		},
		contract.ActivityAwaitStatus: func(context.Context, contract.AwaitStatusInput) (contract.AwaitStatusOutput, error) {
			return contract.AwaitStatusOutput{Status: contract.StatusReady}, nil
		},
		contract.ActivityAssembleExport: func(context.Context, contract.RunInput) (contract.ExportOutput, error) {
			return contract.ExportOutput{Files: 3, Bytes: 4096}, nil
		},
		contract.ActivityAwaitStore: s.awaitRoom,
		contract.ActivityTrain:      s.run,
		contract.ActivityEvaluate:   s.run,
		contract.ActivityExport:     s.run,
		contract.ActivityServe:      s.serve,
	} {
		w.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
	}
	beside := worker.New(s.client, contract.ServeQueue(s.queue), worker.Options{})
	beside.RegisterActivityWithOptions(s.awaitRoom, activity.RegisterOptions{Name: contract.ActivityAwaitRoom})
	for _, w := range []worker.Worker{w, beside} {
		require.NoError(t, w.Start())
		t.Cleanup(w.Stop)
	}
	return s
}

func (s *stage) recordEvents(ctx context.Context, in contract.RecordEventsInput) error {
	for _, event := range in.Events {
		s.events <- event
		if strings.HasSuffix(event.Type, "."+contract.EventQueued) {
			s.giveTurn(ctx, event)
		}
	}
	return nil
}

// giveTurn does what the line does once there is room. The workflow that tells of its place is the one that waits.
func (s *stage) giveTurn(ctx context.Context, event contract.NewEvent) {
	turn := contract.Turn{QueuedAt: event.At.Truncate(time.Microsecond)}
	err := s.client.SignalWorkflow(ctx, activity.GetInfo(ctx).WorkflowExecution.ID, "", contract.SignalTurn, turn)
	if err != nil {
		s.t.Error("no turn was told", err)
	}
}

func (s *stage) run(ctx context.Context, _ contract.RunInput) (contract.RunOutput, error) {
	l := s.plan(s.launches.Add(1))
	s.running <- struct{}{}
	switch {
	case l.err != nil:
		return contract.RunOutput{}, l.err
	case l.done:
		return contract.RunOutput{
			Outcome: contract.OutcomeCompleted, Step: 40, TotalSteps: 40, Metrics: json.RawMessage(`{"verdict":"better","loss_delta":-0.15}`),
		}, nil
	}
	untilCancelled(ctx)
	return contract.RunOutput{}, temporal.NewCanceledError(contract.CheckpointRef{Name: "step-00000003", Step: 3})
}

func (s *stage) awaitRoom(ctx context.Context, _ contract.RunInput) error {
	if s.room {
		return nil
	}
	untilCancelled(ctx)
	return temporal.NewCanceledError()
}

func (s *stage) serve(ctx context.Context, _ contract.RunInput) error {
	n := s.launches.Add(1)
	s.running <- struct{}{}
	if n <= s.serves {
		return nil
	}
	untilCancelled(ctx)
	return temporal.NewCanceledError()
}

func untilCancelled(ctx context.Context) {
	beat := time.NewTicker(20 * time.Millisecond)
	defer beat.Stop()
	for ctx.Err() == nil {
		activity.RecordHeartbeat(ctx)
		select {
		case <-beat.C:
		case <-ctx.Done():
		}
	}
}

// until waits for an event whose type ends as named.
func (s *stage) until(kind contract.Kind, suffix string) {
	s.t.Helper()
	patience := time.After(30 * time.Second)
	for {
		select {
		case event := <-s.events:
			if event.Type == contract.EventType(kind, suffix) {
				return
			}
		case <-patience:
			require.Fail(s.t, "it never came", "%s.%s", kind, suffix)
		}
	}
}

func (s *stage) untilRunning() {
	s.t.Helper()
	select {
	case <-s.running:
	case <-time.After(30 * time.Second):
		require.Fail(s.t, "no launch began")
	}
}

func (s *stage) start(id, workflow string, in any) client.WorkflowRun {
	s.t.Helper()
	run, err := s.client.ExecuteWorkflow(s.t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: s.queue}, workflow, in)
	require.NoError(s.t, err)
	return run
}

func (s *stage) tell(run client.WorkflowRun, signal string, payload any) {
	s.t.Helper()
	require.NoError(s.t, s.client.SignalWorkflow(s.t.Context(), run.GetID(), "", signal, payload))
}

func numbered(n int64) contract.ControlRequest { return contract.ControlRequest{Seq: n} }

// story runs one workflow and returns the run whose history is recorded.
type story struct {
	name string
	tell func(s *stage, id string) client.WorkflowRun
	ends enums.WorkflowExecutionStatus
}

const (
	completed = enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
	failed    = enums.WORKFLOW_EXECUTION_STATUS_FAILED
	cancelled = enums.WORKFLOW_EXECUTION_STATUS_CANCELED
	continued = enums.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW
)

func problem(code contract.Code) error {
	p := contract.Error{Code: code, Message: "as the story has it", Remedy: "none"}
	return temporal.NewApplicationErrorWithOptions(p.Message, string(code), temporal.ApplicationErrorOptions{Details: []any{p}})
}

// first gives the first launch a fate; all others complete.
func first(l launch) func(int64) launch {
	return func(n int64) launch {
		if n == 1 {
			return l
		}
		return launch{done: true}
	}
}

var stories = []story{
	{"train_completed", train(nil, nil), completed},
	{"train_paused_and_resumed", train(first(launch{}), func(s *stage, run client.WorkflowRun) {
		s.untilRunning()
		s.tell(run, contract.SignalPause, numbered(1))
		s.until(contract.KindJob, contract.EventPaused)
		s.tell(run, contract.SignalResume, numbered(2))
	}), completed},
	{"train_cancelled", train(first(launch{}), func(s *stage, run client.WorkflowRun) {
		s.untilRunning()
		s.tell(run, contract.SignalCancel, contract.CancelRequest{})
	}), cancelled},
	{"train_cancelled_by_temporal", train(first(launch{}), func(s *stage, run client.WorkflowRun) {
		s.untilRunning()
		require.NoError(s.t, s.client.CancelWorkflow(s.t.Context(), run.GetID(), ""))
	}), cancelled},
	{"train_cancelled_while_paused", train(first(launch{}), func(s *stage, run client.WorkflowRun) {
		s.untilRunning()
		s.tell(run, contract.SignalPause, numbered(1))
		s.until(contract.KindJob, contract.EventPaused)
		s.tell(run, contract.SignalCancel, contract.CancelRequest{})
	}), cancelled},
	{"train_stopped_and_kept", train(first(launch{}), func(s *stage, run client.WorkflowRun) {
		s.untilRunning()
		s.tell(run, contract.SignalCancel, contract.CancelRequest{Keep: true})
	}), completed},
	{"train_kept_once_there_is_room", func(s *stage, id string) client.WorkflowRun {
		s.register = func(n int64) error {
			if n == 1 {
				return problem(contract.CodeDiskFull)
			}
			return nil
		}
		return train(first(launch{}), func(s *stage, run client.WorkflowRun) {
			s.untilRunning()
			s.tell(run, contract.SignalCancel, contract.CancelRequest{Keep: true})
			s.until(contract.KindJob, contract.EventPaused)
			s.tell(run, contract.SignalCancel, contract.CancelRequest{Keep: true})
		})(s, id)
	}, completed},
	{"train_resumed_while_it_pauses", train(first(launch{}), func(s *stage, run client.WorkflowRun) {
		s.untilRunning()
		s.tell(run, contract.SignalPause, numbered(1))
		s.tell(run, contract.SignalResume, numbered(2))
	}), completed},
	{"train_failed", train(first(launch{err: problem(contract.CodeBadData)}), nil), failed},
	{"train_crashed_once", train(first(launch{err: problem(contract.CodeRunnerCrashed)}), nil), completed},
	{"train_disk_full", train(first(launch{err: problem(contract.CodeDiskFull)}), func(s *stage, run client.WorkflowRun) {
		s.until(contract.KindJob, contract.EventPaused)
		s.tell(run, contract.SignalResume, numbered(1))
	}), completed},
	{"train_goes_on_once_there_is_room", func(s *stage, id string) client.WorkflowRun {
		s.room = true
		return train(first(launch{err: problem(contract.CodeDiskFull)}), nil)(s, id)
	}, completed},
	{"train_paused_while_it_waits_for_room", train(first(launch{err: problem(contract.CodeDiskFull)}), func(s *stage, run client.WorkflowRun) {
		s.until(contract.KindJob, contract.EventPaused)
		s.tell(run, contract.SignalPause, numbered(1))
		s.until(contract.KindJob, contract.EventPaused)
		s.tell(run, contract.SignalResume, numbered(2)) // and its history is long by then
	}), continued},
	{"evaluate_completed", func(s *stage, id string) client.WorkflowRun {
		return s.start(id, contract.WorkflowEvaluate, contract.EvaluateInput{EvaluationID: "eval_1", Queue: s.queue})
	}, completed},
	{"evaluate_cancelled", func(s *stage, id string) client.WorkflowRun {
		s.plan = first(launch{})
		run := s.start(id, contract.WorkflowEvaluate, contract.EvaluateInput{EvaluationID: "eval_1", Queue: s.queue})
		s.untilRunning()
		s.tell(run, contract.SignalCancel, contract.CancelRequest{})
		return run
	}, cancelled},
	{"export_completed", func(s *stage, id string) client.WorkflowRun {
		return s.start(id, contract.WorkflowExport, contract.ExportInput{ExportID: "exp_1", Queue: s.queue})
	}, completed},
	{"deploy_stopped", func(s *stage, id string) client.WorkflowRun {
		run := s.start(id, contract.WorkflowDeploy, contract.DeployInput{DeploymentID: "dep_1", Queue: s.queue})
		s.untilRunning()
		s.tell(run, contract.SignalStop, numbered(1))
		return run
	}, completed},
	{"deploy_continued_as_new", func(s *stage, id string) client.WorkflowRun {
		s.serves = 8 // engines that end at once, until the history is long
		run := s.start(id, contract.WorkflowDeploy, contract.DeployInput{DeploymentID: "dep_1", Queue: s.queue})
		for range s.serves + 1 {
			s.untilRunning()
		}
		s.tell(run, contract.SignalStop, numbered(1))
		return run
	}, continued},
	{"ingest_ready", func(s *stage, id string) client.WorkflowRun {
		return s.start(id, contract.WorkflowIngest, contract.IngestInput{DatasetID: "ds_1"})
	}, completed},
	{"ingest_failed", func(s *stage, id string) client.WorkflowRun {
		s.profile = problem(contract.CodeBadData)
		return s.start(id, contract.WorkflowIngest, contract.IngestInput{DatasetID: "ds_1"})
	}, failed},
	{"pipeline_confirmed", func(s *stage, id string) client.WorkflowRun {
		run := s.pipeline(id, contract.PipelineRequest{DatasetID: "ds_1"})
		s.until(contract.KindPipeline, contract.EventProposed)
		s.tell(run, contract.SignalConfirm, contract.ConfirmRequest{Config: &contract.Training{Method: "lora"}})
		return run
	}, completed},
	{"pipeline_stage_retried", func(s *stage, id string) client.WorkflowRun {
		s.suggest = func(n int64) error {
			if n == 1 {
				return problem(contract.CodeUnsupported)
			}
			return nil
		}
		run := s.pipeline(id, contract.PipelineRequest{DatasetID: "ds_1", AutoConfirm: true, SkipEvaluate: true, SkipDeploy: true})
		s.until(contract.KindPipeline, contract.EventFailed)
		s.tell(run, contract.SignalRetry, numbered(1))
		return run
	}, completed},
	{"pipeline_cancelled_in_training", func(s *stage, id string) client.WorkflowRun {
		s.plan = first(launch{})
		run := s.pipeline(id, contract.PipelineRequest{DatasetID: "ds_1", AutoConfirm: true})
		s.untilRunning()
		s.tell(run, contract.SignalCancel, contract.CancelRequest{})
		return run
	}, cancelled},
}

func train(plan func(int64) launch, then func(*stage, client.WorkflowRun)) func(*stage, string) client.WorkflowRun {
	return func(s *stage, id string) client.WorkflowRun {
		if plan != nil {
			s.plan = plan
		}
		run := s.start(id, contract.WorkflowTrain, contract.TrainInput{JobID: "job_1", Queue: s.queue})
		if then != nil {
			then(s, run)
		}
		return run
	}
}

func (s *stage) pipeline(id string, request contract.PipelineRequest) client.WorkflowRun {
	// Children have the IDs of their resources, so a pipeline's id must be this test's own.
	return s.start(id, contract.WorkflowPipeline, contract.PipelineInput{PipelineID: id, Request: request})
}

func TestRecordHistories(t *testing.T) {
	for _, story := range stories {
		t.Run(story.name, func(t *testing.T) {
			s := newStage(t)
			run := story.tell(s, embeddedtest.Start(t).Name(t, "run"))
			first := run.GetRunID()       // Get goes on to the one that it continued as
			_ = run.Get(t.Context(), nil) // how it ended is read from its description
			described, err := s.client.DescribeWorkflowExecution(t.Context(), run.GetID(), first)
			require.NoError(t, err)
			require.Equal(t, story.ends, described.GetWorkflowExecutionInfo().GetStatus())
			if *record {
				write(t, story.name, history(t, s.client, run.GetID(), first))
			}
		})
	}
}

func history(t *testing.T, c client.Client, id, runID string) *historypb.History {
	t.Helper()
	var h historypb.History
	events := c.GetWorkflowHistory(t.Context(), id, runID, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		require.NoError(t, err)
		h.Events = append(h.Events, event)
	}
	return &h
}

func write(t *testing.T, name string, h *historypb.History) {
	t.Helper()
	folder := filepath.Join(histories, *version)
	require.NoError(t, os.MkdirAll(folder, 0o755))
	body, err := protojson.Marshal(h)
	require.NoError(t, err)
	file, err := os.Create(filepath.Join(folder, name+".json.gz"))
	require.NoError(t, err)
	zip := gzip.NewWriter(file)
	_, err = zip.Write(body)
	require.NoError(t, err)
	require.NoError(t, zip.Close())
	require.NoError(t, file.Close())
}
