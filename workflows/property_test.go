package workflows_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"pgregory.net/rapid"

	"github.com/vibeflow/vibeflow/contract"
)

// The properties here are docs/state-machine.md's. A script of messages and failures is drawn, played to the real
// workflow in virtual time, and what was told is checked. A script that fails is cut down to a minimal one and printed.

// script is what happens to a workflow: its user's messages, and what its launches come to.
type script struct {
	t     *rapid.T
	world *world
	at    time.Duration
	seq   int64
	sent  []message
	lines []string
	ends  []time.Duration // when an end was asked for

	byTemporalOnce bool
	scripted       int // messages before those that bring it to its end
}

type message struct {
	to      string // workflow ID of a child; "": the root
	name    string
	payload any
}

func (m message) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %+v %s", m.name, m.payload, m.to))
}

// note adds a line to what a failure prints.
func (s *script) note(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *script) String() string { return "\n  " + strings.Join(s.lines, "\n  ") }

func (s *script) send(m message, how string) {
	s.note("%6s %s%s", s.at, how, m)
	s.sent = append(s.sent, m)
	s.deliver(m, s.at)
	if _, end := m.payload.(contract.CancelRequest); end && m.to == "" {
		s.ends = append(s.ends, s.at)
	}
}

func (s *script) deliver(m message, at time.Duration) {
	s.world.env.RegisterDelayedCallback(func() {
		if m.to == "" {
			s.world.env.SignalWorkflow(m.name, m.payload)
			return
		}
		_ = s.world.env.SignalWorkflowByID(m.to, m.name, m.payload) // before its start, or after its end, it reaches nobody
	}, at)
}

func (s *script) numbered(name, to string) message {
	s.seq++
	return message{to: to, name: name, payload: contract.ControlRequest{Seq: s.seq}}
}

// wait lets time pass, up to when a launch may be over or a save under way.
func (s *script) wait(*rapid.T) {
	s.at += time.Duration(rapid.IntRange(1, 40).Draw(s.t, "seconds")) * time.Second
}

// seldom keeps an action that ends the story from ending nearly every one at its beginning.
func seldom(action func(*rapid.T)) func(*rapid.T) {
	return func(t *rapid.T) {
		if rapid.IntRange(0, 9).Draw(t, "seldom") != 0 {
			t.Skip("not now")
		}
		action(t)
	}
}

// again delivers an earlier message once more: twice, or much later.
func (s *script) again(*rapid.T) {
	if len(s.sent) == 0 {
		s.t.Skip("nothing was sent")
	}
	s.send(rapid.SampledFrom(s.sent).Draw(s.t, "earlier"), "again ")
}

// reordered delivers the newer of two commands first, and the older a while later.
func (s *script) reordered(*rapid.T) {
	first, second := s.numbered(contract.SignalPause, ""), s.numbered(contract.SignalResume, "")
	if rapid.Bool().Draw(s.t, "resume first") {
		first, second = s.numbered(contract.SignalResume, ""), s.numbered(contract.SignalPause, "")
	}
	s.send(second, "overtaking ")
	s.wait(nil)
	s.send(first, "overtaken ")
}

func (s *script) cancel(keep bool) func(*rapid.T) {
	return func(*rapid.T) {
		s.send(message{name: contract.SignalCancel, payload: contract.CancelRequest{Keep: keep}}, "")
	}
}

// byTemporal is a cancel request as Temporal's UI makes it.
func (s *script) byTemporal(*rapid.T) {
	s.note("%6s cancelled in Temporal's UI", s.at)
	s.world.env.RegisterDelayedCallback(s.world.env.CancelWorkflow, s.at)
	if !s.byTemporalOnce { // Temporal takes one request a run
		s.ends = append(s.ends, s.at)
	}
	s.byTemporalOnce = true
}

