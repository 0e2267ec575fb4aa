package api

import (
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/store"
)

// ListMembers lists who has a part in a project.
func (s *Server) ListMembers(c *echo.Context, id string) error {
	members, err := s.Store.ListMembers(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, apigen.MemberList{Items: mapped(members, viewMember)})
}

// AddMember shares a project.
func (s *Server) AddMember(c *echo.Context, id string) error {
	request, err := body[apigen.AddMember](c)
	if err != nil {
		return err
	}
	email, err := auth.NormalEmail(request.Email)
	if err != nil {
		return err
	}
	m, err := s.Store.AddMember(c.Request().Context(), id, email, string(request.Role))
	if err != nil {
		return err
	}
	return s.showMember(c, http.StatusCreated, m)
}

// UpdateMember changes a member's role.
func (s *Server) UpdateMember(c *echo.Context, id, userID string) error {
	request, err := body[apigen.UpdateMember](c)
	if err != nil {
		return err
	}
	m, err := s.Store.ChangeMember(c.Request().Context(), id, userID, string(request.Role))
	if err != nil {
		return err
	}
	return s.showMember(c, http.StatusOK, m)
}

// RemoveMember takes somebody out of a project: an owner anybody, everybody themselves.
func (s *Server) RemoveMember(c *echo.Context, id, userID string) error {
	ctx := c.Request().Context()
	if userID != auth.PrincipalOf(ctx).UserID {
		ctx = store.InRole(ctx, contract.ProjectOwner)
	}
	m, err := s.Store.RemoveMember(ctx, id, userID)
	if err != nil {
		return err
	}
	about(c, m.ProjectID, m.UserID, m.Email)
	return c.NoContent(http.StatusNoContent)
}

func (s *Server) showMember(c *echo.Context, status int, m *store.Member) error {
	about(c, m.ProjectID, m.UserID, m.Email)
	return c.JSON(status, viewMember(*m))
}

func viewMember(m store.Member) apigen.Member {
	return apigen.Member{UserID: m.UserID, Email: m.Email, Name: m.Name, Role: apigen.ProjectRole(m.Role), Disabled: m.Disabled, AddedAt: m.AddedAt}
}

// viewProjects adds the caller's role in each.
func (s *Server) viewProjects(ctx ctx, projects []store.Project) ([]apigen.Project, error) {
	who := auth.PrincipalOf(ctx)
	var shared map[string]string
	if !who.Owner() {
		var err error
		if shared, err = s.Store.RolesOf(ctx, who.UserID); err != nil {
			return nil, err
		}
	}
	return mapped(projects, func(p store.Project) apigen.Project {
		view := viewProject(p)
		if view.Role = apigen.ProjectRole(shared[p.ID]); view.Role == "" {
			view.Role = contract.ProjectOwner
		}
		return view
	}), nil
}
