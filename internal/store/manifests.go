package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// Checkpoint is a committed checkpoint.
type Checkpoint struct {
	bun.BaseModel `bun:"table:checkpoints"`

	Ord         int64             `bun:"ord,pk,autoincrement"`
	RunID       string            `bun:"run_id"`
	Name        string            `bun:"name"`
	Epoch       int64             `bun:"epoch"`
	Step        int               `bun:"step"`
	Bytes       int64             `bun:"bytes"`
	Best        bool              `bun:"best"`
	Final       bool              `bun:"final"`
	Manifest    contract.Manifest `bun:"manifest,type:json"`
	CommittedAt time.Time         `bun:"committed_at"`
}

// RunArtifact is a folder that a run made besides checkpoints: an adapter, a model, samples.
type RunArtifact struct {
	bun.BaseModel `bun:"table:run_artifacts"`

	RunID       string            `bun:"run_id,pk"`
	Name        string            `bun:"name,pk"`
	Kind        string            `bun:"kind"`
	Epoch       int64             `bun:"epoch"`
	Bytes       int64             `bun:"bytes"`
	Manifest    contract.Manifest `bun:"manifest,type:json"`
	CommittedAt time.Time         `bun:"committed_at"`
}

// RunObject returns the object with this digest that a run may read: one of its inputs, or one that it stored itself.
// not_found otherwise, whatever else the artifact store holds.
func (s *Store) RunObject(ctx context.Context, runID, sha256 string) (contract.Object, error) {
	return s.objectWhere(ctx, sha256, `id IN (SELECT object_id FROM run_inputs WHERE run_id = ? AND sha256 = ?
		UNION ALL SELECT object_id FROM run_blobs WHERE run_id = ? AND sha256 = ?)`, runID, sha256, runID, sha256)
}

// StoredByRuns returns an object with this digest that some run stored and still holds, so that it need not be stored
// again; not_found if there is none.
func (s *Store) StoredByRuns(ctx context.Context, sha256 string) (contract.Object, error) {
	return s.objectWhere(ctx, sha256, `sha256 = ? AND id IN (SELECT object_id FROM run_blobs WHERE sha256 = ?)`, sha256, sha256)
}

func (s *Store) objectWhere(ctx context.Context, sha256, where string, args ...any) (contract.Object, error) {
	var row objectRow
	err := s.reader.NewSelect().Model(&row).Where(where, args...).OrderExpr("id").Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return contract.Object{}, contract.Errorf(contract.CodeNotFound, "no stored content has the digest %s", sha256)
	}
	return row.object(), err
}

// AddRunBlob lets a run hold an object that it has stored (or proved to have, by sending all of it).
func (s *Store) AddRunBlob(ctx context.Context, f Fence, ref contract.ObjectRef) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		if _, err := tx.fenced(ctx, f); err != nil {
			return err
		}
		if _, err := findByID[objectRow](ctx, tx, "object", ref.ObjectID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO run_blobs (run_id, sha256, size, object_id) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			f.RunID, ref.SHA256, ref.Size, ref.ObjectID)
		return err
	})
}

// MissingError is what the conflict of a manifest wraps: files that are not stored yet.
type MissingError struct{ SHA256 []string }

// Error implements error.
func (e *MissingError) Error() string {
	return fmt.Sprintf("%d of its files are not stored", len(e.SHA256))
}

// holdsAll checks that a run holds every file of a manifest, in the size that the manifest says. A file that the run was
// given as an input (an exported adapter is its own) it holds from now on.
func (t *txn) holdsAll(ctx context.Context, runID string, m contract.Manifest) error {
	if err := t.holdInputs(ctx, runID, m); err != nil {
		return err
	}
	sizes, err := t.blobSizes(ctx, runID)
	if err != nil {
		return err
	}
	missing := &MissingError{}
	for _, f := range m.Files {
		size, ok := sizes[f.SHA256]
		if ok && size != f.Size {
			return contract.Errorf(contract.CodeInvalid, "%s has %d bytes, its manifest says %d", f.Path, size, f.Size).On("files")
		}
		if !ok {
			missing.SHA256 = append(missing.SHA256, f.SHA256)
		}
	}
	if len(missing.SHA256) > 0 {
		return contract.Errorf(contract.CodeConflict, "%q cannot be committed: %w", m.Name, missing).Mend("upload them, then send the manifest again")
	}
	return nil
}

func (t *txn) holdInputs(ctx context.Context, runID string, m contract.Manifest) error {
	digests := make([]string, len(m.Files))
	for i, f := range m.Files {
		digests[i] = f.SHA256
	}
	_, err := t.NewRaw(`INSERT INTO run_blobs (run_id, sha256, size, object_id)
		SELECT i.run_id, i.sha256, o.size, o.id FROM run_inputs AS i JOIN objects AS o ON o.id = i.object_id
		WHERE i.run_id = ? AND i.sha256 IN (?) ON CONFLICT DO NOTHING`, runID, bun.List(digests)).Exec(ctx)
	return err
}