// TestTrainProperty drives a job by pauses, resumes, cancels and keeps, some of them repeated, late, overtaken or
// together, while its launches fail, lose their worker or find the disk full, and its turns come late or twice.
func TestTrainProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		s := &script{t: t, world: w}
		w.plan = s.drawLaunches(contract.ActivityTrain)
		w.turn = s.drawTurns()
		w.room = s.drawRoom()
		w.control.register = s.drawRegister(w.control.register)
		t.Repeat(map[string]func(*rapid.T){
			"wait":               s.wait,
			"pause":              func(*rapid.T) { s.send(s.numbered(contract.SignalPause, ""), "") },
			"resume":             func(*rapid.T) { s.send(s.numbered(contract.SignalResume, ""), "") },
			"an earlier one":     s.again,
			"out of order":       s.reordered,
			"cancel":             seldom(s.cancel(false)),
			"stop and keep":      seldom(s.cancel(true)),
			"cancel by Temporal": seldom(s.byTemporal),
		})
		s.scripted = len(s.sent)
		for i := range 40 { // a job that is resumed often enough ends
			s.deliver(s.numbered(contract.SignalResume, ""), s.at+time.Duration(i+1)*time.Hour)
		}
		result, err := w.train()
		told := w.told(contract.KindJob, job)
		s.note("told: %v", told)
		checkStory(t, s, told, result, err)
		s.checkNewestCounts(t)
		s.checkSlots(t)
		for _, at := range s.ends {
			for _, begun := range w.begun {
				require.False(t, begun > at && !w.outOfRoom(at, begun), "a launch at %s, after the end was asked for at %s%s", begun, at, s)
			}
			require.True(t, w.lastAt(contract.KindJob, job) <= at+time.Minute || w.outOfRoom(at, at+time.Minute), "it ends late%s", s)
		}
	})
}

// checkNewestCounts checks, once all has settled, that the newest of the numbered commands holds, however they arrived: a
// job that was last told to pause has not queued again, one that was last told to resume rests only for its own reason.
func (s *script) checkNewestCounts(t *rapid.T) {
	newest, pause := int64(0), false
	for _, m := range s.sent[:s.scripted] {
		if c, numbered := m.payload.(contract.ControlRequest); numbered && c.Seq > newest {
			newest, pause = c.Seq, m.name == contract.SignalPause
		}
	}
	var last contract.NewEvent
	for _, event := range s.world.events[contract.Stream(contract.KindJob, job)] {
		if event.At.Sub(s.world.start) < s.at+30*time.Minute {
			last = event
		}
	}
	require.False(t, pause && last.Type == "job.queued", "it was told to pause%s", s)
	rests := last.Type == "job.paused" && decode[contract.Paused](t, last.Payload).Error == nil
	require.False(t, pause && last.Type == "job.paused" && decode[contract.Paused](t, last.Payload).GoesOn, "it was told to pause, and would go on by itself%s", s)
	require.False(t, !pause && rests, "it was not, or told to resume since%s", s)
}

// checkSlots checks what holds for all that takes slots.
func (s *script) checkSlots(t *rapid.T) {
	w := s.world
	require.False(t, w.overlap, "two launches at once%s", s)
	require.Zero(t, w.busy(), "a launch outlives its run%s", s)
	require.False(t, w.held, "a run that is paused or in line holds a slot%s", s)
	require.False(t, w.jumped, "a launch before its turn%s", s)
}

// outOfRoom tells whether the job paused by itself between two moments: a wish to keep the model was not granted.
func (w *world) outOfRoom(from, to time.Duration) bool {
	for _, event := range w.events[contract.Stream(contract.KindJob, job)] {
		at := event.At.Sub(w.start)
		if event.Type == "job.paused" && at >= from && at <= to && decode[contract.Paused](w.t, event.Payload).Error != nil {
			return true
		}
	}
	return false
}

