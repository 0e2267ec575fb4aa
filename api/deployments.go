package api

import (
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// StartDeployment declares that a model is to be served.
func (s *Server) StartDeployment(c *echo.Context, _ apigen.StartDeploymentParams) error {
	request, err := body[apigen.StartDeployment](c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	model, err := s.Store.GetModel(ctx, request.ModelID)
	if err != nil {
		return onField(err, "model_id")
	}
	id, isNew, err := s.deploy(ctx, model, request.Queue)
	if err != nil {
		return err
	}
	if !isNew {
		if err := s.Store.RememberStarted(ctx, contract.KindDeployment, id); err != nil {
			return err
		}
		return s.showDeployment(c, http.StatusOK, id)
	}
	return s.showDeployment(c, http.StatusCreated, id)
}

// deploy declares that a model is to be served; one that is already stays as it is, wherever it is.
func (s *Server) deploy(ctx ctx, model *store.Model, queue string) (id string, isNew bool, err error) {
	s.deploying.Lock()
	defer s.deploying.Unlock()
	d, err := s.deploymentOf(ctx, model.ID, contract.StatusQueued, contract.StatusRunning, contract.StatusServing)
	if err != nil {
		return "", false, err
	}
	if d != nil {
		return d.ID, false, nil
	}
	if queue, err = s.queueOr(ctx, queue); err != nil {
		return "", false, err
	}
	project, err := s.project(ctx, model.ProjectID)
	if err != nil {
		return "", false, err
	}
	created := contract.DeploymentCreated{ProjectID: project.ID, ModelID: model.ID,
		Queue: contract.ServeQueue(queue)}
	id = contract.NewID(contract.PrefixDeployment)
	err = s.start(ctx, contract.KindDeployment, id, created, contract.Start{Workflow: contract.WorkflowDeploy,
		Summary: "Serve " + model.Name, Project: created.ProjectID, Model: model.ID}, contract.DeployInput{DeploymentID: id, Queue: created.Queue})
	return id, true, err
}

// deploymentOf returns a model's newest deployment in one of the statuses, nil for none.
func (s *Server) deploymentOf(ctx ctx, modelID string, in ...contract.Status) (*store.Deployment, error) {
	page, err := s.Store.ListDeployments(ctx, store.Filter{ModelID: modelID, Status: in, Limit: 1})
	if err != nil || len(page.Items) == 0 {
		return nil, err
	}
	return &page.Items[0], nil
}

// ListDeployments lists deployments.
func (s *Server) ListDeployments(c *echo.Context, p apigen.ListDeploymentsParams) error {
	page, err := s.Store.ListDeployments(c.Request().Context(), store.Filter{Text: p.Q, Sort: store.Sort(p.Sort), Status: statuses(p.Status),
		ModelID: p.ModelID, Limit: p.Limit, Cursor: p.Cursor})
	if err != nil {
		return err
	}
	s.engines.truly(c.Request().Context(), page.Items)
	return c.JSON(http.StatusOK, apigen.DeploymentPage{Items: mapped(page.Items, viewDeployment), NextCursor: page.Next})
}

// GetDeployment shows a deployment.
func (s *Server) GetDeployment(c *echo.Context, id string) error {
	return s.showDeployment(c, http.StatusOK, id)
}

func (s *Server) showDeployment(c *echo.Context, status int, id string) error {
	d, err := s.Store.GetDeployment(c.Request().Context(), id)
	if err != nil {
		return err
	}
	found := []store.Deployment{*d}
	s.engines.truly(c.Request().Context(), found)
	return c.JSON(status, viewDeployment(found[0]))
}

// StopDeployment takes a deployment down.
func (s *Server) StopDeployment(c *echo.Context, id string) error {
	err := s.steer(c.Request().Context(), contract.KindDeployment, id, contract.EventStopRequested, contract.SignalStop, nil)
	if err != nil {
		return err
	}
	return s.showDeployment(c, http.StatusAccepted, id)
}