func (t *txn) blobSizes(ctx context.Context, runID string) (map[string]int64, error) {
	rows, err := t.QueryContext(ctx, `SELECT sha256, size FROM run_blobs WHERE run_id = ?`, runID)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	sizes := map[string]int64{}
	for rows.Next() {
		var sha string
		var size int64
		if err := rows.Scan(&sha, &size); err != nil {
			return nil, err
		}
		sizes[sha] = size
	}
	return sizes, rows.Err()
}

// CommitCheckpoint takes a checkpoint's manifest once all of its files are held and the log has the runner's line that
// tells of it; anything less is a conflict. It then forgets checkpoints beyond the last two, the best and the final,
// and returns the ids of objects that nothing needs any more, for the caller to delete. Committing the same manifest
// again changes nothing.
func (s *Store) CommitCheckpoint(ctx context.Context, f Fence, m contract.Manifest) (freed []string, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *txn) error {
		run, err := tx.fenced(ctx, f)
		if err != nil {
			return err
		}
		if same, err := tx.isCommitted(ctx, f.RunID, m); err != nil || same {
			return err
		}
		if err := tx.holdsAll(ctx, f.RunID, m); err != nil {
			return err
		}
		if err := tx.toldOf(ctx, run, m.Name); err != nil {
			return err
		}
		if err := tx.saveCheckpoint(ctx, run, m); err != nil {
			return err
		}
		freed, err = tx.prune(ctx, f.RunID)
		return err
	})
	return freed, err
}

