package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
)

// Creation is a resource to be made: its created event's payload (contract.JobCreated, …) and the workflow to start,
// if any.
type Creation struct {
	Kind    contract.Kind
	ID      string
	Payload any
	Start   *contract.Start
}

// Create writes the created event, the projection's row and the outbox entry in one transaction. An ID that exists
// already is left as it is (false, nil), so that a retried request or activity makes nothing twice. What ctx does not reach
// is refused (not_found), and so is a project that takes nothing new (conflict).
func (s *Store) Create(ctx context.Context, c Creation) (created bool, err error) {
	payload, err := json.Marshal(c.Payload)
	if err != nil {
		return false, fmt.Errorf("encode %s %s: %w", c.Kind, c.ID, err)
	}
	err = s.write(ctx, func(ctx context.Context, tx *txn) error {
		stream := contract.Stream(c.Kind, c.ID)
		last, err := tx.lastSeq(ctx, stream)
		if err != nil || last > 0 {
			return err
		}
		ev := contract.NewEvent{Type: contract.EventType(c.Kind, contract.EventCreated), Payload: payload, Source: "create", SourceSeq: 1}
		if _, err := tx.append(ctx, stream, []contract.NewEvent{ev}); err != nil {
			return err
		}
		if err := tx.takesNew(ctx, c.Kind, c.ID); err != nil {
			return err
		}
		if err := tx.remember(ctx, c.Kind, c.ID, http.StatusCreated); err != nil {
			return err
		}
		created = true
		if c.Start == nil {
			return nil
		}
		return tx.enqueue(ctx, OutboxEntry{WorkflowID: c.Start.ID, Start: c.Start})
	})
	return created && err == nil, err
}

// Command is what a user asks of a resource: an event, allowed from some statuses only, and the signal that tells its
// workflow, or else the workflow that it starts. An empty From means the statuses of the state machine (docs/state-machine.md).
type Command struct {
	Kind   contract.Kind
	ID     string
	Event  contract.NewEvent
	From   []contract.Status
	Signal *contract.Signal
	Start  *contract.Start
}

// Command checks the status, appends the event and queues the signal or the start in one transaction. It fails with
// not_found, or with a conflict that names the present status and what can be done in it. A command whose event (by source) is in the
// log already is not carried out again: its first event is returned.
func (s *Store) Command(ctx context.Context, c Command) (contract.Event, error) {
	var done contract.Event
	err := s.write(ctx, func(ctx context.Context, tx *txn) (err error) {
		stream := contract.Stream(c.Kind, c.ID)
		if earlier, ok, err := tx.bySource(ctx, stream, c.Event); err != nil || ok {
			done = earlier
			return err
		}
		if err := reaches(ctx, tx, c.Kind, c.ID); err != nil {
			return err
		}
		status, err := tx.statusOf(ctx, c.Kind, c.ID)
		if err != nil {
			return err
		}
		if err := tx.checkCommand(ctx, c, status); err != nil {
			return err
		}
		added, err := tx.append(ctx, stream, []contract.NewEvent{c.Event})
		if err != nil {
			return err
		}
		done = added[0]
		switch {
		case c.Signal != nil:
			return tx.enqueue(ctx, OutboxEntry{WorkflowID: c.Signal.WorkflowID, Signal: c.Signal})
		case c.Start != nil:
			return tx.enqueue(ctx, OutboxEntry{WorkflowID: c.Start.ID, Start: c.Start})
		default:
			return nil
		}
	})
	return done, err
}

func (t *txn) bySource(ctx context.Context, stream string, ev contract.NewEvent) (contract.Event, bool, error) {
	if ev.Source == "" {
		return contract.Event{}, false, nil
	}
	var rows []eventRow
	err := t.NewSelect().Model(&rows).Where("stream = ?", stream).Where("source = ?", ev.Source).
		Where("source_seq = ?", ev.SourceSeq).Where("source <> ''").Limit(1).Scan(ctx)
	if err != nil || len(rows) == 0 {
		return contract.Event{}, false, err
	}
	e, err := t.openEvent(rows[0])
	return e, err == nil, err
}

// projectionTables names the table of each kind.
var projectionTables = map[contract.Kind]string{
	contract.KindDataset: "datasets", contract.KindJob: "training_jobs", contract.KindEvaluation: "evaluations",
	contract.KindDeployment: "deployments", contract.KindExport: "exports", contract.KindPipeline: "pipelines",
}

