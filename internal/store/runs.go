package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// Run is the fencing record of a training, evaluation or export: who launched it last, under which epoch, and up to
// which line of that epoch's event file the log holds. Nonce binds a launch's token to this row. Dataset is what the first
// launch was given: a later one gets the same rows, even if the dataset was processed anew in between.
type Run struct {
	bun.BaseModel `bun:"table:runs"`

	RunID     string               `bun:"run_id,pk"`
	Kind      contract.Kind        `bun:"kind"`
	Epoch     int64                `bun:"epoch"`
	Worker    string               `bun:"worker"`
	Nonce     string               `bun:"nonce"`
	Acked     int64                `bun:"acked"`
	Dataset   *contract.DatasetRef `bun:"dataset,type:json,nullzero"`
	Result    *contract.RunResult  `bun:"-"`
	Sealed    []byte               `bun:"result,nullzero"` // Result, as the database has it
	ClaimedAt time.Time            `bun:"claimed_at"`
	// Freed are objects that a claim has let go of, for the caller to delete.
	Freed []string `bun:"-"`
}

// RunKind tells by an id's prefix which kind of run it names; ok is false for what no worker runs.
func RunKind(runID string) (kind contract.Kind, ok bool) {
	for prefix, kind := range map[string]contract.Kind{contract.PrefixJob: contract.KindJob,
		contract.PrefixEvaluation: contract.KindEvaluation, contract.PrefixExport: contract.KindExport} {
		if strings.HasPrefix(runID, prefix) {
			return kind, true
		}
	}
	return "", false
}

// RunState returns what the gateway tells of a run, claimed or not; not_found if there is no such job, evaluation or
// export.
func (s *Store) RunState(ctx context.Context, runID string) (contract.RunState, error) {
	var state contract.RunState
	err := s.read(ctx, func(ctx context.Context, tx database) error {
		kind, status, err := runStatus(ctx, tx, runID)
		if err != nil {
			return err
		}
		state = contract.RunState{RunID: runID, Kind: kind, Status: status}
		run, err := findRun(ctx, tx, runID)
		if err != nil || run == nil {
			return err
		}
		state.Epoch, state.Worker, state.Acked, state.Result = run.Epoch, run.Worker, run.Acked, run.Result
		kept, err := checkpointsOf(ctx, tx, runID)
		for i := range kept {
			if i == 0 {
				state.Checkpoint = &kept[i].Manifest
				continue
			}
			state.Earlier = append(state.Earlier, kept[i].Manifest)
		}
		return err
	})
	return state, err
}

// read runs fn on one snapshot of the database.
func (s *Store) read(ctx context.Context, fn func(ctx context.Context, db database) error) error {
	return s.reader.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		return fn(ctx, struct {
			bun.Tx
			contentKey
		}{tx, s.reader.contentKey})
	})
}

func runStatus(ctx context.Context, db bun.IDB, runID string) (contract.Kind, contract.Status, error) {
	kind, ok := RunKind(runID)
	if !ok {
		return "", "", notFound("run", runID)
	}
	var found []string
	if err := db.NewSelect().Table(projectionTables[kind]).Column("status").Where("id = ?", runID).Scan(ctx, &found); err != nil {
		return "", "", err
	}
	if len(found) == 0 {
		return "", "", notFound(kind, runID)
	}
	return kind, contract.Status(found[0]), nil
}

// findRun returns nil for a run that was never claimed.
func findRun(ctx context.Context, db database, runID string) (*Run, error) {
	var run Run
	err := db.NewSelect().Model(&run).Where("run_id = ?", runID).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &run, db.openRow(&run)
}

// GetRun returns the fencing record of a run that was claimed, or not_found.
func (s *Store) GetRun(ctx context.Context, runID string) (*Run, error) {
	run, err := findRun(ctx, s.reader, runID)
	if err == nil && run == nil {
		err = notFound("launch of run", runID)
	}
	return run, err
}

// RunClaim asks for a run's next epoch: contract.ClaimRequest and the nonce of the new token. Inputs are the objects
// that the launch may read besides what the run itself stores and what earlier launches were given; Dataset is kept from
// the first launch on.
type RunClaim struct {
	RunID   string
	Nonce   string
	Dataset *contract.DatasetRef
	Inputs  []contract.ObjectRef
	contract.ClaimRequest
}

