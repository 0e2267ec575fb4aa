package activities

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/dataset"
	"github.com/vibeflow/vibeflow/internal/store"
)

// ProfileDataset detects, validates and measures an uploaded file, and tells the log ("dataset.profiled"). Errors:
// CodeBadData and CodeUnsupported with line and field; the profile of a file with too many bad rows is told all the same,
// so that they can be looked at.
func (c *Control) ProfileDataset(ctx context.Context, in contract.DatasetInput) (contract.DatasetOutput, error) {
	var out contract.DatasetOutput
	err := c.reads(ctx, in, func(ctx context.Context, r *reading) error {
		profile, err := r.file.Inspect(ctx, dataset.Options{Mapping: r.options.Mapping, TextChunkChars: r.options.TextChunkChars}, r.progress)
		if profile == nil {
			return err
		}
		out = contract.DatasetOutput{Format: string(profile.Format), Rows: profile.Rows}
		_, told := c.tell(ctx, contract.KindDataset, in.DatasetID, contract.EventProfiled, profile, source(ctx), 1)
		return errors.Join(err, told)
	})
	return out, err
}

// ProcessDataset writes the canonical training and held-out rows as new encrypted objects, and tells the log
// ("dataset.processed"). Of a try that is interrupted nothing is left.
func (c *Control) ProcessDataset(ctx context.Context, in contract.DatasetInput) (contract.DatasetOutput, error) {
	var out contract.DatasetOutput
	err := c.reads(ctx, in, func(ctx context.Context, r *reading) error {
		train, eval := c.upload(ctx, r.row.ID+"/train.jsonl"), c.upload(ctx, r.row.ID+"/eval.jsonl")
		stats, err := r.file.Process(ctx, r.options, train, eval, r.progress)
		trained, err1 := train.finish(err)
		evaluated, err2 := eval.finish(err)
		err = errors.Join(err, err1, err2)
		kept := false
		if err == nil {
			out = contract.DatasetOutput{
				Format: string(stats.Format), Rows: stats.Rows, TrainRows: stats.Train.Rows, EvalRows: stats.Eval.Rows,
			}
			kept, err = c.tell(ctx, contract.KindDataset, in.DatasetID, contract.EventProcessed, r.processed(stats, trained, evaluated), source(ctx), 1)
		}
		if !kept {
			c.discard(ctx, trained, evaluated)
		}
		return err
	})
	return out, err
}

func (r *reading) processed(stats *dataset.Stats, train, eval contract.Object) contract.DatasetProcessed {
	return contract.DatasetProcessed{
		Format: string(stats.Format), Canonical: string(stats.Canonical),
		Rows: stats.Rows, TrainRows: stats.Train.Rows, EvalRows: stats.Eval.Rows,
		Train: objectRef(train), Eval: objectRef(eval), Dropped: stats.Dropped, Options: &r.given,
	}
}

func objectRef(o contract.Object) *contract.ObjectRef {
	return &contract.ObjectRef{ObjectID: o.ID, SHA256: o.SHA256, Size: o.Size}
}

// discard deletes what nobody has been told of.
func (c *Control) discard(ctx context.Context, objects ...contract.Object) {
	for _, o := range objects {
		if o.ID == "" {
			continue
		}
		if err := c.artifacts.Delete(context.WithoutCancel(ctx), o.ID); err != nil {
			c.log.Warn("an object that nobody needs was not deleted", "object", o.ID, "error", err)
		}
	}
}

// reading is one dataset being read.
type reading struct {
	row      *store.Dataset
	given    contract.ProcessOptions
	options  dataset.ProcessOptions
	file     *dataset.File
	progress dataset.Progress
}

// reads opens the uploaded file, decrypted on the way, and reads it with heartbeats and progress. Only a few are read at
// once; the others wait.
func (c *Control) reads(ctx context.Context, in contract.DatasetInput, read func(context.Context, *reading) error) error {
	ctx, cancel := untilStop(ctx)
	defer cancel()
	pulse := newPulse(ctx, c, in.DatasetID)
	defer pulse.stop()
	select {
	case c.reading <- struct{}{}:
		defer func() { <-c.reading }()
	case <-ctx.Done():
		return failure(context.Cause(ctx))
	}
	err := c.open(ctx, in, pulse.progress, read)
	return failure(stopped(ctx, err))
}

