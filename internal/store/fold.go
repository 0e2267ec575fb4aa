package store

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

func foldDataset(d *Dataset, e contract.Event) error {
	d.touch(e)
	switch suffix(contract.KindDataset, e) {
	case contract.EventCreated:
		c, err := decode[contract.DatasetCreated](e)
		d.begin(e)
		d.Labels = newLabels()
		d.ID, d.ProjectID, d.Name, d.FileName = idOf(e), c.ProjectID, c.Name, c.FileName
		d.ObjectID, d.SHA256, d.Size, d.Options = c.ObjectID, c.SHA256, c.Size, c.Options
		return err
	case contract.EventEdited:
		edited, err := decode[contract.Edited](e)
		d.edit(&d.Name, edited)
		return err
	case contract.EventQueued: // a ready dataset, too, is processed anew
		return d.again(e)
	case contract.EventStarted:
		d.Status, d.Error, d.CompletedAt = contract.StatusRunning, nil, time.Time{}
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
		return d.failed(e)
	}
	return nil
}

// again takes the options of a dataset that has never been ready; those of one that has are told once its new splits are
// there.
func (d *Dataset) again(e contract.Event) error {
	q, err := decode[contract.DatasetQueued](e)
	d.Status, d.Error, d.CompletedAt = contract.StatusQueued, nil, time.Time{}
	if d.Train == nil && q.Options != nil {
		d.Options = q.Options
	}
	return err
}

// failed ends a dataset that has never been ready. One that was processed before stays as it was, with the error of the
// last try beside it: a typo in a mapping must not cost anybody the data.
func (d *Dataset) failed(e contract.Event) error {
	err := d.fail(e)
	if d.Train != nil {
		d.Status = contract.StatusReady
	}
	return err
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
		setField(fields, "options", &d.Options)
		d.leftOut(e, fields)
	}
	return nil
}

// leftOut counts anew with new splits; the event that repeats their numbers has no reasons.
func (d *Dataset) leftOut(e contract.Event, fields map[string]json.RawMessage) {
	if e.Type == contract.EventType(contract.KindDataset, contract.EventProcessed) {
		d.Dropped = nil
		setField(fields, "dropped", &d.Dropped)
	}
}

func setField[V any](fields map[string]json.RawMessage, name string, to *V) {
	var v V
	if raw, ok := fields[name]; ok && !bytes.Equal(raw, []byte("null")) && json.Unmarshal(raw, &v) == nil {
		*to = v
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
		v.Urgency = cmp.Or(c.Priority, contract.PriorityNormal)
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
		x.Urgency = contract.PriorityNormal
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

// foldPipeline: one that failed or stopped goes on when that stage is retried.
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
		p.cancelling()
	case contract.EventCancelled:
		p.cancelled(e)
	case contract.EventFailed:
		return p.fail(e)
	case contract.EventStopped:
		return p.endFor(contract.StatusStopped, e)
	case contract.EventCompleted:
		p.end(contract.StatusCompleted, e.At)
	}
	return nil
}

// waits tells whether a stage ended without success, and the user decides how to go on.
func (p *Pipeline) waits() bool {
	return p.Status == contract.StatusFailed || p.Status == contract.StatusStopped
}

// cancelling: a pipeline that waits for a retry can be cancelled too.
func (p *Pipeline) cancelling() {
	if p.waits() {
		p.Status, p.Error, p.CompletedAt = contract.StatusCancelling, nil, time.Time{}
	}
	p.move(contract.StatusCancelling)
}

// cancelled also ends a pipeline that waits for a retry.
func (p *Pipeline) cancelled(e contract.Event) {
	if p.waits() {
		p.Status = contract.StatusRunning
	}
	p.end(contract.StatusCancelled, e.At)
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
