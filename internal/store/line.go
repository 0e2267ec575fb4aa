package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/line"
)

const (
	// workerSilence is how long a worker may be silent before its slots count no more: it reports every 30 s.
	workerSilence = 2 * time.Minute
	// A turn is told again, ever less often, while its run does not begin or keeps others waiting: a workflow that has lost
	// it (Temporal restored from a backup) gets it, and of one that is gone the slot is free again.
	firstRetell   = time.Minute
	longestRetell = time.Hour
	// typicalOf is how many finished runs say how long one of their kind takes.
	typicalOf = 10
)

// lineRow is a run that waits, or holds a slot, as the database has it.
type lineRow struct {
	ID, ProjectID, Queue string
	Kind                 contract.Kind
	Status               contract.Status
	Priority             bool
	Urgency              contract.Priority
	QueuedAt             time.Time
	UpdatedAt            time.Time
	ClaimedAt            bun.NullTime
	Turn                 bool
	Told                 int
	ToldAt               bun.NullTime
	Step, TotalSteps     int
	Low, High            float64 // seconds that it was expected to take
	EtaLow, EtaHigh      *float64
}

// slotRuns are the runs that wait for a slot or may hold one.
const slotRuns = `(
  SELECT id, 'job' AS kind, project_id, queue, status, priority, urgency, queued_at, updated_at, step, total_steps,
    predicted_low_seconds AS low, predicted_high_seconds AS high, eta_low_seconds AS eta_low, eta_high_seconds AS eta_high
  FROM training_jobs WHERE status IN ('queued', 'running', 'pausing', 'resuming', 'cancelling', 'stopping')
  UNION ALL SELECT id, 'evaluation', project_id, queue, status, priority, urgency, queued_at, updated_at, 0, 0, 0, 0, NULL, NULL
  FROM evaluations WHERE status IN ('queued', 'running', 'cancelling')
  UNION ALL SELECT id, 'export', project_id, queue, status, priority, urgency, queued_at, updated_at, 0, 0, 0, 0, NULL, NULL
  FROM exports WHERE status IN ('queued', 'running', 'cancelling')) AS r`

const lineRows = `SELECT r.*, l.claimed_at, t.run_id IS NOT NULL AS turn, COALESCE(t.told, 0) AS told, t.told_at FROM ` + slotRuns + `
LEFT JOIN turns AS t ON t.run_id = r.id AND t.queued_at = r.queued_at LEFT JOIN runs AS l ON l.run_id = r.id
WHERE r.queued_at IS NOT NULL AND (t.run_id IS NOT NULL OR r.status IN ('queued', 'running'))`

// Lines are what stands before the slots of each queue. It is asked for everybody: a place depends on the runs of others.
func (s *Store) Lines(ctx context.Context) (lines map[string]line.Line, err error) {
	err = s.read(ctx, func(ctx context.Context, db database) error {
		rows, err := waitingRows(ctx, db)
		if err != nil {
			return err
		}
		lines, err = s.linesOf(ctx, db, rows)
		return err
	})
	return lines, err
}

func waitingRows(ctx context.Context, db database) (rows []lineRow, err error) {
	err = db.NewRaw(lineRows).Scan(ctx, &rows)
	for i := range rows {
		rows[i].QueuedAt, rows[i].UpdatedAt = rows[i].QueuedAt.UTC(), rows[i].UpdatedAt.UTC()
		rows[i].ClaimedAt.Time = rows[i].ClaimedAt.UTC()
	}
	return rows, err
}

func (s *Store) linesOf(ctx context.Context, db database, rows []lineRow) (map[string]line.Line, error) {
	lines := map[string]line.Line{}
	usual, err := usualDurations(ctx, db, rows)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		l := lines[r.Queue]
		l.Runs = append(l.Runs, r.run(usual))
		lines[r.Queue] = l
	}
	if err := countSlots(ctx, db, lines, s.now().Add(-workerSilence)); err != nil {
		return nil, err
	}
	return lines, lastTurns(ctx, db, lines)
}

func countSlots(ctx context.Context, db database, lines map[string]line.Line, since time.Time) error {
	var queues []struct {
		Queue string
		Slots int
	}
	err := db.NewSelect().Table("workers").Column("queue").ColumnExpr("SUM(slots) AS slots").
		Where("last_seen_at >= ?", stamp(since)).Group("queue").Scan(ctx, &queues)
	for _, q := range queues {
		if l, ok := lines[q.Queue]; ok {
			l.Slots = q.Slots
			lines[q.Queue] = l
		}
	}
	return err
}

