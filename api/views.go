package api

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/line"
	"github.com/vibeflow/vibeflow/internal/store"
)

// Views turn rows of the store into what the API shows.

func object(raw json.RawMessage) map[string]any {
	var out map[string]any
	if len(raw) == 0 || json.Unmarshal(raw, &out) != nil {
		return nil
	}
	return out
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func viewProgress(p *contract.Progress) apigen.Progress {
	if p == nil {
		return apigen.Progress{}
	}
	return apigen.Progress{Phase: p.Phase, Done: p.Done, Total: p.Total, Note: p.Note,
		EtaSeconds: p.ETA, EtaLowSeconds: p.ETALow, EtaHighSeconds: p.ETAHigh}
}

func viewDataset(d store.Dataset) apigen.Dataset {
	return apigen.Dataset{ID: d.ID, ProjectID: d.ProjectID, Name: d.Name, Notes: d.Notes, Tags: d.Tags, FileName: d.FileName, Format: d.Format, Size: d.Size,
		Rows: d.Rows, Columns: d.Columns, TrainRows: d.TrainRows, EvalRows: d.EvalRows, Status: apigen.Status(d.Status),
		Progress: viewProgress(d.Progress), Profile: d.Profile, Options: value(d.Options), Dropped: d.Dropped, Error: value(d.Error), CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt}
}

func viewModel(m store.Model) apigen.Model {
	kind := apigen.ModelKind("base")
	if m.Tuned() {
		kind = "tuned"
	}
	files := mapped(m.Files, func(f store.ModelFile) contract.FileInfo { return f.FileInfo })
	note, gated := catalog.NoteOf(m)
	return apigen.Model{Note: note, Notes: m.Notes, Tags: m.Tags, Gated: gated, ID: m.ID, Files: files, Name: m.Name, Kind: kind, Source: m.Source, Revision: m.Ref.Revision, BaseModelID: m.BaseModelID,
		JobID: m.JobID, Method: m.Method, Parameters: m.Parameters, Size: m.Size, ContextLength: m.ContextLength, License: m.License,
		TaskTypes: m.TaskTypes, Description: m.Description, Requirements: object(m.Dims), CreatedAt: m.CreatedAt}
}

// viewJobs adds the places of those that wait in line.
func (s *Server) viewJobs(ctx context.Context, jobs ...store.Job) ([]apigen.Job, error) {
	places, err := s.places(ctx, jobs)
	if err != nil {
		return nil, err
	}
	return mapped(jobs, func(j store.Job) apigen.Job { return viewJob(j, places[j.ID]) }), nil
}

// places reads the lines if any of the jobs stands in one.
func (s *Server) places(ctx context.Context, jobs []store.Job) (map[string]line.Place, error) {
	places := map[string]line.Place{}
	if !slices.ContainsFunc(jobs, func(j store.Job) bool { return j.Status == contract.StatusQueued }) {
		return places, nil
	}
	lines, err := s.Store.Lines(ctx)
	now := time.Now().UTC()
	for _, l := range lines {
		maps.Copy(places, l.Places(now))
	}
	return places, err
}

func viewJob(j store.Job, place line.Place) apigen.Job {
	view := apigen.Job{ID: j.ID, ProjectID: j.ProjectID, Name: j.Name, Notes: j.Notes, Tags: j.Tags, DatasetID: j.DatasetID, ModelID: j.ModelID,
		TunedModelID: j.TunedModelID, PipelineID: j.PipelineID, Queue: j.Queue, Worker: j.Worker, Epoch: contract.Launches(j.Epoch),
		Progress: viewProgress(j.Progress), Status: apigen.Status(j.Status), Config: j.Config, Step: j.Step, TotalSteps: j.TotalSteps, Loss: value(j.Loss),
		EvalLoss: value(j.EvalLoss), BestEvalLoss: value(j.BestEvalLoss), LearningRate: value(j.LearningRate), GradNorm: value(j.GradNorm),
		TokensPerSecond: value(j.TokensPerSecond), EtaSeconds: value(j.ETASeconds),
		EtaLowSeconds: value(j.ETALowSeconds), EtaHighSeconds: value(j.ETAHighSeconds), MemoryBytes: value(j.MemoryBytes),
		Device: j.Device, Precision: j.Precision, LossPath: j.LossPath, Checkpoint: j.Checkpoint, CheckpointStep: j.CheckpointStep,
		Adjusted: value(j.Adjusted), GoesOn: j.GoesOn, LastSeq: j.Seq, Error: value(j.Error), Metrics: object(j.Metrics), CreatedAt: j.CreatedAt, QueuedAt: j.QueuedAt,
		StartedAt: j.StartedAt, CompletedAt: j.CompletedAt, Priority: apigen.Priority(j.Urgency), QueuePosition: place.Position}
	if place.Starts.Known() {
		view.ExpectedStart = apigen.ExpectedStart{Earliest: place.Starts.Earliest, Latest: place.Starts.Latest}
	}
	return view
}

// viewEvaluation leaves the samples to /compare.
func viewEvaluation(e store.Evaluation) apigen.Evaluation {
	result := value(e.Metrics)
	result.Samples = nil
	return apigen.Evaluation{ID: e.ID, ProjectID: e.ProjectID, TrainingJobID: e.TrainingJobID, ModelID: e.ModelID, DatasetID: e.DatasetID,
		PipelineID: e.PipelineID, Queue: e.Queue, Status: apigen.Status(e.Status), Progress: viewProgress(e.Progress),
		Result: result, Error: value(e.Error), CreatedAt: e.CreatedAt, StartedAt: e.StartedAt, CompletedAt: e.CompletedAt}
}

func viewDeployment(d store.Deployment) apigen.Deployment {
	view := apigen.Deployment{ID: d.ID, ProjectID: d.ProjectID, ModelID: d.ModelID, PipelineID: d.PipelineID, Queue: d.Queue,
		Status: apigen.Status(d.Status), Error: value(d.Error), CreatedAt: d.CreatedAt, ServingAt: d.StartedAt}
	if d.Serving != nil {
		view.Worker, view.Device = d.Serving.Worker, d.Serving.Device
	}
	return view
}

func (s *Server) viewExport(ctx context.Context, e store.Export) (apigen.Export, error) {
	view := apigen.Export{ID: e.ID, ProjectID: e.ProjectID, ModelID: e.ModelID, Format: e.Format, Queue: e.Queue,
		Status: apigen.Status(e.Status), Progress: viewProgress(e.Progress), Error: value(e.Error), CreatedAt: e.CreatedAt, CompletedAt: e.CompletedAt}
	if e.Status != contract.StatusCompleted {
		return view, nil
	}
	files, err := s.exportFiles(ctx, e.ID)
	for _, f := range files {
		view.Files = append(view.Files, f.FileInfo)
	}
	return view, err
}

func viewPipeline(p store.Pipeline) apigen.Pipeline {
	view := apigen.Pipeline{ID: p.ID, ProjectID: p.ProjectID, Name: p.Name, DatasetID: p.Request.DatasetID, Status: apigen.Status(p.Status),
		Stages: []apigen.Stage{}, Recommendation: value(p.Recommendation), Error: value(p.Error), LastSeq: p.Seq,
		CreatedAt: p.CreatedAt, CompletedAt: p.CompletedAt}
	for _, st := range p.Stages {
		view.Stages = append(view.Stages, apigen.Stage{Stage: st.Stage, Status: string(st.Status), ID: st.ID, Seconds: st.Seconds, Error: value(st.Error)})
		switch st.Stage {
		case contract.StageTrain:
			view.JobID = st.ID
		case contract.StageEvaluate:
			view.EvaluationID = st.ID
		case contract.StageDeploy:
			view.DeploymentID = st.ID
		}
	}
	return view
}

func viewKey(k store.APIKey) apigen.Key {
	return apigen.Key{ID: k.ID, ProjectID: k.ProjectID, UserID: k.UserID, Scopes: mapped(k.Grants(), func(s contract.Scope) apigen.Scope { return apigen.Scope(s) }), Name: k.Name, Prefix: k.Prefix, UsageCount: k.UsageCount, CreatedAt: k.CreatedAt,
		LastUsedAt: k.LastUsedAt, ExpiresAt: k.ExpiresAt, RevokedAt: k.RevokedAt}
}

func statuses(named []apigen.Status) []contract.Status {
	return mapped(named, func(s apigen.Status) contract.Status { return contract.Status(s) })
}

func mapped[A, B any](items []A, view func(A) B) []B {
	out := make([]B, 0, len(items))
	for _, item := range items {
		out = append(out, view(item))
	}
	return out
}