// drawLaunches draws the fates of the first launches; later ones finish. Draws are made before, for the workflow runs
// beside the test.
func (s *script) drawLaunches(only ...string) func(int, string) launch {
	fates := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) fate { return drawFate(t) }), 0, 5).Draw(s.t, "launches")
	for i, f := range fates {
		s.note("launch %d %s", i+1, f.name)
	}
	return func(n int, activity string) launch {
		if n < len(fates) && (len(only) == 0 || activity == only[0]) {
			return fates[n].launch
		}
		return finishes(time.Minute)
	}
}

type fate struct {
	name   string
	launch launch
}

// String is what rapid prints.
func (f fate) String() string { return f.name }

func drawFate(t *rapid.T) fate {
	f := fate{launch: finishes(time.Duration(rapid.IntRange(1, 60).Draw(t, "lasts")) * time.Second)}
	f.launch.saving = time.Duration(rapid.IntRange(0, 10).Draw(t, "saving")) * time.Second
	kind := rapid.SampledFrom([]string{"finishes", "finds the disk full", "runs out of memory", "is interrupted before it saves",
		"loses its worker while it saves", "times out while it saves", "finishes although it is interrupted"}).Draw(t, "fate")
	switch kind {
	case "finds the disk full":
		f.launch.err = appError(contract.Errorf(contract.CodeDiskFull, "no room"))
	case "runs out of memory":
		f.launch.err = appError(contract.Errorf(contract.CodeOutOfMemory, "no memory"))
	case "is interrupted before it saves":
		f.launch.ref = contract.CheckpointRef{}
	case "loses its worker while it saves":
		f.launch.dies = temporal.NewApplicationError("gone", "WorkerLost")
	case "times out while it saves":
		f.launch.dies = temporal.NewHeartbeatTimeoutError()
	case "finishes although it is interrupted":
		f.launch.wins = true
	}
	f.name = fmt.Sprintf("%s (after %s, saving %s)", kind, f.launch.lasts, f.launch.saving)
	return f
}

// drawTurns has turns come late, and be told more than once.
func (s *script) drawTurns() func(int) (time.Duration, int) {
	type turn struct{ After, Times int }
	turns := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) turn {
		return turn{rapid.SampledFrom([]int{0, 0, 5, 30}).Draw(t, "after"), rapid.IntRange(1, 3).Draw(t, "times")}
	}), 0, 5).Draw(s.t, "turns")
	for i, t := range turns {
		s.note("turn %d after %d s, told %d times", i+1, t.After, t.Times)
	}
	return func(n int) (time.Duration, int) {
		if n < len(turns) {
			return time.Duration(turns[n].After) * time.Second, turns[n].Times
		}
		return 0, 1
	}
}

// drawRoom has a full disk emptied a while after, so that the job goes on by itself, or never.
func (s *script) drawRoom() func(int) time.Duration {
	after := rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute}).Draw(s.t, "room")
	s.note("a full disk has room after %s (0: never)", after)
	return func(int) time.Duration { return after }
}

type register = func(contract.RegisterModelInput) (contract.RegisterModelOutput, error)

// drawRegister finds the disk full now and then.
func (s *script) drawRegister(otherwise register) register {
	full := rapid.SliceOfN(rapid.Bool(), 0, 3).Draw(s.t, "full")
	if len(full) > 0 {
		s.note("registering finds the disk full: %v", full)
	}
	return func(in contract.RegisterModelInput) (contract.RegisterModelOutput, error) {
		if len(full) > 0 {
			now := full[0]
			if full = full[1:]; now {
				return contract.RegisterModelOutput{}, appError(contract.Errorf(contract.CodeDiskFull, "no room"))
			}
		}
		return otherwise(in)
	}
}

