package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
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
	if fresh && evs[0].Type != contract.EventType(kind, contract.EventCreated) {
		return notFound(kind, id)
	}
	for _, e := range evs {
		if err := fold(row, e); err != nil {
			return contract.Errorf(contract.CodeInvalid, "event %s of %s cannot be read: %w", e.Type, e.Stream, err)
		}
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

func (l *Lifecycle) fail(e contract.Event) error {
	failure, err := decode[contract.Error](e)
	if err != nil {
		return err
	}
	if !l.Status.Final() {
		l.Error = &failure
	}
	l.end(contract.StatusFailed, e.At)
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
	case contract.StatusPausing, contract.StatusCancelling, contract.StatusStopping:
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

func foldDataset(d *Dataset, e contract.Event) error {
	d.touch(e)
	switch suffix(contract.KindDataset, e) {
	case contract.EventCreated:
		c, err := decode[contract.DatasetCreated](e)
		d.begin(e)
		d.ID, d.ProjectID, d.Name, d.FileName = idOf(e), c.ProjectID, c.Name, c.FileName
		d.ObjectID, d.SHA256, d.Size = c.ObjectID, c.SHA256, c.Size
		return err
	case contract.EventQueued, contract.EventStarted: // also: a ready dataset is processed anew
		d.Status, d.Error, d.CompletedAt = contract.StatusRunning, nil, time.Time{}
		if suffix(contract.KindDataset, e) == contract.EventQueued {
			d.Status = contract.StatusQueued
		}
	case contract.EventProgress:
		d.report(e)
	case contract.EventProfiled:
		d.Profile = e.Payload
		return d.processed(e)
	case contract.EventProcessed:
		return d.processed(e)
	case contract.EventCompleted:
		d.end(contract.StatusReady, e.At)
		return d.processed(e)
	case contract.EventCancelRequested:
		d.move(contract.StatusCancelling)
	case contract.EventCancelled:
		d.end(contract.StatusCancelled, e.At)
	case contract.EventFailed:
		return d.fail(e)
	}
	return nil
}

// processed takes what an event says of the content and leaves the rest. A profile has some of these fields too, in
// shapes of its own: what does not fit is left.
func (d *Dataset) processed(e contract.Event) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(e.Payload, &fields); err != nil {
		return err
	}
	setField(fields, "format", &d.Format)
	setField(fields, "canonical", &d.Canonical)
	setField(fields, "rows", &d.Rows)
	setField(fields, "train_rows", &d.TrainRows)
	setField(fields, "eval_rows", &d.EvalRows)
	setField(fields, "columns", &d.Columns)
	if e.Type != contract.EventType(contract.KindDataset, contract.EventProfiled) {
		setField(fields, "train", &d.Train)
		setField(fields, "eval", &d.Eval)
	}
	return nil
}

func setField[V any](fields map[string]json.RawMessage, name string, to *V) {
	var v V
	if raw, ok := fields[name]; ok && !bytes.Equal(raw, []byte("null")) && json.Unmarshal(raw, &v) == nil {
		*to = v
	}
}

func foldJob(j *Job, e contract.Event) error {
	j.touch(e)
	if strings.HasPrefix(e.Type, "runner.") {
		j.foldRunner(e)
		return nil
	}
	switch suffix(contract.KindJob, e) {
	case contract.EventCreated:
		c, err := decode[contract.JobCreated](e)
		j.begin(e)
		j.ID, j.ProjectID, j.Name, j.DatasetID, j.ModelID = idOf(e), c.ProjectID, c.Name, c.DatasetID, c.ModelID
		j.Model, j.Queue, j.Config, j.PipelineID = c.Model, c.Queue, c.Config, c.PipelineID
		return err
	case contract.EventQueued:
		return j.wait(&j.Lifecycle, e)
	case contract.EventStarted:
		return j.launched(e)
	case contract.EventRewound:
		return j.rewound(e)
	case contract.EventPauseRequested:
		j.move(contract.StatusPausing)
	case contract.EventPaused:
		return j.paused(e)
	case contract.EventResumeRequested:
		j.move(contract.StatusQueued)
		j.Error = nil
	case contract.EventCancelRequested:
		return j.cancelling(e)
	case contract.EventCancelled:
		j.end(contract.StatusCancelled, e.At)
		j.ETASeconds = nil
	case contract.EventFailed:
		j.ETASeconds = nil
		return j.fail(e)
	case contract.EventCompleted:
		return j.finished(contract.StatusCompleted, e)
	case contract.EventStopped:
		return j.finished(contract.StatusStopped, e)
	case contract.EventProgress:
		j.report(e)
	case contract.EventCheckpointCommitted:
		c, err := decode[contract.CheckpointCommitted](e)
		j.Checkpoint, j.CheckpointStep = c.Name, c.Step
		return err
	}
	return nil
}

func (j *Job) launched(e contract.Event) error {
	c, err := j.launch(&j.Lifecycle, e)
	if err == nil && c.Epoch != 0 {
		j.Step = c.Step
	}
	return err
}

func (j *Job) rewound(e contract.Event) error {
	r, err := decode[contract.Rewound](e)
	j.Step = min(j.Step, r.ToStep)
	return err
}

func (j *Job) paused(e contract.Event) error {
	p, err := decode[contract.Paused](e)
	if err != nil {
		return err
	}
	if j.Status != contract.StatusCancelling && j.Status != contract.StatusStopping {
		j.move(contract.StatusPaused)
	}
	j.Step, j.Progress, j.ETASeconds, j.TokensPerSecond = max(j.Step, p.Step), nil, nil, nil
	j.Error = p.Error
	if p.Checkpoint != "" {
		j.Checkpoint, j.CheckpointStep = p.Checkpoint, p.Step
	}
	return nil
}

func (j *Job) cancelling(e contract.Event) error {
	c, err := decode[contract.CancelRequest](e)
	j.Keep = c.Keep
	j.move(contract.StatusCancelling)
	if c.Keep {
		j.move(contract.StatusStopping)
	}
	return err
}

func (j *Job) finished(status contract.Status, e contract.Event) error {
	c, err := decode[contract.JobCompleted](e)
	if err != nil {
		return err
	}
	if !j.Status.Final() {
		j.TunedModelID, j.Metrics, j.ETASeconds = c.ModelID, c.Metrics, nil
		j.Step, j.TotalSteps = max(j.Step, c.Step), max(j.TotalSteps, c.TotalSteps)
	}
	j.end(status, e.At)
	return nil
}

// runnerLine is what projections read of a runner's lines (docs/runner-protocol.md). Lines come from outside: a field of
// another type is kept in the log and left out here.
type runnerLine struct {
	Step            *int     `json:"step"`
	TotalSteps      *int     `json:"total_steps"`
	Epoch           *float64 `json:"epoch"`
	Loss            *float64 `json:"loss"`
	EvalLoss        *float64 `json:"eval_loss"`
	LearningRate    *float64 `json:"learning_rate"`
	GradNorm        *float64 `json:"grad_norm"`
	TokensPerSecond *float64 `json:"tokens_per_second"`
	ETASeconds      *float64 `json:"eta_seconds"`
	MemoryBytes     *float64 `json:"memory_bytes"`
	Device          string   `json:"device"`
	Precision       string   `json:"precision"`
	LossPath        string   `json:"loss_path"`
}

func (l runnerLine) evalLoss() *float64 {
	if l.EvalLoss != nil {
		return l.EvalLoss
	}
	return l.Loss
}

func decodeLine(e contract.Event) runnerLine {
	line := e.Payload
	for {
		var l runnerLine
		err := json.Unmarshal(line, &l)
		if err == nil {
			return l
		}
		var odd *json.UnmarshalTypeError
		if !errors.As(err, &odd) {
			return runnerLine{}
		}
		if line = without(line, odd.Field); line == nil {
			return runnerLine{}
		}
	}
}

// without returns an object less one field, nil for what is no object or has no such field.
func without(object json.RawMessage, field string) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil {
		return nil
	}
	if _, ok := fields[field]; !ok {
		return nil
	}
	delete(fields, field)
	rest, err := json.Marshal(fields)
	if err != nil {
		return nil
	}
	return rest
}

