package api

import (
	"cmp"
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// StartPipeline starts the whole story.
func (s *Server) StartPipeline(c *echo.Context, _ apigen.StartPipelineParams) error {
	request, err := body[apigen.StartPipeline](c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	d, err := s.usableDataset(ctx, request.DatasetID)
	if err != nil {
		return err
	}
	asked := contract.PipelineRequest{DatasetID: d.ID, ModelID: request.ModelID, Goal: request.Goal,
		AutoConfirm: request.AutoConfirm, SkipEvaluate: request.SkipEvaluate, SkipDeploy: request.SkipDeploy,
		Priority: contract.Priority(request.Priority)}
	if asked.Config, err = s.choices(ctx, d, asked, request.Config); err != nil {
		return err
	}
	created := contract.PipelineCreated{ProjectID: d.ProjectID, Name: cmp.Or(request.Name, d.Name), Request: asked}
	id := contract.NewID(contract.PrefixPipeline)
	err = s.start(ctx, contract.KindPipeline, id, created, contract.Start{Workflow: contract.WorkflowPipeline,
		Summary: created.Name, Project: d.ProjectID, Model: request.ModelID}, contract.PipelineInput{PipelineID: id, Request: asked})
	if err != nil {
		return err
	}
	return s.showPipeline(c, http.StatusCreated, id)
}

// choices turns overrides into a configuration. Once the dataset is ready the whole is proposed, so that what cannot be
// trained is refused now; while it is still being read, what no data would make possible is, and the named fields alone are kept.
func (s *Server) choices(ctx ctx, d *store.Dataset, asked contract.PipelineRequest, overrides apigen.TrainingOverrides) (*contract.Training, error) {
	ready := d.Status == contract.StatusReady
	var config contract.Training
	var err error
	if ready {
		var proposal contract.Recommendation
		proposal, err = s.propose(ctx, contract.RecommendInput{DatasetID: d.ID, ModelID: asked.ModelID, Goal: asked.Goal}, overrides)
		config = proposal.Config
	} else if err = s.possible(ctx, asked.ModelID, overrides); err == nil {
		config, err = overlay(contract.Training{}, overrides)
	}
	if err != nil || len(overrides) == 0 {
		return nil, err
	}
	return &config, nil
}

// ListPipelines lists pipelines.
func (s *Server) ListPipelines(c *echo.Context, p apigen.ListPipelinesParams) error {
	ctx := c.Request().Context()
	page, err := s.Store.ListPipelines(ctx, store.Filter{Text: p.Q, Sort: store.Sort(p.Sort), Status: statuses(p.Status), Limit: p.Limit, Cursor: p.Cursor})
	if err != nil {
		return err
	}
	out := apigen.PipelinePage{Items: []apigen.Pipeline{}, NextCursor: page.Next}
	for _, item := range page.Items {
		view, err := s.withModel(ctx, viewPipeline(item))
		if err != nil {
			return err
		}
		out.Items = append(out.Items, view)
	}
	return c.JSON(http.StatusOK, out)
}

// withModel adds the model that the pipeline's job made.
func (s *Server) withModel(ctx ctx, view apigen.Pipeline) (apigen.Pipeline, error) {
	if view.JobID == "" {
		return view, nil
	}
	job, err := s.Store.GetJob(ctx, view.JobID)
	if contract.CodeOf(err) == contract.CodeNotFound { // it was deleted
		return view, nil
	}
	if err != nil {
		return view, err
	}
	view.ModelID = job.TunedModelID
	return view, nil
}

// GetPipeline shows a pipeline.
func (s *Server) GetPipeline(c *echo.Context, id string) error {
	return s.showPipeline(c, http.StatusOK, id)
}

func (s *Server) showPipeline(c *echo.Context, status int, id string) error {
	ctx := c.Request().Context()
	p, err := s.Store.GetPipeline(ctx, id)
	if err != nil {
		return err
	}
	view, err := s.withModel(ctx, viewPipeline(*p))
	if err != nil {
		return err
	}
	return c.JSON(status, view)
}

// ConfirmPipeline accepts the proposal, with the user's changes.
func (s *Server) ConfirmPipeline(c *echo.Context, id string) error {
	request, err := body[apigen.ConfirmPipeline](c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	p, err := s.Store.GetPipeline(ctx, id)
	if err != nil {
		return err
	}
	confirm, err := s.changed(ctx, p, request)
	if err != nil {
		return err
	}
	err = s.steer(ctx, contract.KindPipeline, id, contract.EventConfirmed, contract.SignalConfirm, confirm)
	if err != nil {
		return err
	}
	return s.showPipeline(c, http.StatusAccepted, id)
}

// changed lays a user's changes over the proposal and has the whole checked. A pipeline that waits for nothing is the
// store's to refuse.
func (s *Server) changed(ctx ctx, p *store.Pipeline, request apigen.ConfirmPipeline) (contract.ConfirmRequest, error) {
	confirm := contract.ConfirmRequest{ModelID: request.ModelID}
	if p.Status != contract.StatusAwaiting || p.Recommendation == nil || (request.ModelID == "" && len(request.Config) == 0) {
		return confirm, nil
	}
	config, err := overlay(p.Recommendation.Config, request.Config)
	if err != nil {
		return confirm, err
	}
	if err := s.nameable(ctx, request.ModelID); err != nil {
		return confirm, err
	}
	proposal, err := s.Advise(ctx, contract.RecommendInput{DatasetID: p.Request.DatasetID, Goal: p.Request.Goal,
		ModelID: cmp.Or(request.ModelID, p.Recommendation.ModelID), Config: &config})
	if err == nil && len(request.Config) > 0 {
		confirm.Config = &proposal.Config
	}
	return confirm, err
}

// RetryPipeline runs the failed stage alone again.
func (s *Server) RetryPipeline(c *echo.Context, id string) error {
	err := s.steer(c.Request().Context(), contract.KindPipeline, id, contract.EventRetryRequested, contract.SignalRetry, nil)
	if err != nil {
		return err
	}
	return s.showPipeline(c, http.StatusAccepted, id)
}

// CancelPipeline cancels a pipeline and what it waits for.
func (s *Server) CancelPipeline(c *echo.Context, id string) error {
	err := s.steer(c.Request().Context(), contract.KindPipeline, id, contract.EventCancelRequested, contract.SignalCancel, contract.CancelRequest{})
	if err != nil {
		return err
	}
	return s.showPipeline(c, http.StatusAccepted, id)
}