func (c *Control) open(ctx context.Context, in contract.DatasetInput, progress dataset.Progress, read func(context.Context, *reading) error) error {
	given := contract.DefaultProcessOptions()
	if in.Options != nil {
		given = *in.Options
	}
	row, err := c.store.GetDataset(ctx, in.DatasetID)
	if err != nil {
		return err
	}
	at, err := c.artifacts.Open(ctx, row.ObjectID, 0)
	if err != nil {
		return err
	}
	defer func() { _ = at.Close() }()
	file, err := dataset.Open(ctx, dataset.Source{
		Name: row.FileName, Size: row.Size, At: at,
		Open: func(ctx context.Context) (io.ReadCloser, error) { return c.artifacts.Open(ctx, row.ObjectID, 0) },
	})
	if err != nil {
		return err
	}
	return read(ctx, &reading{row: row, given: given, options: dataset.OptionsOf(given), file: file, progress: progress})
}

// upload is a writer into a new object; the artifact store reads the other end of the pipe.
type upload struct {
	*io.PipeWriter
	done chan struct{}
	made contract.Object
	err  error
}

func (c *Control) upload(ctx context.Context, name string) *upload {
	reader, writer := io.Pipe()
	u := &upload{PipeWriter: writer, done: make(chan struct{})}
	go func() {
		defer close(u.done)
		u.made, u.err = c.artifacts.Put(ctx, artifact.PutInput{Reader: reader, Name: name, ContentType: "application/jsonl"})
		_ = reader.CloseWithError(errors.Join(u.err, io.ErrClosedPipe)) // a writer must not wait for a store that gave up
	}()
	return u
}

// finish ends the content, or abandons it with an error, and waits for the store.
func (u *upload) finish(err error) (contract.Object, error) {
	_ = u.CloseWithError(err) // nil is the end of the content
	<-u.done
	return u.made, u.err
}

// pulse keeps heartbeating, and tells the log how far the reading has come, once a second at most.
type pulse struct {
	report chan dataset.Position
	quit   chan struct{}
	ended  chan struct{}
}

const pulseEvery = time.Second

func newPulse(ctx context.Context, c *Control, datasetID string) *pulse {
	p := &pulse{report: make(chan dataset.Position, 1), quit: make(chan struct{}), ended: make(chan struct{})}
	go p.beat(ctx, c, datasetID)
	return p
}

func (p *pulse) beat(ctx context.Context, c *Control, datasetID string) {
	defer close(p.ended)
	tick := time.NewTicker(pulseEvery)
	defer tick.Stop()
	name, seq := fmt.Sprintf("%s/%d", source(ctx), activity.GetInfo(ctx).Attempt), int64(0)
	for {
		select {
		case <-p.quit:
			return
		case <-tick.C:
		}
		activity.RecordHeartbeat(ctx)
		select {
		case at := <-p.report:
			seq++
			if _, err := c.tell(ctx, contract.KindDataset, datasetID, contract.EventProgress, progressOf(at), name, seq); err != nil && ctx.Err() == nil {
				c.log.Warn("progress of a dataset not told", "dataset", datasetID, "error", err)
			}
		default:
		}
	}
}

// progress keeps the newest position for the next beat.
func (p *pulse) progress(at dataset.Position) {
	for {
		select {
		case p.report <- at:
			return
		default:
		}
		select {
		case <-p.report:
		default:
		}
	}
}

func (p *pulse) stop() {
	close(p.quit)
	<-p.ended
}

func progressOf(at dataset.Position) contract.Progress {
	phase := "read"
	if at.Passes > 1 {
		phase = [...]string{"plan", "write"}[min(at.Pass, 2)-1]
	}
	return contract.Progress{Phase: phase, Done: at.Bytes, Total: at.Size, Note: fmt.Sprintf("%d rows", at.Rows)}
}