func (j *Job) foldRunner(e contract.Event) {
	l := decodeLine(e)
	set(&j.TotalSteps, l.TotalSteps)
	setText(&j.Device, l.Device)
	setText(&j.Precision, l.Precision)
	setText(&j.LossPath, l.LossPath)
	switch e.Type {
	case contract.RunnerProgress:
		j.report(e)
	case contract.RunnerMetrics:
		j.Progress = nil
		set(&j.Step, l.Step)
		set(&j.DataEpoch, l.Epoch)
		keep(&j.Loss, l.Loss)
		keep(&j.LearningRate, l.LearningRate)
		keep(&j.GradNorm, l.GradNorm)
		keep(&j.TokensPerSecond, l.TokensPerSecond)
		keep(&j.ETASeconds, l.ETASeconds)
		if l.MemoryBytes != nil {
			bytes := int64(*l.MemoryBytes)
			j.MemoryBytes = &bytes
		}
		if j.Status.Final() {
			j.ETASeconds = nil
		}
	case contract.RunnerEvalMetrics:
		j.foldEvalLoss(l.evalLoss())
	}
}

func (j *Job) foldEvalLoss(loss *float64) {
	if loss == nil {
		return
	}
	j.EvalLoss = loss
	if j.BestEvalLoss == nil || *loss < *j.BestEvalLoss {
		j.BestEvalLoss = loss
	}
}

