package controltest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/store"
)

var queued = flag.Int("queued", 24, "how many runs wait for one slot in TestManyRunsOneSlot; bench/README.md has 200")

// slot is a machine with one slot, whose runs take no time, but for those that are told to wait.
type slot struct {
	*site
	queue string

	mu      sync.Mutex
	order   []string // runs, as they took the slot
	busy    int
	crowded bool // two runs had the slot at once
	wait    map[int]chan error
	took    chan int
}

func newSlot(s *site) *slot {
	return &slot{site: s, queue: s.queue + ".slots", wait: map[int]chan error{}, took: make(chan int, 1000)}
}

// poll works until stop is called.
func (s *slot) poll() (stop func()) {
	s.t.Helper()
	require.NoError(s.t, s.store.SaveWorkerReport(s.t.Context(), contract.WorkerReport{ID: "host/1", Boot: "b", Queue: s.queue, Slots: 1}))
	w := worker.New(s.client, s.queue, worker.Options{MaxConcurrentActivityExecutionSize: 1, DisableWorkflowWorker: true})
	w.RegisterActivityWithOptions(s.train, activity.RegisterOptions{Name: contract.ActivityTrain})
	require.NoError(s.t, w.Start())
	return w.Stop
}

func (s *slot) train(ctx context.Context, in contract.RunInput) (contract.RunOutput, error) {
	if err := s.take(in.RunID); err != nil {
		return contract.RunOutput{}, err
	}
	state, err := s.store.RunState(ctx, in.RunID)
	if err != nil {
		return contract.RunOutput{}, err
	}
	run, err := s.store.ClaimRun(ctx, store.RunClaim{RunID: in.RunID, Nonce: "n", ClaimRequest: contract.ClaimRequest{ExpectEpoch: state.Epoch, Worker: "host/1/b"}})
	if err != nil {
		return contract.RunOutput{}, err
	}
	m := &machine{site: s.site}
	if err := m.handIn(ctx, store.Fence{RunID: in.RunID, Epoch: run.Epoch, Nonce: "n"}); err != nil {
		return contract.RunOutput{}, err
	}
	return contract.RunOutput{Outcome: contract.OutcomeCompleted, Step: 9, TotalSteps: 9}, nil
}

// take occupies the slot for as long as the run has been told to wait.
func (s *slot) take(id string) error {
	s.mu.Lock()
	n := len(s.order)
	s.order = append(s.order, id)
	s.busy++
	s.crowded = s.crowded || s.busy > 1
	wait := s.wait[n]
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.busy--; s.mu.Unlock() }()
	s.took <- n
	if wait == nil {
		return nil
	}
	return <-wait
}

// hold makes the nth launch (from 0) wait for an answer.
func (s *slot) hold(n int) chan error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wait[n] = make(chan error)
	return s.wait[n]
}

func (s *slot) until(n int) {
	s.t.Helper()
	for {
		select {
		case got := <-s.took:
			if got == n {
				return
			}
		case <-time.After(2 * time.Minute):
			require.Fail(s.t, "the slot was not taken", "launch %d", n)
		}
	}
}

func (s *slot) queueUp(project, id string) {
	s.t.Helper()
	s.create(contract.KindJob, id, contract.JobCreated{ProjectID: project, Name: id, DatasetID: "ds_1", ModelID: catalog.Bundled, Queue: s.queue},
		contract.WorkflowTrain, contract.TrainInput{JobID: id, Queue: s.queue})
}

