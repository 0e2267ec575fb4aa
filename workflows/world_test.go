package workflows_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/workflows"
)

// launch says how one slot activity behaves, in the workflow's virtual time.
type launch struct {
	lasts  time.Duration          // until it ends by itself; 0: only when it is cancelled
	saving time.Duration          // between the cancel and the end
	ref    contract.CheckpointRef // what a cancelled one reports; none: it was waiting for a slot
	out    contract.RunOutput
	err    error
	dies   error // what is told of a cancelled one instead, for its worker died
	wins   bool  // a cancelled one completes all the same: it was at its end
}

// world is everything around a workflow. The slot activities are simulated inside the workflow, by an interceptor, for
// the test environment ends a cancelled activity at once and cannot tell of its checkpoint.
type world struct {
	interceptor.WorkerInterceptorBase
	t     require.TestingT
	env   *testsuite.TestWorkflowEnvironment
	start time.Time

	// plan says how the nth launch (from 0) of a slot activity behaves.
	plan func(n int, activity string) launch
	// room says when the disk has room again, once it is waited for the nth time (from 0); 0: never.
	room func(n int) time.Duration
	// turn says how long the nth run in line (from 0) waits for its turn, and how often it is told.
	turn func(n int) (after time.Duration, times int)
	// toldBefore is how much earlier than the workflow an earlier try of it, which died, had told the log that the run queued.
	toldBefore time.Duration
	// control answers the activities of the control queue.
	control controlActivities

	mu       sync.Mutex
	events   map[string][]contract.NewEvent
	queued   int
	line     map[string][2]time.Time // by stream: when it joined the line last, and which of its stays a turn has answered
	jumped   bool                    // a launch began before its turn
	active   map[string]int
	held     bool // a launch went on while its run was told to be paused or in line
	launches []workflow.ActivityOptions
	begun    []time.Duration // when each launch began, since the start
	looked   map[string]int  // how often room was waited for, by activity
	running  int
	overlap  bool
}

type controlActivities struct {
	refuse   func(contract.NewEvent) error
	register func(contract.RegisterModelInput) (contract.RegisterModelOutput, error)
	profile  func(context.Context, contract.DatasetInput) (contract.DatasetOutput, error)
	process  func(context.Context, contract.DatasetInput) (contract.DatasetOutput, error)
	suggest  func(contract.RecommendInput) (contract.Recommendation, error)
	start    func(contract.StartStageInput) (contract.StartStageOutput, error)
	await    func(context.Context, contract.AwaitStatusInput) (contract.AwaitStatusOutput, error)
}

func newWorld(t require.TestingT) *world {
	suite := &testsuite.WorkflowTestSuite{}
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	w := &world{t: t, env: suite.NewTestWorkflowEnvironment(), events: map[string][]contract.NewEvent{}, active: map[string]int{}, line: map[string][2]time.Time{}}
	w.start = w.env.Now()
	w.plan = func(int, string) launch { return finishes(time.Minute) }
	w.room, w.looked = func(int) time.Duration { return 0 }, map[string]int{}
	w.turn = func(int) (time.Duration, int) { return 0, 1 }
	w.control = controlActivities{
		refuse: func(contract.NewEvent) error { return nil },
		register: func(in contract.RegisterModelInput) (contract.RegisterModelOutput, error) {
			if in.Keep && len(w.launches) == 0 {
				return contract.RegisterModelOutput{}, appError(contract.Errorf(contract.CodeNotFound, "no checkpoint"))
			}
			return contract.RegisterModelOutput{ModelID: contract.DerivedID(contract.PrefixModel, in.JobID)}, nil
		},
		profile: func(context.Context, contract.DatasetInput) (contract.DatasetOutput, error) {
			return contract.DatasetOutput{Format: "chat", Rows: 100}, nil
		},
		process: func(context.Context, contract.DatasetInput) (contract.DatasetOutput, error) {
			return contract.DatasetOutput{Format: "chat", Rows: 100, TrainRows: 90, EvalRows: 10}, nil
		},
		suggest: func(in contract.RecommendInput) (contract.Recommendation, error) {
			out := contract.Recommendation{ModelID: "smollm2-135m-instruct", Config: contract.Training{Method: "lora", Epochs: 1}}
			if in.Config != nil {
				out.Config = *in.Config
			}
			return out, nil
		},
		start: func(in contract.StartStageInput) (contract.StartStageOutput, error) {
			return contract.StartStageOutput{ID: stageID(in), Queue: contract.QueueCPU}, nil
		},
		await: func(context.Context, contract.AwaitStatusInput) (contract.AwaitStatusOutput, error) {
			return contract.AwaitStatusOutput{Status: contract.StatusReady}, nil
		},
	}
	w.register()
	return w
}