func set[V any](to *V, from *V) {
	if from != nil {
		*to = *from
	}
}

func keep[V any](to **V, from *V) {
	if from != nil {
		*to = from
	}
}

func setText(to *string, from string) {
	if from != "" {
		*to = from
	}
}

func foldEvaluation(v *Evaluation, e contract.Event) error {
	v.touch(e)
	switch suffix(contract.KindEvaluation, e) {
	case contract.EventCreated:
		c, err := decode[contract.EvaluationCreated](e)
		v.begin(e)
		v.ID, v.ProjectID, v.TrainingJobID, v.ModelID, v.DatasetID = idOf(e), c.ProjectID, c.JobID, c.ModelID, c.DatasetID
		v.Queue, v.Config, v.PipelineID = c.Queue, c.Config, c.PipelineID
		return err
	case contract.EventMeasured:
		return v.measured(e)
	case contract.EventCompleted:
		err := v.measured(e)
		v.end(contract.StatusCompleted, e.At)
		return err
	default:
		return foldSlot(contract.KindEvaluation, &v.Slot, &v.Lifecycle, e)
	}
}

// measured takes a result; one without samples leaves those that are there.
func (v *Evaluation) measured(e contract.Event) error {
	result, err := decode[contract.EvaluationResult](e)
	if err != nil || v.Status.Final() {
		return err
	}
	if len(result.Samples) == 0 && v.Metrics != nil {
		result.Samples = v.Metrics.Samples
	}
	v.Metrics = &result
	return nil
}

func foldExport(x *Export, e contract.Event) error {
	x.touch(e)
	switch suffix(contract.KindExport, e) {
	case contract.EventCreated:
		c, err := decode[contract.ExportCreated](e)
		x.begin(e)
		x.ID, x.ProjectID, x.ModelID, x.Format, x.Queue = idOf(e), c.ProjectID, c.ModelID, c.Format, c.Queue
		return err
	case contract.EventCompleted:
		c, err := decode[contract.ExportOutput](e)
		if !x.Status.Final() {
			x.Files, x.Bytes = c.Files, c.Bytes
		}
		x.end(contract.StatusCompleted, e.At)
		return err
	default:
		return foldSlot(contract.KindExport, &x.Slot, &x.Lifecycle, e)
	}
}