func (t *txn) statusOf(ctx context.Context, kind contract.Kind, id string) (contract.Status, error) {
	table, ok := projectionTables[kind]
	if !ok {
		return "", notFound(kind, id)
	}
	var found []string
	if err := t.NewSelect().Table(table).Column("status").Where("id = ?", id).Scan(ctx, &found); err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", notFound(kind, id)
	}
	return contract.Status(found[0]), nil
}

// commands lists, by kind, what a user may ask for and in which statuses.
var commands = map[contract.Kind]map[string][]contract.Status{
	contract.KindDataset: {
		contract.EventQueued:          {contract.StatusReady, contract.StatusFailed, contract.StatusCancelled}, // process anew
		contract.EventCancelRequested: {contract.StatusQueued, contract.StatusRunning},
	},
	contract.KindJob: {
		contract.EventPauseRequested:  {contract.StatusQueued, contract.StatusRunning, contract.StatusResuming},
		contract.EventResumeRequested: {contract.StatusPaused, contract.StatusPausing},
		contract.EventCancelRequested: {contract.StatusQueued, contract.StatusRunning, contract.StatusPausing, contract.StatusResuming, contract.StatusPaused},
	},
	contract.KindEvaluation: {contract.EventCancelRequested: {contract.StatusQueued, contract.StatusRunning}},
	contract.KindExport:     {contract.EventCancelRequested: {contract.StatusQueued, contract.StatusRunning}},
	contract.KindDeployment: {
		contract.EventStopRequested: {contract.StatusQueued, contract.StatusRunning, contract.StatusServing, contract.StatusFailed},
	},
	contract.KindPipeline: {
		contract.EventConfirmed:       {contract.StatusAwaiting},
		contract.EventRetryRequested:  {contract.StatusFailed, contract.StatusStopped},
		contract.EventCancelRequested: {contract.StatusQueued, contract.StatusRunning, contract.StatusAwaiting, contract.StatusFailed, contract.StatusStopped},
	},
}

// verbs are the commands' names as users know them, and what a resource is once one was carried out.
var verbs = map[string]struct{ name, done string }{
	contract.EventQueued: {"process", "processed again"}, contract.EventPauseRequested: {"pause", "paused"},
	contract.EventResumeRequested: {"resume", "resumed"}, contract.EventCancelRequested: {"cancel", "cancelled"},
	contract.EventStopRequested: {"stop", "stopped"}, contract.EventConfirmed: {"confirm", "confirmed"},
	contract.EventRetryRequested: {"retry", "retried"},
}

// Possible lists what a user can ask of a resource in a status: pause, resume, cancel, stop, confirm, retry, process.
func Possible(kind contract.Kind, status contract.Status) []string {
	var can []string
	for event, from := range commands[kind] {
		if slices.Contains(from, status) {
			can = append(can, verbs[event].name)
		}
	}
	slices.Sort(can)
	return can
}

// checkCommand is checkTransition that lets a job be paused which has paused by itself, and would go on by itself.
func (t *txn) checkCommand(ctx context.Context, c Command, status contract.Status) error {
	if c.Event.Type == contract.EventType(contract.KindJob, contract.EventPauseRequested) && status == contract.StatusPaused {
		goesOn, err := t.NewSelect().Model((*Job)(nil)).Where("id = ?", c.ID).Where("goes_on").Exists(ctx)
		if goesOn || err != nil {
			return err
		}
	}
	return checkTransition(c, status)
}

func checkTransition(c Command, status contract.Status) error {
	event := strings.TrimPrefix(c.Event.Type, string(c.Kind)+".")
	from := c.From
	if len(from) == 0 {
		from = commands[c.Kind][event]
	}
	if slices.Contains(from, status) {
		return nil
	}
	err := contract.Errorf(contract.CodeConflict, "the %s is %s: it cannot be %s now", c.Kind, status, cmp.Or(verbs[event].done, event)).On("status")
	if can := Possible(c.Kind, status); len(can) > 0 {
		return err.Mend("possible now: %s", strings.Join(can, ", "))
	}
	return err.Mend("nothing more can be done with it; start a new one")
}