func stageID(in contract.StartStageInput) string {
	return contract.DerivedID(in.Stage+"_", in.PipelineID, string(rune('0'+in.Attempt)))
}

func (w *world) register() {
	workflows.Register(w.env)
	w.env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{w}})
	w.env.SetTestTimeout(20 * time.Second)
	for name, fn := range map[string]any{
		contract.ActivityRecordEvents: w.recordEvents,
		contract.ActivityRegisterModel: func(_ context.Context, in contract.RegisterModelInput) (contract.RegisterModelOutput, error) {
			return w.control.register(in)
		},
		contract.ActivityProfileDataset: func(ctx context.Context, in contract.DatasetInput) (contract.DatasetOutput, error) {
			return w.control.profile(ctx, in)
		},
		contract.ActivityProcessDataset: func(ctx context.Context, in contract.DatasetInput) (contract.DatasetOutput, error) {
			return w.control.process(ctx, in)
		},
		contract.ActivityRecommend: func(_ context.Context, in contract.RecommendInput) (contract.Recommendation, error) {
			return w.control.suggest(in)
		},
		contract.ActivityStartStage: func(_ context.Context, in contract.StartStageInput) (contract.StartStageOutput, error) {
			return w.control.start(in)
		},
		contract.ActivityAwaitStatus: func(ctx context.Context, in contract.AwaitStatusInput) (contract.AwaitStatusOutput, error) {
			return w.control.await(ctx, in)
		},
		contract.ActivityAssembleExport: func(context.Context, contract.RunInput) (contract.ExportOutput, error) {
			return contract.ExportOutput{Files: 3, Bytes: 4096}, nil
		},
	} {
		w.env.RegisterActivityWithOptions(fn, activity.RegisterOptions{Name: name})
	}
}

// recordEvents keeps what a real log would: one event for each (source, source_seq).
func (w *world) recordEvents(_ context.Context, in contract.RecordEventsInput) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, event := range in.Events {
		if err := w.control.refuse(event); err != nil {
			return err
		}
		known := false
		for _, old := range w.events[in.Stream] {
			known = known || (old.Source == event.Source && old.SourceSeq == event.SourceSeq)
		}
		if !known {
			if strings.HasSuffix(event.Type, "."+contract.EventQueued) {
				event.At = event.At.Add(-w.toldBefore)
			}
			w.events[in.Stream] = append(w.events[in.Stream], event)
			w.giveTurn(in.Stream, event)
			w.held = w.held || (w.active[contract.ActivityTrain] > 0 && (event.Type == "job.paused" || event.Type == "job.queued"))
		}
	}
	return nil
}

// giveTurn does what the line does once there is room: it tells a run that joined that its turn has come.
func (w *world) giveTurn(stream string, event contract.NewEvent) {
	kind, id, _ := contract.SplitStream(stream)
	if event.Type != contract.EventType(kind, contract.EventQueued) {
		return
	}
	after, times := w.turn(w.queued)
	w.queued++
	w.line[stream] = [2]time.Time{event.At, w.line[stream][1]}
	tell := func() {
		turn := contract.Turn{QueuedAt: event.At.Truncate(time.Microsecond)}
		w.mu.Lock()
		if joined, answered := w.line[stream][0], w.line[stream][1]; event.At.After(answered) { // a late one answers nothing
			w.line[stream] = [2]time.Time{joined, event.At}
		}
		w.mu.Unlock()
		if w.env.SignalWorkflowByID(contract.WorkflowID(kind, id), contract.SignalTurn, turn) != nil { // it is no child
			w.env.SignalWorkflow(contract.SignalTurn, turn)
		}
	}
	for i := range times {
		w.env.RegisterDelayedCallback(tell, after+time.Duration(i)*time.Second)
	}
}

// InterceptWorkflow implements interceptor.WorkerInterceptor.
func (w *world) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	in := &inbound{world: w}
	in.Next = next
	return in
}

type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
	world *world
}

// Init puts the simulation of slots between the workflow and the environment.
func (i *inbound) Init(out interceptor.WorkflowOutboundInterceptor) error {
	o := &outbound{world: i.world}
	o.Next = out
	return i.Next.Init(o)
}

type outbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	world *world
}

// ExecuteActivity simulates slot activities and passes all others on.
func (o *outbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	switch name {
	case contract.ActivityTrain, contract.ActivityEvaluate, contract.ActivityExport, contract.ActivityServe:
		o.world.checkTurn(args[0].(contract.RunInput))
		return o.world.simulate(ctx, name)
	case contract.ActivityAwaitStore, contract.ActivityAwaitRoom:
		return o.world.simulateRoom(ctx, name)
	default:
		return o.Next.ExecuteActivity(ctx, name, args...)
	}
}