func lastTurns(ctx context.Context, db database, lines map[string]line.Line) error {
	var served []struct {
		Queue, ProjectID string
		At               time.Time
	}
	err := db.NewSelect().Table("turns_served").Column("queue", "project_id", "at").Scan(ctx, &served)
	for _, turn := range served {
		l, ok := lines[turn.Queue]
		if !ok {
			continue
		}
		if l.Served == nil {
			l.Served = map[string]time.Time{}
		}
		l.Served[turn.ProjectID] = turn.At
		lines[turn.Queue] = l
	}
	return err
}

func (r lineRow) run(usual map[usualKey]line.Duration) line.Run {
	run := line.Run{
		ID: r.ID, Kind: r.Kind, ProjectID: r.ProjectID, Queue: r.Queue, Status: r.Status, Resumed: r.Priority, Priority: r.Urgency,
		QueuedAt: r.QueuedAt, Turn: r.Turn || r.Status == contract.StatusRunning, Lasts: r.lasts(usual),
	}
	switch {
	case r.Status == contract.StatusQueued || !run.Turn:
	case r.Status != contract.StatusRunning: // it saves and leaves
		run.Ends = line.Span{Earliest: r.UpdatedAt, Latest: r.UpdatedAt.Add(time.Minute)}
	case r.EtaHigh != nil && r.EtaLow != nil:
		run.Ends = line.Span{Earliest: r.UpdatedAt.Add(seconds(*r.EtaLow)), Latest: r.UpdatedAt.Add(seconds(*r.EtaHigh))}
	case run.Lasts.Known() && !r.ClaimedAt.IsZero():
		run.Ends = line.Span{Earliest: r.ClaimedAt.Add(run.Lasts.Low), Latest: r.ClaimedAt.Add(run.Lasts.High)}
	}
	return run
}

