package workers

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/mocks"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// memoryOutbox is the store's outbox, in memory.
type memoryOutbox struct {
	mu        sync.Mutex
	entries   []store.OutboxEntry
	delivered []int64
	orphans   []string
	deferred  map[int64]time.Duration
	wake      chan struct{}
}

func newMemoryOutbox(entries ...store.OutboxEntry) *memoryOutbox {
	return &memoryOutbox{entries: entries, deferred: map[int64]time.Duration{}, wake: make(chan struct{}, 1)}
}

func (m *memoryOutbox) PendingOutbox(context.Context, int) ([]store.OutboxEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var due []store.OutboxEntry
	for _, entry := range m.entries {
		if _, waits := m.deferred[entry.ID]; !waits {
			due = append(due, entry)
		}
	}
	return due, nil
}

func (m *memoryOutbox) MarkDelivered(_ context.Context, id int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.delivered = append(m.delivered, id)
	for i, entry := range m.entries {
		if entry.ID == id {
			m.entries = append(m.entries[:i], m.entries[i+1:]...)
			break
		}
	}
	return nil
}

func (m *memoryOutbox) DeferOutbox(_ context.Context, id int64, _ string, after time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deferred[id] = after
	return nil
}

func (m *memoryOutbox) OutboxWake() <-chan struct{} { return m.wake }

func drained(t *testing.T, c client.Client, outbox *memoryOutbox) {
	t.Helper()
	require.NoError(t, dispatcherOf(c, outbox).drain(t.Context()))
}

func dispatcherOf(c client.Client, outbox *memoryOutbox) *dispatcher {
	d := &dispatcher{client: c, outbox: outbox, log: slog.New(slog.DiscardHandler), queue: "q"}
	d.orphaned = func(_ context.Context, s contract.Signal) error {
		outbox.orphans = append(outbox.orphans, s.Name)
		return nil
	}
	return d
}

func startEntry(id int64, attempts int) store.OutboxEntry {
	return store.OutboxEntry{ID: id, WorkflowID: "train/job_1", Attempts: attempts, Start: &contract.Start{
		Workflow: contract.WorkflowTrain, ID: "train/job_1", Queue: contract.QueueControl, Input: json.RawMessage(`{"job_id":"job_1"}`),
	}}
}

// took describes a workflow that an entry started; 0 stands for one without a memo.
func took(t *testing.T, entry int64, status enums.WorkflowExecutionStatus) *workflowservice.DescribeWorkflowExecutionResponse {
	t.Helper()
	info := &workflowpb.WorkflowExecutionInfo{Status: status}
	if entry > 0 {
		payload, err := converter.GetDefaultDataConverter().ToPayload(entry)
		require.NoError(t, err)
		info.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{memoOutbox: payload}}
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: info}
}

func executes(c *mocks.Client, reuse enums.WorkflowIdReusePolicy, err error) *mock.Call {
	return c.On("ExecuteWorkflow", mock.Anything, mock.MatchedBy(func(o client.StartWorkflowOptions) bool {
		return o.WorkflowIDReusePolicy == reuse && o.TaskQueue == "q" && o.WorkflowExecutionErrorWhenAlreadyStarted
	}), contract.WorkflowTrain, mock.Anything).Return(nil, err).Once()
}

var (
	refuseDuplicate = enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
	errAway         = serviceerror.NewUnavailable("not here")
	errTaken        = serviceerror.NewWorkflowExecutionAlreadyStarted("taken", "", "")
)

func TestDispatcherWaitsForATemporalThatIsAway(t *testing.T) {
	t.Parallel()
	for attempts, after := range map[int]time.Duration{0: firstDefer, 2: 4 * firstDefer, 40: longestDefer} {
		c, outbox := &mocks.Client{}, newMemoryOutbox(startEntry(1, attempts))
		executes(c, refuseDuplicate, errAway)
		drained(t, c, outbox)
		require.Empty(t, outbox.delivered)
		require.Equal(t, after, outbox.deferred[1])
	}
}

func TestDispatcherOneThatFailsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	c := &mocks.Client{}
	other := store.OutboxEntry{ID: 2, WorkflowID: "eval/1", Signal: &contract.Signal{WorkflowID: "eval/1", Name: contract.SignalCancel}}
	outbox := newMemoryOutbox(startEntry(1, 0), other)
	executes(c, refuseDuplicate, errAway)
	c.On("SignalWorkflow", mock.Anything, "eval/1", "", contract.SignalCancel, mock.Anything).Return(nil).Once()
	drained(t, c, outbox)
	require.Equal(t, []int64{2}, outbox.delivered)
}

func TestDispatcherStartsOnce(t *testing.T) {
	t.Parallel()
	running, ended := enums.WORKFLOW_EXECUTION_STATUS_RUNNING, enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
	for name, c := range map[string]struct {
		by        int64 // the entry that took the ID
		status    enums.WorkflowExecutionStatus
		again     bool // it is started anew
		delivered bool
	}{
		"taken by this entry before a crash":               {7, running, false, true},
		"taken by this entry, and ended since":             {7, ended, false, true},
		"taken by an earlier life that has ended":          {3, ended, true, true},
		"taken by an earlier life that has not ended":      {3, running, false, false},
		"taken by what no entry started, and that goes on": {0, running, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake, outbox := &mocks.Client{}, newMemoryOutbox(startEntry(7, 0))
			executes(fake, refuseDuplicate, errTaken)
			fake.On("DescribeWorkflowExecution", mock.Anything, "train/job_1", "").Return(took(t, c.by, c.status), nil).Once()
			if c.again {
				executes(fake, enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE, nil)
			}
			drained(t, fake, outbox)
			require.Equal(t, c.delivered, len(outbox.delivered) == 1)
			fake.AssertExpectations(t)
		})
	}
}

