package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

func foldJob(j *Job, e contract.Event) error {
	j.touch(e)
	if strings.HasPrefix(e.Type, "runner.") {
		j.foldRunner(e)
		return nil
	}
	err := foldJobEvent(j, e)
	j.GoesOn = j.GoesOn && j.Status == contract.StatusPaused
	return err
}

func foldJobEvent(j *Job, e contract.Event) error {
	switch suffix(contract.KindJob, e) {
	case contract.EventCreated:
		c, err := decode[contract.JobCreated](e)
		j.begin(e)
		j.Labels = newLabels()
		j.ID, j.ProjectID, j.Name, j.DatasetID, j.ModelID = idOf(e), c.ProjectID, c.Name, c.DatasetID, c.ModelID
		j.Model, j.Queue, j.Config, j.PipelineID = c.Model, c.Queue, c.Config, c.PipelineID
		j.Urgency = cmp.Or(c.Priority, contract.PriorityNormal)
		j.PredictedLowSeconds, j.PredictedHighSeconds = c.Seconds[0], c.Seconds[1]
		return err
	case contract.EventEdited:
		edited, err := decode[contract.Edited](e)
		j.edit(&j.Name, edited)
		set(&j.Urgency, edited.Priority)
		return err
	case contract.EventQueued:
		return j.queued(e)
	case contract.EventStarted:
		return j.launched(e)
	case contract.EventRewound:
		return j.rewound(e)
	case contract.EventPauseRequested:
		j.move(contract.StatusPausing)
	case contract.EventPaused:
		return j.paused(e)
	case contract.EventResumeRequested:
		j.resume()
	case contract.EventCancelRequested:
		return j.cancelling(e)
	case contract.EventCancelled:
		j.end(contract.StatusCancelled, e.At)
		j.expect(runnerLine{})
	case contract.EventFailed:
		j.expect(runnerLine{})
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
	case contract.EventCheckpointLost:
		c, err := decode[contract.CheckpointLost](e)
		j.Checkpoint, j.CheckpointStep = c.Left, c.LeftStep
		return err
	case contract.EventAdjusted:
		a, err := decode[contract.Adjustment](e)
		j.adjust(a)
		return err
	}
	return nil
}

// adjust keeps what an earlier adjustment set and this one does not.
func (j *Job) adjust(a contract.Adjustment) {
	if before := j.Adjusted; before != nil {
		if a.BatchSize == 0 {
			a.BatchSize, a.GradientAccumulationSteps = before.BatchSize, before.GradientAccumulationSteps
		}
		if a.LearningRateScale == 0 {
			a.LearningRateScale = before.LearningRateScale
		}
	}
	j.Adjusted = &a
}

func (j *Job) launched(e contract.Event) error {
	c, err := j.launch(&j.Lifecycle, e)
	if err == nil && c.Epoch != 0 {
		j.Step = c.Step
		j.expect(runnerLine{}) // what the launch before expected began at another step, perhaps on another machine
	}
	return err
}

func (j *Job) rewound(e contract.Event) error {
	r, err := decode[contract.Rewound](e)
	j.Step = min(j.Step, r.ToStep)
	return err
}

// queued is told once a pause is over, whatever was asked for meanwhile.
func (j *Job) queued(e contract.Event) error {
	if j.Status == contract.StatusResuming || j.Status == contract.StatusPaused { // paused: it goes on by itself
		j.Status, j.Error = contract.StatusQueued, nil
	}
	return j.wait(&j.Lifecycle, e)
}

// resume of a job that is still pausing takes its place behind the pause.
func (j *Job) resume() {
	switch {
	case j.Status.Final():
		return
	case j.Status == contract.StatusPausing:
		j.Status = contract.StatusResuming
	default:
		j.Status = contract.StatusQueued
	}
	j.Error = nil
}

func (j *Job) paused(e contract.Event) error {
	p, err := decode[contract.Paused](e)
	if err != nil {
		return err
	}
	switch {
	case j.Status == contract.StatusStopping && p.Error != nil: // there is no room to keep the model: the wish is to be told again
		j.Status, j.Keep = contract.StatusPaused, false
	case j.Status == contract.StatusCancelling || j.Status == contract.StatusStopping || j.Status == contract.StatusResuming:
	default:
		j.move(contract.StatusPaused)
	}
	j.Step, j.Progress, j.TokensPerSecond = max(j.Step, p.Step), nil, nil
	j.QueuedAt = time.Time{} // it has left the line, and joins it anew
	j.Error, j.GoesOn = p.Error, p.GoesOn
	if p.Checkpoint != "" {
		j.Checkpoint, j.CheckpointStep = p.Checkpoint, p.Step
	}
	return nil
}

func (j *Job) cancelling(e contract.Event) error {
	c, err := decode[contract.CancelRequest](e)
	if j.Status.Final() {
		return err
	}
	j.Keep, j.Error = c.Keep, nil
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
		j.TunedModelID, j.Metrics = c.ModelID, c.Metrics
		j.expect(runnerLine{})
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
	ETALowSeconds   *float64 `json:"eta_low_seconds"`
	ETAHighSeconds  *float64 `json:"eta_high_seconds"`
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
		j.foresee(l)
	case contract.RunnerMetrics:
		j.Progress = nil
		set(&j.Step, l.Step)
		set(&j.DataEpoch, l.Epoch)
		keep(&j.Loss, l.Loss)
		keep(&j.LearningRate, l.LearningRate)
		keep(&j.GradNorm, l.GradNorm)
		keep(&j.TokensPerSecond, l.TokensPerSecond)
		j.foresee(l)
		if l.MemoryBytes != nil {
			bytes := int64(*l.MemoryBytes)
			j.MemoryBytes = &bytes
		}
	case contract.RunnerEvalMetrics:
		j.Progress = nil
		j.foldEvalLoss(l.evalLoss())
	}
}

// foresee takes what a line expects to be left; a line without it (nobody knows yet) takes nothing back.
func (j *Job) foresee(l runnerLine) {
	if l.ETASeconds != nil && !j.Status.Final() {
		j.expect(l)
	}
}

// expect sets the three together: a range belongs to its number.
func (j *Job) expect(l runnerLine) {
	j.ETASeconds, j.ETALowSeconds, j.ETAHighSeconds = l.ETASeconds, l.ETALowSeconds, l.ETAHighSeconds
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
