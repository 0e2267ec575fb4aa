package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

// project folds events of one stream into its row. A stream of an unknown kind is a log without a projection.
func (t *txn) project(ctx context.Context, stream string, evs []contract.Event) error {
	kind, id, ok := contract.SplitStream(stream)
	if !ok {
		return nil
	}
	t.line = t.line || movesLine(kind, evs)
	switch kind {
	case contract.KindDataset:
		return foldRow(ctx, t, kind, id, evs, foldDataset)
	case contract.KindJob:
		if err := foldRow(ctx, t, kind, id, evs, foldJob); err != nil {
			return err
		}
		return t.foldCurve(ctx, id, evs)
	case contract.KindEvaluation:
		return foldRow(ctx, t, kind, id, evs, foldEvaluation)
	case contract.KindDeployment:
		return foldRow(ctx, t, kind, id, evs, foldDeployment)
	case contract.KindExport:
		return foldRow(ctx, t, kind, id, evs, foldExport)
	case contract.KindPipeline:
		return foldRow(ctx, t, kind, id, evs, foldPipeline)
	default:
		return nil
	}
}

// foldRow reads a row, folds a batch of events into it and writes it once.
func foldRow[R any](ctx context.Context, t *txn, kind contract.Kind, id string, evs []contract.Event, fold func(*R, contract.Event) error) error {
	row := new(R)
	err := t.NewSelect().Model(row).Where("id = ?", id).Scan(ctx)
	fresh := errors.Is(err, sql.ErrNoRows)
	if err != nil && !fresh {
		return err
	}
	if err := t.openRow(row); err != nil {
		return err
	}
	if fresh && evs[0].Type != contract.EventType(kind, contract.EventCreated) {
		return notFound(kind, id)
	}
	for _, e := range evs {
		if err := fold(row, e); err != nil {
			return contract.Errorf(contract.CodeInvalid, "event %s of %s cannot be read: %w", e.Type, e.Stream, err)
		}
	}
	if err := t.sealRow(row); err != nil {
		return err
	}
	if fresh {
		_, err = t.NewInsert().Model(row).Exec(ctx)
	} else {
		_, err = t.NewUpdate().Model(row).WherePK().Exec(ctx)
	}
	return err
}

// decode reads a payload; the zero value stands for a field that is absent.
func decode[P any](e contract.Event) (p P, err error) {
	err = json.Unmarshal(e.Payload, &p)
	return p, err
}

// suffix returns "queued" of "job.queued", and "" for an event of another kind (a runner's).
func suffix(kind contract.Kind, e contract.Event) string {
	s, ok := strings.CutPrefix(e.Type, string(kind)+".")
	if !ok {
		return ""
	}
	return s
}

func idOf(e contract.Event) string {
	_, id, _ := contract.SplitStream(e.Stream)
	return id
}

// begin is the part of created that all kinds share.
func (l *Lifecycle) begin(e contract.Event) {
	l.Status, l.CreatedAt = contract.StatusQueued, e.At
}

func (l *Lifecycle) touch(e contract.Event) { l.Seq, l.UpdatedAt = e.Seq, e.At }

// end moves to a final status; one that has ended stays as it ended.
func (l *Lifecycle) end(status contract.Status, at time.Time) {
	if !l.Status.Final() {
		l.Status, l.CompletedAt, l.Progress = status, at, nil
	}
}

// move changes a status that is not final.
func (l *Lifecycle) move(status contract.Status) {
	if !l.Status.Final() {
		l.Status = status
	}
}

func (l *Lifecycle) fail(e contract.Event) error { return l.endFor(contract.StatusFailed, e) }

// endFor ends for the reason that is the event's payload.
func (l *Lifecycle) endFor(status contract.Status, e contract.Event) error {
	failure, err := decode[contract.Error](e)
	if err != nil {
		return err
	}
	if !l.Status.Final() {
		l.Error = &failure
	}
	l.end(status, e.At)
	return nil
}

// report keeps the newest progress; a line that cannot be read is only not shown.
func (l *Lifecycle) report(e contract.Event) {
	if p, err := decode[contract.Progress](e); err == nil && !l.Status.Final() {
		l.Progress = &p
	}
}

// busy reports whether the user has asked for the run to stop, which a launch in between does not undo.
func (l *Lifecycle) busy() bool {
	switch l.Status {
	case contract.StatusPausing, contract.StatusResuming, contract.StatusCancelling, contract.StatusStopping:
		return true
	default:
		return false
	}
}

func (s *Slot) wait(l *Lifecycle, e contract.Event) error {
	q, err := decode[contract.Queued](e)
	if err != nil {
		return err
	}
	if q.Queue != "" {
		s.Queue = q.Queue
	}
	s.Priority, s.QueuedAt = q.Priority, e.At
	if !l.busy() {
		l.move(contract.StatusQueued)
	}
	return nil
}

func (s *Slot) launch(l *Lifecycle, e contract.Event) (contract.Claimed, error) {
	c, err := decode[contract.Claimed](e)
	if err != nil {
		return c, err
	}
	if c.Epoch != 0 { // a workflow's own "started" names no launch
		s.Epoch, s.Worker = c.Epoch, c.Worker
	}
	if s.StartedAt.IsZero() {
		s.StartedAt = e.At
	}
	if !l.busy() {
		l.move(contract.StatusRunning)
	}
	return c, nil
}

// foldSlot folds what evaluations and exports have in common; completed is the caller's.
func foldSlot(kind contract.Kind, s *Slot, l *Lifecycle, e contract.Event) error {
	switch suffix(kind, e) {
	case contract.EventQueued:
		return s.wait(l, e)
	case contract.EventStarted:
		_, err := s.launch(l, e)
		return err
	case contract.EventCancelRequested:
		l.move(contract.StatusCancelling)
	case contract.EventCancelled:
		l.end(contract.StatusCancelled, e.At)
	case contract.EventFailed:
		return l.fail(e)
	case contract.EventProgress:
		l.report(e)
	}
	if e.Type == contract.RunnerProgress {
		l.report(e)
	}
	return nil
}

func setText(to *string, from string) {
	if from != "" {
		*to = from
	}
}