// ClaimRun moves a run to its next epoch (compare and set), and tells the log: `rewound` first if the log had told of
// steps after the one that the launch goes on from, then `started`, then what the worker has to say of the launch before.
// Checkpoints that it found damaged are forgotten (Run.Freed). epoch_superseded if another claim was first, a conflict if
// the run is over.
func (s *Store) ClaimRun(ctx context.Context, c RunClaim) (Run, error) {
	var run Run
	err := s.write(ctx, func(ctx context.Context, tx *txn) error {
		kind, status, err := runStatus(ctx, tx, c.RunID)
		if err != nil {
			return err
		}
		if status.Final() {
			return contract.Errorf(contract.CodeConflict, "run %s is %s", c.RunID, status).Mend("stop its runner")
		}
		before, err := findRun(ctx, tx, c.RunID)
		if err != nil {
			return err
		}
		timeline, err := tx.timeline(ctx)
		if err != nil {
			return err
		}
		run = Run{RunID: c.RunID, Kind: kind, Epoch: contract.NextEpoch(c.ExpectEpoch, timeline), Worker: c.Worker, Nonce: c.Nonce, Dataset: c.Dataset, ClaimedAt: tx.now}
		if current := epochOf(before); current != c.ExpectEpoch {
			return superseded(c.RunID, c.ExpectEpoch, current)
		}
		if err := tx.saveRun(ctx, run); err != nil {
			return err
		}
		if err := tx.saveInputs(ctx, c); err != nil {
			return err
		}
		if run.Freed, err = tx.loseCheckpoints(ctx, run, c.Damaged); err != nil {
			return err
		}
		return tx.tellClaim(ctx, run, c.ClaimRequest)
	})
	return run, err
}

func epochOf(run *Run) int64 {
	if run == nil {
		return 0
	}
	return run.Epoch
}

func superseded(runID string, epoch, current int64) error {
	return contract.Errorf(contract.CodeEpochSuperseded, "epoch %d of run %s was superseded: the current one is %d", epoch, runID, current).
		Mend("stop this launch's runner; it saves nothing more")
}

func (t *txn) saveRun(ctx context.Context, run Run) error {
	_, err := t.NewInsert().Model(&run).On("CONFLICT (run_id) DO UPDATE").
		Set("epoch = EXCLUDED.epoch, worker = EXCLUDED.worker, nonce = EXCLUDED.nonce").
		Set("acked = 0, result = NULL, claimed_at = EXCLUDED.claimed_at").Exec(ctx)
	return err
}