// checkStory checks that the statuses follow one another as the state machine draws them, and that there is one end.
func checkStory(t *rapid.T, s *script, told []string, result contract.TrainResult, err error) {
	next := map[string][]string{
		"":       {"queued", "paused", "cancelled"},
		"queued": {"queued", "paused", "completed", "stopped", "cancelled", "failed"},
		"paused": {"queued", "paused", "stopped", "cancelled", "failed"},
	}
	last := ""
	for _, event := range told {
		require.Contains(t, next[last], event, s)
		last = event
	}
	switch last {
	case "completed", "stopped":
		require.NoError(t, err, s)
		require.Equal(t, contract.Status(last), result.Status, s)
		require.NotEmpty(t, result.ModelID, s)
	case "cancelled":
		require.True(t, temporal.IsCanceledError(err), s)
	case "failed":
		require.Error(t, err, s)
		require.False(t, temporal.IsCanceledError(err), s)
		why := payload[contract.Error](s.world, contract.KindJob, job, "failed")
		require.Equal(t, contract.CodeOutOfMemory, why.Code, "a lost worker and a full disk are no failures%s", s)
		at := s.world.lastAt(contract.KindJob, job)
		require.False(t, len(s.ends) > 0 && at > s.ends[0] && !s.world.outOfRoom(s.ends[0], at), "it was asked to end%s", s)
	default:
		require.Fail(t, "no end", s)
	}
}

// TestPipelineProperty drives a pipeline by confirms, retries and cancels, and its job by pauses, resumes and cancels,
// some of them repeated, late or early, while its stages fail.
func TestPipelineProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := plain(t)
		s := &script{t: t, world: w}
		request := contract.PipelineRequest{AutoConfirm: rapid.Bool().Draw(t, "auto confirm"),
			SkipEvaluate: rapid.Bool().Draw(t, "skip evaluate"), SkipDeploy: rapid.Bool().Draw(t, "skip deploy")}
		s.note("request %+v", request)
		w.turn = s.drawTurns()
		w.plan = s.servingUntilStopped(s.drawLaunches())
		s.failNowAndThen()
		child := contract.WorkflowID(contract.KindJob, stageID(contract.StartStageInput{PipelineID: pipe, Stage: contract.StageTrain, Attempt: 1}))
		t.Repeat(map[string]func(*rapid.T){
			"wait":    s.wait,
			"confirm": func(*rapid.T) { s.send(message{name: contract.SignalConfirm, payload: contract.ConfirmRequest{}}, "") },
			"confirm a change": func(*rapid.T) {
				s.send(message{name: contract.SignalConfirm, payload: contract.ConfirmRequest{Config: &contract.Training{Method: "lora", Epochs: 2}}}, "")
			},
			"retry":          func(*rapid.T) { s.send(s.numbered(contract.SignalRetry, ""), "") },
			"an earlier one": s.again,
			"cancel":         seldom(s.cancel(false)),
			"pause its job":  func(*rapid.T) { s.send(s.numbered(contract.SignalPause, child), "") },
			"resume its job": func(*rapid.T) { s.send(s.numbered(contract.SignalResume, child), "") },
			"cancel its job": seldom(func(*rapid.T) { s.send(message{child, contract.SignalCancel, contract.CancelRequest{}}, "") }),
			"keep its job": seldom(func(*rapid.T) {
				s.send(message{child, contract.SignalCancel, contract.CancelRequest{Keep: true}}, "")
			}),
			"Temporal cancel": seldom(s.byTemporal),
		})
		for i := range 40 { // one that is confirmed, resumed and retried often enough ends
			at := s.at + time.Duration(i+1)*time.Hour
			s.deliver(message{name: contract.SignalConfirm, payload: contract.ConfirmRequest{}}, at)
			s.deliver(s.numbered(contract.SignalRetry, ""), at)
			s.deliver(s.numbered(contract.SignalResume, child), at)
			for attempt := 2; attempt < 10; attempt++ {
				id := stageID(contract.StartStageInput{PipelineID: pipe, Stage: contract.StageTrain, Attempt: attempt})
				s.deliver(s.numbered(contract.SignalResume, contract.WorkflowID(contract.KindJob, id)), at)
			}
		}
		result, err := w.pipeline(request)
		s.note("stages: %v", w.stages())
		s.note("told: %v", w.told(contract.KindPipeline, pipe))
		s.checkPipeline(t, request, result, err)
	})
}

