package api

import (
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// StartDeployment declares that a model is to be served.
func (s *Server) StartDeployment(c *echo.Context) error {
	request, err := body[apigen.StartDeployment](c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	model, err := s.Store.GetModel(ctx, request.ModelID)
	if err != nil {
		return err
	}
	if d, err := s.deploymentOf(ctx, model.ID, contract.StatusQueued, contract.StatusRunning, contract.StatusServing); err != nil || d != nil {
		if err != nil {
			return err
		}
		return c.JSON(http.StatusCreated, viewDeployment(*d))
	}
	created := contract.DeploymentCreated{ProjectID: model.ProjectID, ModelID: model.ID, Queue: request.Queue}
	if created.ProjectID == "" {
		created.ProjectID = store.DefaultProject
	}
	if created.Queue == "" {
		queue, err := s.bestQueue(ctx)
		if err != nil {
			return err
		}
		created.Queue = contract.ServeQueue(queue)
	}
	id := contract.NewID(contract.PrefixDeployment)
	err = s.start(ctx, contract.KindDeployment, id, created, contract.Start{Workflow: contract.WorkflowDeploy,
		Summary: "Serve " + model.Name, Project: created.ProjectID, Model: model.ID}, contract.DeployInput{DeploymentID: id, Queue: created.Queue})
	if err != nil {
		return err
	}
	return s.showDeployment(c, http.StatusCreated, id)
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
	page, err := s.Store.ListDeployments(c.Request().Context(), store.Filter{Limit: p.Limit, Cursor: p.Cursor})
	if err != nil {
		return err
	}
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
	return c.JSON(status, viewDeployment(*d))
}

// StopDeployment takes a deployment down.
func (s *Server) StopDeployment(c *echo.Context, id string) error {
	err := s.steer(c.Request().Context(), contract.KindDeployment, id, contract.EventStopRequested, contract.SignalStop, nil)
	if err != nil {
		return err
	}
	return s.showDeployment(c, http.StatusAccepted, id)
}