func (w *world) simulateRoom(ctx workflow.Context, name string) workflow.Future {
	after := w.room(w.looked[name])
	w.looked[name]++
	future, settle := workflow.NewFuture(ctx)
	workflow.Go(ctx, func(ctx workflow.Context) {
		if after == 0 {
			ctx.Done().Receive(ctx, nil)
			settle.SetError(temporal.NewCanceledError())
			return
		}
		settle.SetError(workflow.Sleep(ctx, after))
	})
	return future
}

func (w *world) simulate(ctx workflow.Context, name string) workflow.Future {
	l := w.plan(len(w.launches), name)
	w.launches = append(w.launches, workflow.GetActivityOptions(ctx))
	w.begun = append(w.begun, workflow.Now(ctx).Sub(w.start))
	w.running++
	w.begins(name, 1)
	w.overlap = w.overlap || (w.running > 1 && name == contract.ActivityTrain)
	future, settle := workflow.NewFuture(ctx)
	workflow.Go(ctx, func(ctx workflow.Context) {
		free, _ := workflow.NewDisconnectedContext(ctx)
		ended := l.lasts > 0 && workflow.Sleep(ctx, l.lasts) == nil
		if !ended {
			ctx.Done().Receive(free, nil)
			_ = workflow.Sleep(free, l.saving)
		}
		w.running--
		w.begins(name, -1)
		switch {
		case ended || l.wins:
			settle.Set(l.out, l.err)
		case l.dies != nil:
			settle.SetError(l.dies)
		case l.ref.Name == "":
			settle.SetError(temporal.NewCanceledError())
		default:
			settle.SetError(temporal.NewCanceledError(l.ref))
		}
	})
	return future
}

func (w *world) checkTurn(in contract.RunInput) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stay := w.line[contract.Stream(in.Kind, in.RunID)]
	w.jumped = w.jumped || (in.Kind != contract.KindDeployment && !stay[0].Equal(stay[1]))
}

// lastAt is when the newest event of a resource was told, since the start.
func (w *world) lastAt(kind contract.Kind, id string) time.Duration {
	events := w.events[contract.Stream(kind, id)]
	return events[len(events)-1].At.Sub(w.start)
}

// begins notes that a launch begins or ends.
func (w *world) begins(activity string, by int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active[activity] += by
}

// busy tells how many launches go on that take a slot.
func (w *world) busy() int { return w.running - w.active[contract.ActivityServe] }

// finishes is a launch that completes by itself; cancelled before, it saves step 7.
func finishes(after time.Duration) launch {
	return launch{
		lasts: after, saving: 5 * time.Second,
		ref: contract.CheckpointRef{Name: "step-00000007", Step: 7},
		out: contract.RunOutput{Outcome: contract.OutcomeCompleted, Step: 10, TotalSteps: 10, Metrics: json.RawMessage(`{"verdict":"better","loss_delta":-0.2}`)},
	}
}

// fails is a launch that ends with a typed error, as a worker reports one.
func fails(after time.Duration, problem *contract.Error) launch {
	return launch{lasts: after, err: appError(problem)}
}

func appError(problem *contract.Error) error {
	return temporal.NewApplicationErrorWithOptions(problem.Message, string(problem.Code),
		temporal.ApplicationErrorOptions{NonRetryable: true, Details: []any{*problem}})
}

// signal sends a message at a moment of virtual time.
func (w *world) signal(at time.Duration, name string, payload any) {
	w.env.RegisterDelayedCallback(func() { w.env.SignalWorkflow(name, payload) }, at)
}

// told lists the suffixes of the events of one resource, in order.
func (w *world) told(kind contract.Kind, id string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	suffixes := []string{}
	for _, event := range w.events[contract.Stream(kind, id)] {
		suffixes = append(suffixes, event.Type[len(kind)+1:])
	}
	return suffixes
}

// payload decodes the newest event of a type.
func payload[T any](w *world, kind contract.Kind, id, suffix string) (out T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, event := range w.events[contract.Stream(kind, id)] {
		if event.Type == contract.EventType(kind, suffix) {
			out = decode[T](w.t, event.Payload)
		}
	}
	return out
}

func decode[T any](t require.TestingT, body []byte) (out T) {
	require.NoError(t, json.Unmarshal(body, &out))
	return out
}

// code is the contract's code that a workflow ended with.
func code(t *testing.T, err error) contract.Code {
	t.Helper()
	var application *temporal.ApplicationError
	require.ErrorAs(t, err, &application)
	return contract.Code(application.Type())
}
