package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"golang.org/x/sync/errgroup"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// Outbox is what the dispatcher needs of the store.
type Outbox interface {
	PendingOutbox(ctx context.Context, limit int) ([]store.OutboxEntry, error)
	MarkDelivered(ctx context.Context, id int64) error
	DeferOutbox(ctx context.Context, id int64, reason string, after time.Duration) error
	OutboxWake() <-chan struct{}
}

const (
	outboxPage    = 64
	outboxLook    = time.Second // how often entries deferred are looked for
	outboxSide    = 8           // deliveries side by side, each of another workflow
	outboxPatient = 10 * time.Second
	firstDefer    = 250 * time.Millisecond
	longestDefer  = 5 * time.Second
	// unknownAttempts is how often a workflow that was never there is looked for, while Temporal answers: about ten seconds.
	unknownAttempts = 6
	memoOutbox      = "vibeflow_outbox" // the entry that started a workflow
)

// dispatcher tells Temporal what the database has decided. An entry is marked only once Temporal has it, so a crash in
// between delivers it again; then the workflow's ID, the entry's number in its memo and the number in each signal make the
// second delivery harmless.
type dispatcher struct {
	client client.Client
	outbox Outbox
	log    *slog.Logger
	queue  string // of workflow tasks
	// orphaned answers a message whose workflow has ended.
	orphaned func(context.Context, contract.Signal) error
	// unknown counts, of an entry, the answers that its workflow was never there (int64 → int).
	unknown sync.Map
}