// foldDeployment: desired state. A failed deployment may serve again; only a stopped one is over.
func foldDeployment(d *Deployment, e contract.Event) error {
	d.touch(e)
	s := suffix(contract.KindDeployment, e)
	if d.Status == contract.StatusStopped {
		return nil
	}
	switch s {
	case contract.EventCreated:
		c, err := decode[contract.DeploymentCreated](e)
		d.begin(e)
		d.ID, d.ProjectID, d.ModelID, d.Queue, d.PipelineID = idOf(e), c.ProjectID, c.ModelID, c.Queue, c.PipelineID
		return err
	case contract.EventQueued, contract.EventStarted:
		d.Serving, d.Error, d.CompletedAt = nil, nil, time.Time{}
		if d.Status != contract.StatusStopping {
			d.Status = map[string]contract.Status{contract.EventQueued: contract.StatusQueued, contract.EventStarted: contract.StatusRunning}[s]
		}
	case contract.EventServing:
		return d.serve(e)
	case contract.EventProgress:
		d.report(e)
	case contract.EventStopRequested, contract.EventCancelRequested:
		d.Status = contract.StatusStopping
	case contract.EventStopped, contract.EventCancelled:
		d.Status, d.Serving, d.Progress, d.CompletedAt = contract.StatusStopped, nil, nil, e.At
	case contract.EventFailed:
		d.Serving = nil
		return d.fail(e)
	}
	return nil
}

func (d *Deployment) serve(e contract.Event) error {
	s, err := decode[contract.Serving](e)
	if err != nil {
		return err
	}
	d.Serving, d.Error, d.Progress, d.StartedAt, d.CompletedAt = &s, nil, nil, e.At, time.Time{}
	if d.Status != contract.StatusStopping {
		d.Status = contract.StatusServing
	}
	return nil
}

// foldPipeline: a failed pipeline goes on when its failed stage is retried.
func foldPipeline(p *Pipeline, e contract.Event) error {
	p.touch(e)
	switch suffix(contract.KindPipeline, e) {
	case contract.EventCreated:
		c, err := decode[contract.PipelineCreated](e)
		p.begin(e)
		p.ID, p.ProjectID, p.Name, p.Request, p.Stages = idOf(e), c.ProjectID, c.Name, c.Request, []PipelineStage{}
		return err
	case contract.EventStarted:
		p.start(e)
	case contract.EventStage:
		return p.stage(e)
	case contract.EventProposed:
		return p.proposed(e)
	case contract.EventConfirmed:
		c, err := decode[contract.ConfirmRequest](e)
		p.Confirmed = &c
		p.move(contract.StatusRunning)
		return err
	case contract.EventRetryRequested:
		p.Status, p.Error, p.CompletedAt = contract.StatusRunning, nil, time.Time{}
	case contract.EventProgress:
		p.report(e)
	case contract.EventCancelRequested:
		p.move(contract.StatusCancelling)
	case contract.EventCancelled:
		p.end(contract.StatusCancelled, e.At)
	case contract.EventFailed:
		return p.fail(e)
	case contract.EventCompleted:
		p.end(contract.StatusCompleted, e.At)
	}
	return nil
}

func (p *Pipeline) start(e contract.Event) {
	if p.StartedAt.IsZero() {
		p.StartedAt = e.At
	}
	if p.Status == contract.StatusQueued {
		p.Status = contract.StatusRunning
	}
}

func (p *Pipeline) proposed(e contract.Event) error {
	r, err := decode[contract.Recommendation](e)
	p.Recommendation = &r
	if !p.Request.AutoConfirm && p.Status != contract.StatusCancelling {
		p.move(contract.StatusAwaiting)
	}
	return err
}

