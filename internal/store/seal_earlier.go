package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/seal"
)

// contentKeyRow is the key of sealed values, wrapped by the master key, and how far values of earlier builds are sealed.
type contentKeyRow struct {
	bun.BaseModel `bun:"table:content_keys"`

	Name       string `bun:"name,pk"`
	WrappedKey []byte `bun:"wrapped_key"`
	State      string `bun:"state"`
}

const (
	contentKeyName = "content"

	stateSealing   = "sealing"   // the log has payloads in the clear, and rows may lack what it says
	stateScrubbing = "scrubbing" // free pages may still show what was in the clear
	stateSealed    = "sealed"
)

// openContent returns the content key; a database without one gets one.
func (s *Store) openContent(ctx context.Context, master *seal.Master) (contentKey, error) {
	row, err := s.contentKeyRow(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		row, err = s.newContentKey(ctx, master)
	}
	if err != nil {
		return contentKey{}, err
	}
	raw, err := master.Unwrap(contentKeyName, row.WrappedKey)
	if contract.CodeOf(err) == contract.CodePrerequisite {
		return contentKey{}, contract.Errorf(contract.CodePrerequisite, "the database was sealed under another master key").
			Mend("put back the master.key that belongs to this data folder, from a backup: nothing else opens what it holds")
	}
	if err != nil {
		return contentKey{}, err
	}
	key, err := seal.NewKey(raw)
	return contentKey{key}, err
}

func (s *Store) contentKeyRow(ctx context.Context) (contentKeyRow, error) {
	row := contentKeyRow{Name: contentKeyName}
	err := s.writer.NewSelect().Model(&row).WherePK().Scan(ctx)
	return row, err
}

func (s *Store) newContentKey(ctx context.Context, master *seal.Master) (contentKeyRow, error) {
	_, wrapped, err := master.NewDataKey(contentKeyName)
	if err != nil {
		return contentKeyRow{}, err
	}
	row := contentKeyRow{Name: contentKeyName, WrappedKey: wrapped, State: stateSealed}
	for _, table := range []string{"events", "settings"} {
		earlier, err := s.writer.NewSelect().Table(table).Exists(ctx)
		if err != nil {
			return contentKeyRow{}, err
		}
		if earlier {
			row.State = stateSealing
		}
	}
	_, err = s.writer.NewInsert().Model(&row).Exec(ctx)
	return row, err
}

// sealEarlier seals what a build before sealing wrote, once: payloads, results of runs and settings in place; the projections
// are made anew. It goes on where a crash stopped it, and nothing reads the database before it has ended.
func (s *Store) sealEarlier(ctx context.Context) error {
	if err := s.write(ctx, func(ctx context.Context, tx *txn) error { return tx.sealOutbox(ctx) }); err != nil {
		return err
	}
	row, err := s.contentKeyRow(ctx)
	if err != nil || row.State == stateSealed {
		return err
	}
	if row.State == stateSealing {
		s.log.Info("sealing what an earlier version of VibeFlow wrote; this happens once and may take a while")
		if err := s.sealEvents(ctx); err != nil {
			return err
		}
		err := s.write(ctx, func(ctx context.Context, tx *txn) error {
			if err := errors.Join(tx.sealResults(ctx), tx.sealSettings(ctx)); err != nil {
				return err
			}
			if err := tx.rebuild(ctx); err != nil {
				return err
			}
			return setContentState(ctx, tx, stateScrubbing)
		})
		if err != nil {
			return err
		}
	}
	return s.scrub(ctx)
}

func setContentState(ctx context.Context, db bun.IDB, state string) error {
	_, err := db.NewUpdate().Model((*contentKeyRow)(nil)).Set("state = ?", state).Where("name = ?", contentKeyName).Exec(ctx)
	return err
}

const (
	sealBatch      = 500
	sealBatchBytes = 8 << 20
)

