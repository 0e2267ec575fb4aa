package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// RecommendTraining proposes a configuration.
func (s *Server) RecommendTraining(c *echo.Context) error {
	request, err := body[apigen.RecommendRequest](c)
	if err != nil {
		return err
	}
	proposal, err := s.propose(c.Request().Context(), contract.RecommendInput{DatasetID: request.DatasetID, ModelID: request.ModelID, Goal: request.Goal}, request.Config)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, proposal)
}

// CheckTraining refuses a model and choices that no data would make possible.
func (s *Server) CheckTraining(c *echo.Context) error {
	request, err := body[apigen.CheckTraining](c)
	if err != nil {
		return err
	}
	if err := s.possible(c.Request().Context(), request.ModelID, request.Config); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// possible checks a model, and a user's choices laid over a plain configuration.
func (s *Server) possible(ctx ctx, modelID string, overrides apigen.TrainingOverrides) error {
	if err := s.nameable(ctx, modelID); err != nil {
		return err
	}
	plain, err := s.Draft(ctx, contract.RecommendInput{ModelID: modelID})
	if err != nil {
		return err
	}
	config, err := overlay(plain, overrides)
	if err != nil {
		return err
	}
	_, err = s.Draft(ctx, contract.RecommendInput{ModelID: modelID, Config: &config})
	return err
}

// propose lays a user's choices over the recommender's, and has the whole checked again.
func (s *Server) propose(ctx ctx, input contract.RecommendInput, overrides apigen.TrainingOverrides) (contract.Recommendation, error) {
	if err := s.nameable(ctx, input.ModelID); err != nil {
		return contract.Recommendation{}, err
	}
	proposal, err := s.Advise(ctx, input)
	if err != nil || len(overrides) == 0 {
		return proposal, err
	}
	config, err := overlay(proposal.Config, overrides)
	if err != nil {
		return proposal, err
	}
	input.ModelID, input.Config = proposal.ModelID, &config
	return s.Advise(ctx, input)
}

// overlay sets the named fields of a configuration; a name that is not a field's is refused.
func overlay(config contract.Training, overrides apigen.TrainingOverrides) (contract.Training, error) {
	data, err := json.Marshal(overrides)
	if err != nil {
		return config, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	return config, notJSON(decoder.Decode(&config), "config")
}

// StartTraining queues a job.
func (s *Server) StartTraining(c *echo.Context, _ apigen.StartTrainingParams) error {
	request, err := body[apigen.StartTraining](c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	input, err := s.rerun(ctx, &request)
	if err != nil {
		return err
	}
	d, err := s.readyDataset(ctx, request.DatasetID)
	if err != nil {
		return err
	}
	input.DatasetID, input.ModelID = d.ID, request.ModelID
	proposal, err := s.propose(ctx, input, request.Config)
	if err != nil {
		return err
	}
	job, err := s.newJob(ctx, request, d, proposal)
	if err != nil {
		return err
	}
	id := contract.NewID(contract.PrefixJob)
	err = s.start(ctx, contract.KindJob, id, job, contract.Start{Workflow: contract.WorkflowTrain,
		Summary: "Train " + job.Name, Project: job.ProjectID, Model: job.ModelID}, contract.TrainInput{JobID: id, Queue: job.Queue})
	if err != nil {
		return err
	}
	return s.showJob(c, http.StatusCreated, id)
}

// rerun fills in what a request leaves to the job that it names; that job's configuration is the base of the changes.
func (s *Server) rerun(ctx ctx, request *apigen.StartTraining) (contract.RecommendInput, error) {
	if request.FromJob == "" {
		if request.DatasetID == "" {
			return contract.RecommendInput{}, contract.Errorf(contract.CodeInvalid, "the request names no dataset").On("dataset_id").
				Mend("name one, or a job to run again as from_job")
		}
		return contract.RecommendInput{}, nil
	}
	job, err := s.Store.GetJob(ctx, request.FromJob)
	if err != nil {
		return contract.RecommendInput{}, onField(err, "from_job")
	}
	request.DatasetID = cmp.Or(request.DatasetID, job.DatasetID)
	request.ModelID = cmp.Or(request.ModelID, job.ModelID)
	request.Name = cmp.Or(request.Name, job.Name)
	request.Priority = cmp.Or(request.Priority, apigen.Priority(job.Urgency))
	config, err := overlay(job.Config, request.Config)
	request.Config = nil
	return contract.RecommendInput{Config: &config}, err
}

func (s *Server) newJob(ctx ctx, request apigen.StartTraining, d *store.Dataset, proposal contract.Recommendation) (contract.JobCreated, error) {
	job := contract.JobCreated{ProjectID: d.ProjectID, Name: request.Name, DatasetID: d.ID, ModelID: proposal.ModelID, Config: proposal.Config,
		Priority: contract.Priority(request.Priority), Seconds: proposal.Seconds}
	model, err := s.Store.GetModel(ctx, proposal.ModelID)
	if err != nil {
		return job, err
	}
	job.Model = model.Ref
	if job.Name == "" {
		job.Name = d.Name + " on " + model.Name
	}
	job.Queue, err = s.queueOr(ctx, request.Queue)
	return job, err
}

// usableDataset returns a dataset that is ready or will be.
func (s *Server) usableDataset(ctx ctx, id string) (*store.Dataset, error) {
	d, err := s.Store.GetDataset(ctx, id)
	if err != nil {
		return nil, onField(err, "dataset_id")
	}
	switch d.Status {
	case contract.StatusFailed:
		return nil, contract.Errorf(contract.CodeConflict, "the dataset could not be read: %s", value(d.Error).Message).On("dataset_id").Mend("mend the file and upload it again")
	case contract.StatusCancelled:
		return nil, contract.Errorf(contract.CodeConflict, "the reading of the dataset was cancelled").On("dataset_id").Mend("process it again")
	default:
		return d, nil
	}
}

func (s *Server) readyDataset(ctx ctx, id string) (*store.Dataset, error) {
	d, err := s.usableDataset(ctx, id)
	if err == nil && d.Status != contract.StatusReady {
		err = contract.Errorf(contract.CodeConflict, "the dataset is still being read").On("dataset_id").Mend("wait until its status is ready")
	}
	return d, err
}

// onField says which field of a request named what the store does not have.
func onField(err error, field string) error {
	if contract.CodeOf(err) == contract.CodeNotFound {
		return named(err, field)
	}
	return err
}

// named says at which field of a request an error is.
func named(err error, field string) error {
	var typed *contract.Error
	if !errors.As(err, &typed) {
		return err
	}
	moved := *typed
	return moved.On(field)
}

// ListJobs lists training jobs.
func (s *Server) ListJobs(c *echo.Context, p apigen.ListJobsParams) error {
	ctx := c.Request().Context()
	page, err := s.Store.ListJobs(ctx, store.Filter{Text: p.Q, Sort: store.Sort(p.Sort), Status: statuses(p.Status),
		DatasetID: p.DatasetID, ModelID: p.ModelID, Tags: p.Tag, Limit: p.Limit, Cursor: p.Cursor})
	if err != nil {
		return err
	}
	views, err := s.viewJobs(ctx, page.Items...)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, apigen.JobPage{Items: views, NextCursor: page.Next})
}

// GetJob shows a job.
func (s *Server) GetJob(c *echo.Context, id string) error { return s.showJob(c, http.StatusOK, id) }

func (s *Server) showJob(c *echo.Context, status int, id string) error {
	ctx := c.Request().Context()
	j, err := s.Store.GetJob(ctx, id)
	if err != nil {
		return err
	}
	views, err := s.viewJobs(ctx, *j)
	if err != nil {
		return err
	}
	if views[0].Setbacks, err = s.setbacks(ctx, id, j.Config); err != nil {
		return err
	}
	c.Response().Header().Set("ETag", etagOf(j.Version))
	return c.JSON(status, views[0])
}

// PauseJob asks for a pause: the runner saves after its step and the slot is freed.
func (s *Server) PauseJob(c *echo.Context, id string) error {
	err := s.steer(c.Request().Context(), contract.KindJob, id, contract.EventPauseRequested, contract.SignalPause, nil)
	if err != nil {
		return err
	}
	return s.showJob(c, http.StatusAccepted, id)
}

// ResumeJob goes on from the checkpoint.
func (s *Server) ResumeJob(c *echo.Context, id string) error {
	err := s.steer(c.Request().Context(), contract.KindJob, id, contract.EventResumeRequested, contract.SignalResume, nil)
	if err != nil {
		return err
	}
	return s.showJob(c, http.StatusAccepted, id)
}

// CancelJob cancels, or stops and keeps.
func (s *Server) CancelJob(c *echo.Context, id string) error {
	request, err := body[apigen.CancelTraining](c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	if request.Keep {
		if err := s.keepable(ctx, id); err != nil {
			return err
		}
	}
	err = s.steer(ctx, contract.KindJob, id, contract.EventCancelRequested, contract.SignalCancel, contract.CancelRequest{Keep: request.Keep})
	if err != nil {
		return err
	}
	return s.showJob(c, http.StatusAccepted, id)
}

// keepable refuses to keep what a paused job has not saved: nothing more will come of it, and its end would lose it all.
// One that runs saves when it is stopped.
func (s *Server) keepable(ctx ctx, id string) error {
	job, err := s.Store.GetJob(ctx, id)
	if err != nil || job.Status != contract.StatusPaused {
		return err
	}
	saved, err := s.Store.Checkpoints(ctx, id)
	if err != nil || len(saved) > 0 {
		return err
	}
	finished, err := s.Store.RunArtifacts(ctx, id)
	if err != nil || len(finished) > 0 {
		return err
	}
	return contract.Errorf(contract.CodeConflict, "the job has no checkpoint to make a model of").On("keep").
		Mend("resume it, so that it can save one (make room on the disk first if that is why it paused), or cancel without keep")
}

// GetJobMetrics returns the curves.
func (s *Server) GetJobMetrics(c *echo.Context, id string, p apigen.GetJobMetricsParams) error {
	ctx := c.Request().Context()
	if _, err := s.Store.GetJob(ctx, id); err != nil {
		return err
	}
	curves, err := s.Store.Metrics(ctx, id, p.MaxPoints)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, viewCurves(curves))
}

func viewCurves(curves store.Curves) apigen.Metrics {
	out := apigen.Metrics{Points: []apigen.MetricPoint{}}
	for _, p := range curves.Train {
		out.Points = append(out.Points, apigen.MetricPoint{Step: p.Step, Epoch: p.DataEpoch, Loss: p.Loss,
			LearningRate: p.LearningRate, GradNorm: p.GradNorm, TokensPerSecond: p.TokensPerSecond})
	}
	for _, p := range curves.Eval {
		out.Points = append(out.Points, apigen.MetricPoint{Step: p.Step, Epoch: p.DataEpoch, EvalLoss: p.Loss})
	}
	return out
}

// ListJobCheckpoints lists what is kept of a run.
func (s *Server) ListJobCheckpoints(c *echo.Context, id string) error {
	ctx := c.Request().Context()
	if _, err := s.Store.GetJob(ctx, id); err != nil {
		return err
	}
	kept, err := s.Store.Checkpoints(ctx, id)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, apigen.CheckpointList{Items: mapped(kept, viewCheckpoint)})
}

func viewCheckpoint(k store.Checkpoint) contract.CheckpointCommitted {
	return contract.CheckpointCommitted{Name: k.Name, Step: k.Step, Bytes: k.Bytes, Best: k.Best, Final: k.Final}
}

// GetJobLogs returns log lines after a seq.
func (s *Server) GetJobLogs(c *echo.Context, id string, p apigen.GetJobLogsParams) error {
	ctx := c.Request().Context()
	if _, err := s.Store.GetJob(ctx, id); err != nil {
		return err
	}
	logs := apigen.Logs{Lines: []apigen.LogLine{}, NextAfter: p.After}
	for len(logs.Lines) < limitOf(p.Limit) {
		events, err := s.Store.EventsAfter(ctx, contract.Stream(contract.KindJob, id), logs.NextAfter, 500)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			break
		}
		for _, e := range events {
			if logs.NextAfter = e.Seq; e.Type == contract.RunnerLog {
				logs.Lines = append(logs.Lines, viewLog(e))
			}
			if len(logs.Lines) == limitOf(p.Limit) {
				break
			}
		}
	}
	return c.JSON(http.StatusOK, logs)
}

func viewLog(e contract.Event) apigen.LogLine {
	var l struct{ Level, Message string }
	_ = json.Unmarshal(e.Payload, &l)
	return apigen.LogLine{Seq: e.Seq, At: e.At, Level: l.Level, Message: l.Message}
}