// lasts is how long the run should take from when it begins: what it had left when it was interrupted, else what was
// predicted of its steps that are left, else what its kind takes.
func (r lineRow) lasts(usual map[usualKey]line.Duration) line.Duration {
	switch {
	case r.Priority && r.EtaHigh != nil && r.EtaLow != nil:
		return line.Duration{Low: seconds(*r.EtaLow), High: seconds(*r.EtaHigh)}
	case r.High > 0:
		left := 1.0
		if r.TotalSteps > 0 {
			left = float64(max(r.TotalSteps-r.Step, 0)) / float64(r.TotalSteps)
		}
		return line.Duration{Low: seconds(r.Low * left), High: seconds(r.High * left)}
	default:
		return usual[usualKey{r.Kind, r.Queue}]
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

type usualKey struct {
	kind  contract.Kind
	queue string
}

// usualDurations are the shortest and the longest of the last runs of a kind that finished in a queue.
func usualDurations(ctx context.Context, db database, rows []lineRow) (map[usualKey]line.Duration, error) {
	usual := map[usualKey]line.Duration{}
	for _, r := range rows {
		key := usualKey{r.Kind, r.Queue}
		if _, asked := usual[key]; asked || r.High > 0 {
			continue
		}
		var ended []struct{ StartedAt, CompletedAt time.Time }
		err := db.NewSelect().Table(projectionTables[r.Kind]).Column("started_at", "completed_at").
			Where("status = 'completed'").Where("queue = ?", r.Queue).Where("started_at IS NOT NULL").
			Order("created_at DESC", "id DESC").Limit(typicalOf).Scan(ctx, &ended)
		if err != nil {
			return nil, err
		}
		var d line.Duration
		for i, run := range ended {
			took := run.CompletedAt.Sub(run.StartedAt)
			if d.High = max(d.High, took); i == 0 || took < d.Low {
				d.Low = took
			}
		}
		usual[key] = d
	}
	return usual, nil
}

// GiveTurns lets as many waiting runs go as there are free slots, and tells again what may not have been heard. All of it,
// with the messages to their workflows, is one transaction.
func (s *Store) GiveTurns(ctx context.Context) (given int, err error) {
	due, err := s.turnsDue(ctx)
	if err != nil || !due {
		return 0, err
	}
	err = s.write(ctx, func(ctx context.Context, tx *txn) error {
		rows, err := waitingRows(ctx, tx)
		if err != nil {
			return err
		}
		lines, err := s.linesOf(ctx, tx, rows)
		if err != nil {
			return err
		}
		if given, err = tx.giveTurns(ctx, lines); err != nil {
			return err
		}
		return tx.tellAgain(ctx, rows, lines)
	})
	return given, err
}

// turnsDue looks without writing: most of the time there is nothing to do.
func (s *Store) turnsDue(ctx context.Context) (due bool, err error) {
	err = s.read(ctx, func(ctx context.Context, db database) error {
		rows, err := waitingRows(ctx, db)
		if err != nil {
			return err
		}
		lines, err := s.linesOf(ctx, db, rows)
		for _, l := range lines {
			due = due || len(l.Next()) > 0
		}
		now := s.now()
		for _, r := range rows {
			due = due || r.unheard(now, lines)
		}
		return err
	})
	return due, err
}

func (t *txn) giveTurns(ctx context.Context, lines map[string]line.Line) (given int, err error) {
	for queue, l := range lines {
		for _, run := range l.Next() {
			given++
			if err := t.giveTurn(ctx, queue, run); err != nil {
				return given, err
			}
		}
	}
	return given, t.forgetTurns(ctx)
}

func (t *txn) giveTurn(ctx context.Context, queue string, run line.Run) error {
	_, err := t.ExecContext(ctx, `INSERT INTO turns (run_id, queued_at, told, told_at) VALUES (?, ?, 1, ?)
ON CONFLICT (run_id) DO UPDATE SET queued_at = excluded.queued_at, told = 1, told_at = excluded.told_at`, run.ID, sqlTime(run.QueuedAt), sqlTime(t.now))
	if err != nil {
		return err
	}
	_, err = t.ExecContext(ctx, `INSERT INTO turns_served (queue, project_id, at) VALUES (?, ?, ?)
ON CONFLICT (queue, project_id) DO UPDATE SET at = excluded.at`, queue, run.ProjectID, sqlTime(t.now))
	if err != nil {
		return err
	}
	return t.tellTurn(ctx, run.Kind, run.ID, run.QueuedAt)
}

func (t *txn) tellTurn(ctx context.Context, kind contract.Kind, id string, queuedAt time.Time) error {
	input, err := json.Marshal(contract.Turn{QueuedAt: queuedAt})
	if err != nil {
		return err
	}
	signal := &contract.Signal{WorkflowID: contract.WorkflowID(kind, id), Name: contract.SignalTurn, Input: input}
	return t.enqueue(ctx, OutboxEntry{WorkflowID: signal.WorkflowID, Signal: signal})
}

// forgetTurns removes those of runs that have ended, paused or queued anew.
func (t *txn) forgetTurns(ctx context.Context) error {
	_, err := t.ExecContext(ctx, `DELETE FROM turns WHERE NOT EXISTS (
  SELECT 1 FROM `+slotRuns+` WHERE r.id = turns.run_id AND r.queued_at = turns.queued_at)`)
	return err
}

// unheard tells whether a turn is to be told again.
func (r lineRow) unheard(now time.Time, lines map[string]line.Line) bool {
	if !r.Turn {
		return false
	}
	patience := min(firstRetell<<min(r.Told-1, 10), longestRetell)
	if now.Sub(r.ToldAt.Time) < patience {
		return false
	}
	return r.Status == contract.StatusQueued || len(lines[r.Queue].Waiting()) > 0
}

func (t *txn) tellAgain(ctx context.Context, rows []lineRow, lines map[string]line.Line) error {
	for _, r := range rows {
		if !r.unheard(t.now, lines) {
			continue
		}
		if err := t.tellTurn(ctx, r.Kind, r.ID, r.QueuedAt); err != nil {
			return err
		}
		_, err := t.ExecContext(ctx, `UPDATE turns SET told = told + 1, told_at = ? WHERE run_id = ?`, sqlTime(t.now), r.ID)
		if err != nil {
			return err
		}
	}
	return nil
}

// LineWake receives when turns may have become due. It is for one reader, which also looks from time to time.
func (s *Store) LineWake() <-chan struct{} { return s.line }

// moves are the events that change a line, whatever their kind.
var moves = map[string]bool{
	contract.EventQueued: true, contract.EventPaused: true, contract.EventCompleted: true, contract.EventStopped: true,
	contract.EventFailed: true, contract.EventCancelled: true, contract.EventPauseRequested: true,
	contract.EventResumeRequested: true, contract.EventCancelRequested: true,
}

// movesLine tells whether events that were added may have made room, or brought somebody.
func movesLine(kind contract.Kind, evs []contract.Event) bool {
	switch kind {
	case contract.KindJob, contract.KindEvaluation, contract.KindExport:
		for _, e := range evs {
			if moves[suffix(kind, e)] {
				return true
			}
		}
	}
	return false
}