func (s *Store) sealEvents(ctx context.Context) error {
	last := eventRow{}
	for more := true; more; {
		err := s.write(ctx, func(ctx context.Context, tx *txn) error {
			batch, err := tx.clearEvents(ctx, last)
			if err != nil {
				return err
			}
			for _, r := range batch {
				sealed := tx.sealEvent(contract.Event{Stream: r.Stream, Seq: r.Seq, Type: r.Type, Payload: r.Payload})
				if _, err := tx.ExecContext(ctx, `UPDATE events SET payload = ? WHERE stream = ? AND seq = ?`, sealed, r.Stream, r.Seq); err != nil {
					return err
				}
				last = r
			}
			more = len(batch) > 0
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// clearEvents returns some of the events after one that have payloads in the clear, as many as memory should hold.
func (t *txn) clearEvents(ctx context.Context, after eventRow) ([]eventRow, error) {
	var clear []string
	for kind := range plainEvents {
		clear = append(clear, kind)
	}
	rows, err := t.NewSelect().Table("events").Column("stream", "seq", "type", "payload").
		Where("(stream, seq) > (?, ?)", after.Stream, after.Seq).Where("typeof(payload) = 'text'").
		Where("type NOT IN (?)", bun.List(slices.Sorted(slices.Values(clear)))).Order("stream", "seq").Limit(sealBatch).Rows(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var batch []eventRow
	for bytes := 0; bytes < sealBatchBytes && rows.Next(); {
		var r eventRow
		if err := rows.Scan(&r.Stream, &r.Seq, &r.Type, &r.Payload); err != nil {
			return nil, err
		}
		batch, bytes = append(batch, r), bytes+len(r.Payload)
	}
	return batch, rows.Err()
}

func (t *txn) sealResults(ctx context.Context) error {
	var ids []string
	if err := t.NewSelect().Table("runs").Column("run_id").Where("typeof(result) = 'text'").Scan(ctx, &ids); err != nil {
		return err
	}
	for _, id := range ids {
		run, body := Run{RunID: id}, []byte{}
		err := t.QueryRowContext(ctx, `SELECT epoch, result FROM runs WHERE run_id = ?`, id).Scan(&run.Epoch, &body)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(body, &run.Result); err != nil {
			return err
		}
		if err := t.saveResult(ctx, &run); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) sealSettings(ctx context.Context) error {
	var all []Setting
	if err := t.NewSelect().Model(&all).Scan(ctx); err != nil {
		return err
	}
	for _, v := range all {
		v.Value = v.Sealed
		if err := t.sealRow(&v); err != nil {
			return err
		}
		if _, err := t.NewUpdate().Model(&v).Column("value").WherePK().Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// earlierEntry is an outbox entry as builds before sealing wrote it.
type earlierEntry struct {
	bun.BaseModel `bun:"table:outbox"`

	ID         int64            `bun:"id,pk"`
	WorkflowID string           `bun:"workflow_id"`
	Start      *contract.Start  `bun:"start,type:json,nullzero"`
	Signal     *contract.Signal `bun:"signal,type:json,nullzero"`
	CreatedAt  time.Time        `bun:"created_at"`
}

// sealOutbox seals what an earlier build had not delivered when it ended.
func (t *txn) sealOutbox(ctx context.Context) error {
	var earlier []earlierEntry // a handful: they wait for Temporal
	if err := t.NewSelect().Model(&earlier).Where("message IS NULL").Scan(ctx); err != nil {
		return err
	}
	for _, was := range earlier {
		e := OutboxEntry{WorkflowID: was.WorkflowID, Start: was.Start, Signal: was.Signal, CreatedAt: was.CreatedAt}
		if err := t.sealRow(&e); err != nil {
			return err
		}
		_, err := t.ExecContext(ctx, `UPDATE outbox SET message = ?, start = NULL, signal = NULL WHERE id = ?`, e.Sealed, was.ID)
		if err != nil {
			return err
		}
	}
	return nil
}

// scrub rewrites the file, whose free pages and log show what was in the clear. A disk without room for a second copy puts
// it off to the next start.
func (s *Store) scrub(ctx context.Context) error {
	for _, statement := range []string{"VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"} {
		if _, err := s.writer.ExecContext(ctx, statement); err != nil {
			s.log.Warn("free space of the database may still show what was sealed; this is tried again at the next start", "error", err)
			return nil
		}
	}
	return setContentState(ctx, s.writer, stateSealed)
}