func (t *txn) isCommitted(ctx context.Context, runID string, m contract.Manifest) (bool, error) {
	var have Checkpoint
	err := t.NewSelect().Model(&have).Where("run_id = ?", runID).Where("name = ?", m.Name).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil && sameJSON(have.Manifest, m), err
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func (t *txn) toldOf(ctx context.Context, run *Run, checkpoint string) error {
	var told bool
	err := t.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM events WHERE stream = ? AND type = 'runner.checkpoint'
		AND json_extract(payload, '$.name') = ?)`, contract.Stream(run.Kind, run.RunID), checkpoint).Scan(&told)
	if err == nil && !told {
		err = contract.Errorf(contract.CodeConflict, "the log does not hold the events up to checkpoint %q yet", checkpoint).
			Mend("send the epoch's events first")
	}
	return err
}

func (t *txn) saveCheckpoint(ctx context.Context, run *Run, m contract.Manifest) error {
	c := Checkpoint{RunID: run.RunID, Name: m.Name, Epoch: run.Epoch, Step: m.Step, Bytes: totalSize(m),
		Best: m.Best, Final: m.Final, Manifest: m, CommittedAt: t.now}
	if _, err := t.NewDelete().Model(&c).Where("run_id = ?", c.RunID).Where("name = ?", c.Name).Exec(ctx); err != nil {
		return err
	}
	if _, err := t.NewInsert().Model(&c).Exec(ctx); err != nil {
		return err
	}
	ev := newEvent(run.Kind, contract.EventCheckpointCommitted, contract.CheckpointCommitted{
		Name: c.Name, Step: c.Step, Bytes: c.Bytes, Best: c.Best, Final: c.Final}, "checkpoint", c.Ord)
	_, err := t.append(ctx, contract.Stream(run.Kind, run.RunID), []contract.NewEvent{ev})
	return err
}

func totalSize(m contract.Manifest) (n int64) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// loseCheckpoints forgets committed checkpoints that cannot be read whole any more, and tells the log. What they alone held
// is let go of, so that the same content is taken anew when it is made again. A name that is not held is passed over.
func (t *txn) loseCheckpoints(ctx context.Context, run Run, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	all, err := checkpointsOf(ctx, t, run.RunID)
	if err != nil {
		return nil, err
	}
	var lost, left []Checkpoint
	for _, c := range all {
		if slices.Contains(names, c.Name) {
			lost = append(lost, c)
		} else {
			left = append(left, c)
		}
	}
	needed := map[string]bool{}
	for _, c := range left {
		addDigests(needed, c.Manifest)
	}
	freed, err := t.drop(ctx, run.RunID, lost, needed)
	if err != nil {
		return nil, err
	}
	return freed, t.tellLost(ctx, run, lost, left)
}

func (t *txn) tellLost(ctx context.Context, run Run, lost, left []Checkpoint) error {
	var evs []contract.NewEvent
	for i, c := range lost {
		told := contract.CheckpointLost{Name: c.Name, Step: c.Step}
		if len(left) > 0 {
			told.Left, told.LeftStep = left[0].Name, left[0].Step
		}
		evs = append(evs, newEvent(run.Kind, contract.EventCheckpointLost, told, fmt.Sprintf("lost/%d", run.Epoch), int64(i+1)))
	}
	if len(evs) == 0 {
		return nil
	}
	_, err := t.append(ctx, contract.Stream(run.Kind, run.RunID), evs)
	return err
}

func newestCheckpoint(ctx context.Context, db bun.IDB, runID string) (*Checkpoint, error) {
	var c Checkpoint
	err := db.NewSelect().Model(&c).Where("run_id = ?", runID).OrderExpr("ord DESC").Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &c, err
}

// Checkpoints returns a run's committed checkpoints, the newest first.
func (s *Store) Checkpoints(ctx context.Context, runID string) ([]Checkpoint, error) {
	return checkpointsOf(ctx, s.reader, runID)
}

func checkpointsOf(ctx context.Context, db bun.IDB, runID string) ([]Checkpoint, error) {
	var cs []Checkpoint
	err := db.NewSelect().Model(&cs).Where("run_id = ?", runID).OrderExpr("ord DESC").Scan(ctx)
	return cs, err
}

const keptCheckpoints = 2

// prune forgets checkpoints that retention does not keep, and the objects that only they needed.
func (t *txn) prune(ctx context.Context, runID string) ([]string, error) {
	all, err := checkpointsOf(ctx, t, runID)
	if err != nil {
		return nil, err
	}
	artifacts, err := runArtifacts(ctx, t, runID)
	if err != nil {
		return nil, err
	}
	needed := map[string]bool{}
	for _, a := range artifacts {
		addDigests(needed, a.Manifest)
	}
	var dropped []Checkpoint
	best := false
	for i, c := range all {
		newestBest := c.Best && !best
		best = best || c.Best
		if i < keptCheckpoints || newestBest || c.Final {
			addDigests(needed, c.Manifest)
		} else {
			dropped = append(dropped, c)
		}
	}
	return t.drop(ctx, runID, dropped, needed)
}

func addDigests(to map[string]bool, m contract.Manifest) {
	for _, f := range m.Files {
		to[f.SHA256] = true
	}
}

func (t *txn) drop(ctx context.Context, runID string, dropped []Checkpoint, needed map[string]bool) ([]string, error) {
	var released []string
	for _, c := range dropped {
		if _, err := t.NewDelete().Model(&c).WherePK().Exec(ctx); err != nil {
			return nil, err
		}
		for _, f := range c.Manifest.Files {
			if needed[f.SHA256] {
				continue
			}
			id, err := t.release(ctx, runID, f.SHA256)
			if err != nil {
				return nil, err
			}
			if id != "" {
				released = append(released, id)
			}
		}
	}
	free, err := t.unreferenced(ctx, released)
	if err != nil {
		return nil, err
	}
	return free, t.dropObjects(ctx, free)
}

// release ends a run's hold on a digest and returns the object's id, "" if it held none.
func (t *txn) release(ctx context.Context, runID, sha256 string) (id string, err error) {
	err = t.QueryRowContext(ctx, `DELETE FROM run_blobs WHERE run_id = ? AND sha256 = ? RETURNING object_id`, runID, sha256).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id, err
}

// CommitArtifact takes the manifest of a folder that a run made, once all of its files are held. The same name again
// replaces it.
func (s *Store) CommitArtifact(ctx context.Context, f Fence, m contract.Manifest) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		run, err := tx.fenced(ctx, f)
		if err != nil {
			return err
		}
		if err := tx.holdsAll(ctx, f.RunID, m); err != nil {
			return err
		}
		a := RunArtifact{RunID: f.RunID, Name: m.Name, Kind: m.Kind, Epoch: run.Epoch, Bytes: totalSize(m), Manifest: m, CommittedAt: tx.now}
		_, err = tx.NewInsert().Model(&a).On("CONFLICT (run_id, name) DO UPDATE").
			Set("kind = EXCLUDED.kind, epoch = EXCLUDED.epoch, bytes = EXCLUDED.bytes").
			Set("manifest = EXCLUDED.manifest, committed_at = EXCLUDED.committed_at").Exec(ctx)
		return err
	})
}

// RunArtifacts returns what a run made, by name.
func (s *Store) RunArtifacts(ctx context.Context, runID string) ([]RunArtifact, error) {
	return runArtifacts(ctx, s.reader, runID)
}

func runArtifacts(ctx context.Context, db bun.IDB, runID string) ([]RunArtifact, error) {
	var as []RunArtifact
	err := db.NewSelect().Model(&as).Where("run_id = ?", runID).Order("name").Scan(ctx)
	return as, err
}

// ModelFiles resolves a manifest's files to the objects that the run holds: the files of a model made from it. A
// conflict (*MissingError) if some are not held any more.
func (s *Store) ModelFiles(ctx context.Context, runID string, m contract.Manifest) ([]ModelFile, error) {
	files := make([]ModelFile, 0, len(m.Files))
	missing := &MissingError{}
	for _, f := range m.Files {
		o, err := s.RunObject(ctx, runID, f.SHA256)
		if contract.CodeOf(err) == contract.CodeNotFound {
			missing.SHA256 = append(missing.SHA256, f.SHA256)
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, ModelFile{FileInfo: f, ObjectID: o.ID})
	}
	if len(missing.SHA256) > 0 {
		return nil, contract.Errorf(contract.CodeConflict, "%q of run %s is incomplete: %w", m.Name, runID, missing)
	}
	return files, nil
}