// TestManyRunsOneSlot: two projects, one with many more jobs than the other, and one slot. Control worker and slot worker
// are restarted in the middle. None is lost, nobody starves, and the run that was interrupted keeps its slot.
func TestManyRunsOneSlot(t *testing.T) {
	s := newSite(t)
	require.NoError(t, s.store.CreateProject(t.Context(), store.Project{ID: "prj_few", Name: "few"}))
	machine := newSlot(s)
	few, half := 5, *queued/2
	begin, interrupted := machine.hold(0), machine.hold(half)
	project := map[string]string{}
	for i := range *queued {
		id := fmt.Sprintf("job_%03d", i)
		if project[id] = store.DefaultProject; i >= *queued-few {
			project[id] = "prj_few"
		}
		machine.queueUp(project[id], id)
	}
	stopControl, stopSlot := s.serve(s.store), machine.poll()

	machine.until(0)
	for id := range project { // all are in line before the first goes
		s.until(contract.KindJob, id, contract.EventQueued)
	}
	close(begin)
	machine.until(half)
	before := measure()
	stopControl()
	go stopSlot()
	interrupted <- errors.New("the worker is gone")
	stopControl, stopSlot = s.serve(s.store), machine.poll()
	defer func() { stopSlot(); stopControl() }()
	for id := range project {
		s.jobIs(id, contract.StatusCompleted)
	}
	after := measure()
	t.Logf("%d runs; at half of them %s, at the end %s", *queued, before, after)

	require.False(t, machine.crowded, "two runs in one slot")
	require.Equal(t, machine.order[half], machine.order[half+1], "the run that was interrupted goes first")
	order := slices.Delete(machine.order, half+1, half+2)
	require.Len(t, order, *queued, "each ran once")
	machine.checkOrder(order, project, few)
	lines, err := s.store.Lines(t.Context())
	require.NoError(t, err)
	require.Empty(t, lines, "a slot is left taken")
}

// checkOrder checks that each project kept its order, and that the small one took every second turn.
func (s *slot) checkOrder(order []string, project map[string]string, few int) {
	s.t.Helper()
	last := map[string]time.Time{}
	for n, id := range order {
		job, err := s.store.GetJob(s.t.Context(), id)
		require.NoError(s.t, err)
		if n > 0 { // the first found the slot free before the others were in line
			require.True(s.t, last[job.ProjectID].Before(job.QueuedAt), "%s overtook its own project", id)
			last[job.ProjectID] = job.QueuedAt
		}
		if n <= 2*few {
			small := n%2 == 1
			require.Equal(s.t, small, project[id] == "prj_few", "turn %d is %s's: %v", n, id, order)
		}
	}
}

type measured struct {
	goroutines int
	heap       uint64
}

func (m measured) String() string {
	return fmt.Sprintf("%d goroutines, %.0f MiB of heap", m.goroutines, float64(m.heap)/(1<<20))
}

func measure() measured {
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return measured{runtime.NumGoroutine(), memory.HeapAlloc}
}

// begunBefore starts a job's workflow, nobody there to carry it out, and tells the log what a first try told before its server
// was killed: Temporal has nothing of that try.
func (s *slot) begunBefore() (id string) {
	s.t.Helper()
	id = s.known(contract.KindJob, contract.PrefixJob, contract.JobCreated{ProjectID: store.DefaultProject, DatasetID: "ds_1", ModelID: catalog.Bundled, Queue: s.queue})
	run, err := s.client.ExecuteWorkflow(s.t.Context(), client.StartWorkflowOptions{ID: contract.WorkflowID(contract.KindJob, id), TaskQueue: s.site.queue},
		contract.WorkflowTrain, contract.TrainInput{JobID: id, Queue: s.queue})
	require.NoError(s.t, err)
	told := event(contract.KindJob, contract.EventQueued, `{"queue":"`+s.queue+`"}`)
	told.Source, told.SourceSeq, told.At = "wf/"+run.GetRunID(), 1, time.Now().UTC()
	_, err = s.store.Append(s.t.Context(), contract.Stream(contract.KindJob, id), told)
	require.NoError(s.t, err)
	return id
}

// TestAServerThatDiesBeforeTemporalKnows: it was killed between what it told the log and what it told Temporal. One job goes on;
// of another the cancel that arrived meanwhile is carried out.
func TestAServerThatDiesBeforeTemporalKnows(t *testing.T) {
	s := newSlot(newSite(t))
	goesOn, cancelled := s.begunBefore(), s.begunBefore()
	s.ask(contract.KindJob, cancelled, contract.EventCancelRequested, contract.SignalCancel)
	require.NoError(t, s.client.SignalWorkflow(t.Context(), contract.WorkflowID(contract.KindJob, cancelled), "", contract.SignalCancel, contract.CancelRequest{}))
	defer s.poll()()
	defer s.serve(s.store)()
	s.jobIs(cancelled, contract.StatusCancelled)
	s.jobIs(goesOn, contract.StatusCompleted)
}
