package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/store"
)

// ListProjects lists the projects in which the caller has a part; an owner's are everybody's.
func (s *Server) ListProjects(c *echo.Context, p apigen.ListProjectsParams) error {
	page, err := s.Store.ListProjects(c.Request().Context(), store.ProjectFilter{Status: string(p.Status), Text: p.Q, Limit: p.Limit, Cursor: p.Cursor})
	if err != nil {
		return err
	}
	views, err := s.viewProjects(c.Request().Context(), page.Items)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, apigen.ProjectPage{Items: views, NextCursor: page.Next})
}

// CreateProject makes a project of the caller's.
func (s *Server) CreateProject(c *echo.Context) error {
	request, err := body[apigen.ProjectInput](c)
	if err != nil {
		return err
	}
	name, err := projectName(request)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	project := store.Project{ID: contract.NewID(contract.PrefixProject), UserID: auth.PrincipalOf(ctx).UserID, Name: name, Description: request.Description, Goal: request.Goal}
	if err := s.Store.CreateProject(ctx, project); err != nil {
		return err
	}
	return s.showProject(c, http.StatusCreated, project.ID)
}

func projectName(request apigen.ProjectInput) (string, error) {
	name := strings.TrimSpace(request.Name)
	if name == "" {
		return "", contract.Errorf(contract.CodeInvalid, "the project has no name").On("name").Mend("call it something")
	}
	return name, nil
}

// GetProject shows a project and what it holds.
func (s *Server) GetProject(c *echo.Context, id string) error {
	return s.showProject(c, http.StatusOK, id)
}

func (s *Server) showProject(c *echo.Context, status int, id string) error {
	ctx := c.Request().Context()
	project, err := s.Store.GetProject(ctx, id)
	if err != nil {
		return err
	}
	held, err := s.Store.ProjectContents(ctx, id)
	if err != nil {
		return err
	}
	about(c, project.ID, project.ID, project.Name)
	views, err := s.viewProjects(ctx, []store.Project{*project})
	if err != nil {
		return err
	}
	view := views[0]
	view.Contents = apigen.ProjectContents{Datasets: held.Datasets, Models: held.Models, Jobs: held.Jobs, Evaluations: held.Evaluations, Deployments: held.Deployments,
		Exports: held.Exports, Pipelines: held.Pipelines, Keys: held.Keys, Bytes: held.Bytes, Active: held.Active}
	c.Response().Header().Set("ETag", etagOf(project.Version))
	return c.JSON(status, view)
}

func viewProject(p store.Project) apigen.Project {
	view := apigen.Project{ID: p.ID, UserID: p.UserID, Name: p.Name, Description: p.Description, Goal: p.Goal, Status: apigen.ProjectStatus(p.Status),
		CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt, DeletedAt: p.DeletedAt}
	if !p.DeletedAt.IsZero() {
		view.Status, view.PurgeAt = store.ProjectDeleted, p.DeletedAt.Add(store.ProjectUndo)
	}
	return view
}

// UpdateProject changes the version that the caller has seen.
func (s *Server) UpdateProject(c *echo.Context, id string, p apigen.UpdateProjectParams) error {
	request, err := body[apigen.ProjectInput](c)
	if err != nil {
		return err
	}
	name, err := projectName(request)
	if err != nil {
		return err
	}
	if p.IfMatch == "" {
		return contract.Errorf(contract.CodeNoPrecondition, "the request does not say which version it changes").On("If-Match").
			Mend("send the ETag of the version that you have read as If-Match, or * for any")
	}
	return s.changeProject(c, id, versionMeant(p.IfMatch), func(p *store.Project) error {
		p.Name, p.Description, p.Goal = name, request.Description, request.Goal
		return notDeleted(p)
	})
}

func (s *Server) changeProject(c *echo.Context, id string, version int64, change func(*store.Project) error) error {
	if _, err := s.Store.ChangeProject(c.Request().Context(), id, version, change); err != nil {
		return err
	}
	return s.showProject(c, http.StatusOK, id)
}

func notDeleted(p *store.Project) error {
	if p.DeletedAt.IsZero() {
		return nil
	}
	return contract.Errorf(contract.CodeConflict, "the project is deleted").Mend("restore it first")
}

// ArchiveProject keeps a project from taking anything new.
func (s *Server) ArchiveProject(c *echo.Context, id string) error {
	return s.changeProject(c, id, 0, func(p *store.Project) error {
		p.Status = store.ProjectArchived
		return notDeleted(p)
	})
}

// UnarchiveProject takes a project out of the archive.
func (s *Server) UnarchiveProject(c *echo.Context, id string) error {
	return s.changeProject(c, id, 0, func(p *store.Project) error {
		p.Status = store.ProjectActive
		return notDeleted(p)
	})
}

// RestoreProject undoes a deletion.
func (s *Server) RestoreProject(c *echo.Context, id string) error {
	return s.changeProject(c, id, 0, func(p *store.Project) error {
		p.DeletedAt = time.Time{}
		return nil
	})
}

// DeleteProject marks a project as deleted, or deletes it for good.
func (s *Server) DeleteProject(c *echo.Context, id string, p apigen.DeleteProjectParams) error {
	ctx := c.Request().Context()
	version := versionMeant(p.IfMatch)
	if !p.Permanent {
		if err := s.Store.DeleteProject(ctx, id, version); err != nil {
			return err
		}
		return s.showProject(c, http.StatusOK, id)
	}
	project, err := s.Store.GetProject(ctx, id)
	if err != nil {
		return err
	}
	if p.Confirm != project.Name {
		return contract.Errorf(contract.CodeInvalid, "the project is called %q", project.Name).On("confirm").Mend("type its name to delete it for good")
	}
	// Marked first: nothing new begins in it, and what a crash leaves of it is removed by the housekeeping.
	if err := s.Store.DeleteProject(ctx, id, version); err != nil {
		return err
	}
	if err := s.purge(context.WithoutCancel(ctx), id); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