// servingUntilStopped keeps deployments up unless they are taken down.
func (s *script) servingUntilStopped(otherwise func(int, string) launch) func(int, string) launch {
	return func(n int, activity string) launch {
		if activity == contract.ActivityServe {
			return launch{lasts: 100 * 24 * time.Hour}
		}
		return otherwise(n, activity)
	}
}

// failNowAndThen has the control activities of stages fail.
func (s *script) failNowAndThen() {
	for name, fail := range map[string]func(func() error){
		"analyze": func(f func() error) {
			await := s.world.control.await
			s.world.control.await = func(ctx context.Context, in contract.AwaitStatusInput) (contract.AwaitStatusOutput, error) {
				if err := f(); err != nil {
					return contract.AwaitStatusOutput{}, err
				}
				return await(ctx, in)
			}
		},
		"recommend": func(f func() error) {
			suggest := s.world.control.suggest
			s.world.control.suggest = func(in contract.RecommendInput) (contract.Recommendation, error) {
				if err := f(); err != nil {
					return contract.Recommendation{}, err
				}
				return suggest(in)
			}
		},
	} {
		fails := rapid.SliceOfN(rapid.Bool(), 0, 3).Draw(s.t, name+" fails")
		if len(fails) > 0 {
			s.note("%s fails: %v", name, fails)
		}
		fail(func() error {
			if len(fails) == 0 {
				return nil
			}
			now := fails[0]
			if fails = fails[1:]; now {
				return appError(contract.Errorf(contract.CodeBadData, "row 3"))
			}
			return nil
		})
	}
}

// checkPipeline checks the invariants of a pipeline.
func (s *script) checkPipeline(t *rapid.T, request contract.PipelineRequest, result contract.PipelineResult, err error) {
	told := s.world.told(contract.KindPipeline, pipe)
	ends := 0
	for i, event := range told {
		if event == "completed" || event == "cancelled" {
			ends++
			require.Equal(t, len(told)-1, i, "something is told after the end%s", s)
		}
	}
	require.Equal(t, 1, ends, "one end%s", s)
	s.checkStages(t, request)
	s.checkSlots(t)
	if len(s.ends) > 0 {
		require.LessOrEqual(t, s.world.lastAt(contract.KindPipeline, pipe), s.ends[0]+time.Minute, "it ends late%s", s)
	}
	if last(told) == "cancelled" {
		require.True(t, temporal.IsCanceledError(err), s)
		require.Zero(t, s.world.active[contract.ActivityServe], "a deployment outlives a cancelled pipeline%s", s)
		return
	}
	require.NoError(t, err, s)
	require.NotEmpty(t, result.ModelID, s)
	require.Equal(t, request.SkipEvaluate, result.Evaluation == nil, s)
	require.Equal(t, request.SkipDeploy, result.DeploymentID == "", s)
}

// checkStages checks that stages run one after the other in order, and that each ends as often as it begins.
func (s *script) checkStages(t *rapid.T, request contract.PipelineRequest) {
	order := map[string]int{"analyze": 0, "recommend": 1, "confirm": 2, "train": 3, "evaluate": 4, "deploy": 5}
	now, open := -1, ""
	for _, line := range s.world.stages() {
		stage, status, _ := strings.Cut(line, " ")
		switch contract.Status(status) {
		case contract.StatusRunning, contract.StatusAwaiting:
			require.Empty(t, open, "%s begins before %s has ended%s", stage, open, s)
			require.GreaterOrEqual(t, order[stage], now, s)
			now, open = order[stage], stage
		default:
			require.Equal(t, open, stage, "another one ends%s", s)
			if open = ""; status == "completed" {
				now++
			}
		}
	}
	require.Empty(t, open, "a stage is left%s", s)
	require.False(t, request.AutoConfirm && strings.Contains(fmt.Sprint(s.world.stages()), "confirm"), s)
}