func TestDispatcherSignals(t *testing.T) {
	t.Parallel()
	entry := func(name string, input string) store.OutboxEntry {
		return store.OutboxEntry{ID: 9, WorkflowID: "train/job_1", Signal: &contract.Signal{
			WorkflowID: "train/job_1", Name: name, Input: json.RawMessage(input),
		}}
	}
	for name, c := range map[string]struct {
		entry   store.OutboxEntry
		payload any
		answer  error
	}{
		"a pause carries the entry's number": {entry(contract.SignalPause, ""), contract.ControlRequest{Seq: 9}, nil},
		"whatever came with it":              {entry(contract.SignalResume, `{}`), contract.ControlRequest{Seq: 9}, nil},
		"a cancel keeps its content":         {entry(contract.SignalCancel, `{"keep":true}`), json.RawMessage(`{"keep":true}`), nil},
		"one without content is empty":       {entry(contract.SignalCancel, ""), struct{}{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake, outbox := &mocks.Client{}, newMemoryOutbox(c.entry)
			fake.On("SignalWorkflow", mock.Anything, "train/job_1", "", c.entry.Signal.Name, c.payload).Return(c.answer).Once()
			drained(t, fake, outbox)
			require.Equal(t, []int64{9}, outbox.delivered)
			fake.AssertExpectations(t)
		})
	}
}

func TestDispatcherSignalsToWhatIsNotThere(t *testing.T) {
	t.Parallel()
	errGone := serviceerror.NewNotFound("gone")
	for name, c := range map[string]struct {
		attempts  int
		described error
		orphan    bool
	}{
		"it has ended":                          {0, nil, true},
		"it has not started yet":                {0, errGone, false},
		"nor could it, while Temporal was away": {unknownAttempts, errGone, false},
		"Temporal cannot tell that":             {0, errAway, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := &mocks.Client{}
			outbox := newMemoryOutbox(store.OutboxEntry{ID: 9, WorkflowID: "train/job_1", Attempts: c.attempts, Signal: &contract.Signal{
				WorkflowID: "train/job_1", Name: contract.SignalCancel,
			}})
			fake.On("SignalWorkflow", mock.Anything, "train/job_1", "", contract.SignalCancel, mock.Anything).Return(errGone).Once()
			fake.On("DescribeWorkflowExecution", mock.Anything, "train/job_1", "").
				Return(took(t, 1, enums.WORKFLOW_EXECUTION_STATUS_COMPLETED), c.described).Once()
			drained(t, fake, outbox)
			require.Equal(t, c.orphan, len(outbox.orphans) == 1)
			require.Equal(t, c.orphan, len(outbox.delivered) == 1)
			require.Equal(t, !c.orphan, len(outbox.deferred) == 1)
		})
	}
}

// TestDispatcherGivesUpOnWhatNeverStarts: Temporal says again and again that it does not know the workflow.
func TestDispatcherGivesUpOnWhatNeverStarts(t *testing.T) {
	t.Parallel()
	errGone := serviceerror.NewNotFound("gone")
	fake, outbox := &mocks.Client{}, newMemoryOutbox()
	fake.On("SignalWorkflow", mock.Anything, "train/job_1", "", contract.SignalCancel, mock.Anything).Return(errGone)
	fake.On("DescribeWorkflowExecution", mock.Anything, "train/job_1", "").Return(nil, errGone)
	d := dispatcherOf(fake, outbox)
	entry := store.OutboxEntry{ID: 9, WorkflowID: "train/job_1", Signal: &contract.Signal{WorkflowID: "train/job_1", Name: contract.SignalCancel}}
	for range unknownAttempts {
		require.NoError(t, d.deliver(t.Context(), entry))
		require.Empty(t, outbox.orphans)
		entry.Attempts++
	}
	require.NoError(t, d.deliver(t.Context(), entry))
	require.Equal(t, []string{contract.SignalCancel}, outbox.orphans)
	require.Equal(t, []int64{9}, outbox.delivered)
}

func TestDispatcherPutsOffWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	outbox := newMemoryOutbox(store.OutboxEntry{ID: 1, WorkflowID: "train/job_1", Broken: errors.New("it was changed")})
	drained(t, &mocks.Client{}, outbox)
	require.Empty(t, outbox.delivered)
	require.Len(t, outbox.deferred, 1)
}

// TestDispatcherIsWoken: an entry is delivered when the store says so, without waiting for the next look.
func TestDispatcherIsWoken(t *testing.T) {
	t.Parallel()
	c, outbox := &mocks.Client{}, newMemoryOutbox()
	sent := make(chan struct{})
	executes(c, refuseDuplicate, nil).Run(func(mock.Arguments) { close(sent) })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	d := &dispatcher{client: c, outbox: outbox, log: slog.New(slog.DiscardHandler), queue: "q"}
	go func() { ended <- d.run(ctx) }()
	outbox.mu.Lock()
	outbox.entries = append(outbox.entries, startEntry(1, 0))
	outbox.mu.Unlock()
	outbox.wake <- struct{}{}
	<-sent
	cancel()
	require.NoError(t, <-ended)
}

func TestIdentityKnowsItsEarlierStarts(t *testing.T) {
	t.Parallel()
	self := Identity{Host: "host", Instance: "control", Boot: "b2"}
	require.Equal(t, "host/control/b2", self.String())
	require.True(t, self.earlier("host/control/b1"))
	for _, other := range []string{"host/control/b2", "host/control2/b1", "other/control/b1", "host/control", "", "123@host"} {
		require.False(t, self.earlier(other), other)
	}
}