// run delivers until ctx ends.
func (d *dispatcher) run(ctx context.Context) error {
	look := time.NewTicker(outboxLook)
	defer look.Stop()
	for {
		if err := d.drain(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("the outbox cannot be read", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.outbox.OutboxWake():
		case <-look.C:
		}
	}
}

// drain delivers until nothing is due.
func (d *dispatcher) drain(ctx context.Context) error {
	for ctx.Err() == nil {
		entries, err := d.outbox.PendingOutbox(ctx, outboxPage)
		if err != nil || len(entries) == 0 {
			return err
		}
		side := errgroup.Group{}
		side.SetLimit(outboxSide)
		for _, entry := range entries {
			side.Go(func() error { return d.deliver(ctx, entry) })
		}
		if err := side.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// deliver hands one entry to Temporal, and notes that it did, or when to try again. The error is the database's.
func (d *dispatcher) deliver(ctx context.Context, entry store.OutboxEntry) error {
	try, cancel := context.WithTimeout(ctx, outboxPatient)
	defer cancel()
	err := d.send(try, entry)
	if err == nil {
		d.unknown.Delete(entry.ID)
		return d.outbox.MarkDelivered(ctx, entry.ID)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	after := min(firstDefer<<min(entry.Attempts, 10), longestDefer)
	d.log.Warn("Temporal has not taken an entry of the outbox", "entry", entry.ID, "workflow", entry.WorkflowID,
		"attempt", entry.Attempts+1, "again_in", after.String(), "error", err)
	return d.outbox.DeferOutbox(ctx, entry.ID, err.Error(), after)
}

func (d *dispatcher) send(ctx context.Context, entry store.OutboxEntry) error {
	switch {
	case entry.Broken != nil:
		return fmt.Errorf("the entry cannot be read: %w", entry.Broken)
	case entry.Start != nil:
		return d.start(ctx, entry.ID, entry.Start)
	case entry.Signal != nil:
		return d.signal(ctx, entry)
	default:
		d.log.Error("an entry of the outbox is empty", "entry", entry.ID)
		return nil
	}
}

// start starts a workflow once for each entry. An ID that is taken was taken by this very entry, before a crash, or by an
// earlier life of the same resource (a dataset that is processed anew), which must have ended.
func (d *dispatcher) start(ctx context.Context, entry int64, s *contract.Start) error {
	_, err := d.execute(ctx, entry, s, enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE)
	var taken *serviceerror.WorkflowExecutionAlreadyStarted
	if !errors.As(err, &taken) {
		return err
	}
	by, running, err := d.startedBy(ctx, s.ID)
	switch {
	case err != nil:
		return err
	case by >= entry:
		return nil
	case running:
		return fmt.Errorf("workflow %s of entry %d has not ended yet", s.ID, by)
	}
	_, err = d.execute(ctx, entry, s, enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE)
	return err
}

func (d *dispatcher) execute(ctx context.Context, entry int64, s *contract.Start, reuse enums.WorkflowIdReusePolicy) (client.WorkflowRun, error) {
	options := client.StartWorkflowOptions{
		ID:                                       s.ID,
		TaskQueue:                                d.queue,
		WorkflowIDReusePolicy:                    reuse,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            s.Summary,
		TypedSearchAttributes:                    searchAttributes(s),
		Memo:                                     map[string]any{memoOutbox: entry},
	}
	if s.First != nil {
		first := &contract.Signal{WorkflowID: s.ID, Name: s.First.Signal, Input: s.First.Input}
		return d.client.SignalWithStartWorkflow(ctx, s.ID, first.Name, signalPayload(entry, first), options, s.Workflow, s.Input)
	}
	return d.client.ExecuteWorkflow(ctx, options, s.Workflow, s.Input)
}

// startedBy tells which entry started the newest run of a workflow (0: a pipeline did) and whether it still runs.
func (d *dispatcher) startedBy(ctx context.Context, id string) (entry int64, running bool, err error) {
	described, err := d.client.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return 0, false, err
	}
	info := described.GetWorkflowExecutionInfo()
	if payload := info.GetMemo().GetFields()[memoOutbox]; payload != nil {
		if err := converter.GetDefaultDataConverter().FromPayload(payload, &entry); err != nil {
			return 0, false, fmt.Errorf("read the memo of %s: %w", id, err)
		}
	}
	return entry, info.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}

func searchAttributes(s *contract.Start) temporal.SearchAttributes {
	var updates []temporal.SearchAttributeUpdate
	for name, value := range map[string]string{
		contract.SearchAttributeProject: s.Project, contract.SearchAttributeBaseModel: s.Model,
	} {
		if value != "" {
			updates = append(updates, temporal.NewSearchAttributeKeyKeyword(name).ValueSet(value))
		}
	}
	return temporal.NewSearchAttributes(updates...)
}

// signal tells a workflow something. One that has ended gets it answered without it. One that was never there is waited
// for a while: a pipeline makes the row of a stage a moment before it starts the stage's workflow. Tries while Temporal was away
// do not count: it could not start anything either.
func (d *dispatcher) signal(ctx context.Context, entry store.OutboxEntry) error {
	s := entry.Signal
	err := d.client.SignalWorkflow(ctx, s.WorkflowID, "", s.Name, signalPayload(entry.ID, s))
	if !gone(err) {
		return err
	}
	_, _, err = d.startedBy(ctx, s.WorkflowID)
	switch {
	case gone(err) && d.lookedFor(entry.ID) <= unknownAttempts:
		return fmt.Errorf("workflow %s has not started yet", s.WorkflowID)
	case err != nil && !gone(err):
		return err
	}
	d.log.Info("a message came after its workflow's end", "workflow", s.WorkflowID, "signal", s.Name)
	return d.orphaned(ctx, *s)
}

// lookedFor counts one more answer that an entry's workflow was never there. One goroutine at a time delivers an entry.
func (d *dispatcher) lookedFor(entry int64) int {
	before, _ := d.unknown.Load(entry)
	times, _ := before.(int)
	d.unknown.Store(entry, times+1)
	return times + 1
}

// signalPayload numbers the signals whose order counts.
func signalPayload(entry int64, s *contract.Signal) any {
	switch s.Name {
	case contract.SignalPause, contract.SignalResume, contract.SignalRetry, contract.SignalStop:
		return contract.ControlRequest{Seq: entry}
	}
	if len(s.Input) == 0 {
		return struct{}{}
	}
	return s.Input
}