func (t *txn) saveInputs(ctx context.Context, c RunClaim) error {
	for _, in := range c.Inputs {
		_, err := t.ExecContext(ctx, `INSERT INTO run_inputs (run_id, sha256, object_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
			c.RunID, in.SHA256, in.ObjectID)
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) tellClaim(ctx context.Context, run Run, c contract.ClaimRequest) error {
	step, source := c.Step, fmt.Sprintf("gateway/%d", run.Epoch)
	claimed := contract.Claimed{Epoch: run.Epoch, Worker: run.Worker, Step: step}
	newest, err := newestCheckpoint(ctx, t, run.RunID)
	if err != nil {
		return err
	}
	if newest != nil && newest.Step == step {
		claimed.Checkpoint = newest.Name
	}
	var evs []contract.NewEvent
	told, err := t.lastStep(ctx, run.RunID)
	if err != nil {
		return err
	}
	if told > step {
		evs = append(evs, newEvent(run.Kind, contract.EventRewound, contract.Rewound{ToStep: step}, source, 1))
	}
	evs = append(evs, newEvent(run.Kind, contract.EventStarted, claimed, source, 2))
	if c.Adjust != nil {
		evs = append(evs, newEvent(run.Kind, contract.EventAdjusted, c.Adjust, source, 3))
	}
	for i, note := range c.Notes {
		evs = append(evs, noteEvent(note, source, int64(4+i)))
	}
	_, err = t.append(ctx, contract.Stream(run.Kind, run.RunID), evs)
	return err
}

// lastStep is the highest step of a job's curve: a rewound run has forgotten what it will tell again.
func (t *txn) lastStep(ctx context.Context, jobID string) (step int, err error) {
	err = t.QueryRowContext(ctx, `SELECT COALESCE(MAX(step), 0) FROM metric_points WHERE job_id = ?`, jobID).Scan(&step)
	return step, err
}

// noteEvent is a line of a run's log that is not its runner's own.
func noteEvent(message, source string, seq int64) contract.NewEvent {
	ev := newEvent("", "", map[string]string{"level": "warn", "message": message}, source, seq)
	ev.Type = contract.RunnerLog
	return ev
}

// NoteRun adds a line to a run's log, once for each launch and reason. epoch_superseded if the launch is not the current one.
func (s *Store) NoteRun(ctx context.Context, f Fence, reason, message string) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		run, err := tx.fenced(ctx, f)
		if err != nil {
			return err
		}
		source := fmt.Sprintf("gateway/%d/%s", f.Epoch, reason)
		_, err = tx.append(ctx, contract.Stream(run.Kind, f.RunID), []contract.NewEvent{noteEvent(message, source, 1)})
		return err
	})
}

func newEvent(kind contract.Kind, suffix string, payload any, source string, seq int64) contract.NewEvent {
	body, err := json.Marshal(payload)
	if err != nil {
		panic(fmt.Sprintf("store: payload of %s.%s: %v", kind, suffix, err)) // our own structs: cannot fail
	}
	return contract.NewEvent{Type: contract.EventType(kind, suffix), Payload: body, Source: source, SourceSeq: seq}
}

// AdoptRun gives the current epoch to a worker that found its runner alive; epoch_superseded if it is not the current
// one. The nonce stays, and so do tokens given before.
func (s *Store) AdoptRun(ctx context.Context, runID string, a contract.AdoptRequest) (Run, error) {
	var run Run
	err := s.write(ctx, func(ctx context.Context, tx *txn) error {
		current, err := tx.fenced(ctx, Fence{RunID: runID, Epoch: a.Epoch})
		if err != nil {
			return err
		}
		run = *current
		run.Worker = a.Worker
		_, err = tx.ExecContext(ctx, `UPDATE runs SET worker = ? WHERE run_id = ?`, a.Worker, runID)
		return err
	})
	return run, err
}

// Fence names the launch that a write comes from. Nonce is checked when it is given.
type Fence struct {
	RunID string
	Epoch int64
	Nonce string
}

// fenced returns the run if the launch still owns it: the check of every write, in that write's transaction.
func (t *txn) fenced(ctx context.Context, f Fence) (*Run, error) {
	return checkFence(ctx, t, f)
}

func checkFence(ctx context.Context, db database, f Fence) (*Run, error) {
	run, err := findRun(ctx, db, f.RunID)
	if err != nil {
		return nil, err
	}
	if current := epochOf(run); run == nil || current != f.Epoch || (f.Nonce != "" && f.Nonce != run.Nonce) {
		return nil, superseded(f.RunID, f.Epoch, current)
	}
	return run, nil
}

// CheckFence reports (epoch_superseded) whether a launch still owns its run, for reads and for uploads under way.
func (s *Store) CheckFence(ctx context.Context, f Fence) error {
	_, err := checkFence(ctx, s.reader, f)
	return err
}

// RunBatch is a run of lines of an epoch's event file, decoded; First is the number of the first.
type RunBatch struct {
	Fence
	First  int64
	Events []contract.NewEvent // Source and SourceSeq are set here
}

// GapError is what AppendRun's conflict wraps: the batch begins after the line that has to come next.
type GapError struct{ Acked int64 }

// Error implements error.
func (e *GapError) Error() string {
	return fmt.Sprintf("the next line is %d", e.Acked+1)
}

// AppendRun appends a batch of a runner's lines and returns the last line that the log holds. Lines it holds already are
// left out; a batch that leaves a gap is a conflict that wraps *GapError.
func (s *Store) AppendRun(ctx context.Context, b RunBatch) (acked int64, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *txn) error {
		run, err := tx.fenced(ctx, b.Fence)
		if err != nil {
			return err
		}
		if acked = run.Acked; b.First > acked+1 {
			return contract.Errorf(contract.CodeConflict, "the batch leaves a gap: %w", &GapError{Acked: acked}).On("first").
				Mend("send lines from %d on", acked+1)
		}
		known := min(max(acked+1-b.First, 0), int64(len(b.Events)))
		fresh := b.Events[known:]
		if len(fresh) == 0 {
			return nil
		}
		for i := range fresh {
			acked++
			fresh[i].Source, fresh[i].SourceSeq = fmt.Sprintf("runner/%d", run.Epoch), acked
		}
		if _, err := tx.append(ctx, contract.Stream(run.Kind, run.RunID), fresh); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE runs SET acked = ? WHERE run_id = ?`, acked, run.RunID)
		return err
	})
	return acked, err
}