func (p *Pipeline) stage(e contract.Event) error {
	c, err := decode[contract.StageChanged](e)
	if err != nil {
		return err
	}
	p.start(e)
	at := -1
	for i := range p.Stages {
		if p.Stages[i].Stage == c.Stage {
			at = i
		}
	}
	if at < 0 {
		p.Stages = append(p.Stages, PipelineStage{Stage: c.Stage})
		at = len(p.Stages) - 1
	}
	p.Stages[at].change(c, e.At)
	return nil
}

func (s *PipelineStage) change(c contract.StageChanged, at time.Time) {
	begins := (s.Status == "" || s.Status.Final()) && !c.Status.Final()
	if begins {
		s.StartedAt, s.CompletedAt, s.Seconds, s.Attempts = at, time.Time{}, 0, s.Attempts+1
	}
	s.Status, s.Error = c.Status, c.Error
	setText(&s.ID, c.ID)
	if c.Status.Final() || c.Status == contract.StatusServing {
		s.CompletedAt, s.Seconds = at, c.Seconds
		if c.Seconds == 0 && !s.StartedAt.IsZero() {
			s.Seconds = math.Round(at.Sub(s.StartedAt).Seconds()*1e3) / 1e3
		}
	}
}

// foldCurve keeps the newest value of each step, and forgets the steps that a rewound run will tell again.
func (t *txn) foldCurve(ctx context.Context, job string, evs []contract.Event) error {
	var points []MetricPoint
	for _, e := range evs {
		if p, ok := metricPoint(job, e); ok {
			points = append(points, p)
			continue
		}
		if e.Type != contract.EventType(contract.KindJob, contract.EventRewound) {
			continue
		}
		if err := t.savePoints(ctx, points); err != nil {
			return err
		}
		points = nil
		r, err := decode[contract.Rewound](e)
		if err != nil {
			return err
		}
		if _, err := t.ExecContext(ctx, `DELETE FROM metric_points WHERE job_id = ? AND step > ?`, job, r.ToStep); err != nil {
			return err
		}
	}
	return t.savePoints(ctx, points)
}

func metricPoint(job string, e contract.Event) (MetricPoint, bool) {
	if e.Type != contract.RunnerMetrics && e.Type != contract.RunnerEvalMetrics {
		return MetricPoint{}, false
	}
	l := decodeLine(e)
	if l.Step == nil {
		return MetricPoint{}, false
	}
	p := MetricPoint{JobID: job, Split: SplitTrain, Step: *l.Step, Loss: l.Loss,
		LearningRate: l.LearningRate, GradNorm: l.GradNorm, TokensPerSecond: l.TokensPerSecond}
	if e.Type == contract.RunnerEvalMetrics {
		p.Split, p.Loss = SplitEval, l.evalLoss()
	}
	set(&p.DataEpoch, l.Epoch)
	return p, true
}

const upsertPoint = `INSERT INTO metric_points (job_id, split, step, data_epoch, loss, learning_rate, grad_norm, tokens_per_second)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job_id, split, step) DO UPDATE SET data_epoch = excluded.data_epoch,
loss = excluded.loss, learning_rate = excluded.learning_rate, grad_norm = excluded.grad_norm, tokens_per_second = excluded.tokens_per_second`

func (t *txn) savePoints(ctx context.Context, points []MetricPoint) error {
	if len(points) == 0 {
		return nil
	}
	stmt, err := t.PrepareContext(ctx, upsertPoint)
	if err != nil {
		return err
	}
	defer func() { _ = stmt.Close() }()
	for _, p := range points {
		if _, err := stmt.ExecContext(ctx, p.JobID, p.Split, p.Step, p.DataEpoch, p.Loss, p.LearningRate, p.GradNorm, p.TokensPerSecond); err != nil {
			return fmt.Errorf("save metrics of %s: %w", p.JobID, err)
		}
	}
	return nil
}
