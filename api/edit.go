package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/store"
)

// UpdateDataset changes what is said of a dataset.
func (s *Server) UpdateDataset(c *echo.Context, id string, p apigen.UpdateDatasetParams) error {
	if err := s.edit(c, contract.KindDataset, id, p.IfMatch); err != nil {
		return err
	}
	return s.showDataset(c, http.StatusOK, id)
}

// UpdateJob changes what is said of a training job.
func (s *Server) UpdateJob(c *echo.Context, id string, p apigen.UpdateJobParams) error {
	if err := s.edit(c, contract.KindJob, id, p.IfMatch); err != nil {
		return err
	}
	return s.showJob(c, http.StatusOK, id)
}

// UpdateModel changes what is said of a model.
func (s *Server) UpdateModel(c *echo.Context, id string, p apigen.UpdateModelParams) error {
	if err := s.sayable(c.Request().Context(), id); err != nil {
		return err
	}
	if err := s.edit(c, store.KindModel, id, p.IfMatch); err != nil {
		return err
	}
	return s.showModel(c, http.StatusOK, id)
}

// sayable refuses to let one project say something of a model that all of them see.
func (s *Server) sayable(ctx ctx, id string) error {
	m, err := s.Store.GetModel(ctx, id)
	if err != nil || m.ProjectID != "" {
		return err
	}
	if _, ok := catalog.Lookup(id); ok {
		return contract.Errorf(contract.CodeConflict, "%s belongs to the catalog, which comes with VibeFlow", id).On("id").
			Mend("edit models of a project's own, or those that were added")
	}
	if !auth.PrincipalOf(ctx).Owner() {
		return contract.Errorf(contract.CodeForbidden, "only an owner can edit a model that everybody sees").On("id").Mend("ask one")
	}
	return nil
}

func (s *Server) edit(c *echo.Context, kind contract.Kind, id, ifMatch string) error {
	request, err := body[apigen.Edit](c)
	if err != nil {
		return err
	}
	edited, err := editedBy(request)
	if err != nil {
		return err
	}
	if request.Priority != nil {
		if kind != contract.KindJob {
			return contract.Errorf(contract.CodeInvalid, "only a training job has a priority").On("priority").Mend("leave it out")
		}
		edited.Priority = (*contract.Priority)(request.Priority)
	}
	return s.Store.Edit(c.Request().Context(), kind, id, versionMeant(ifMatch), edited)
}

// editedBy brings names and tags into the form in which they are kept and searched: without white space around them, each
// tag once.
func editedBy(request apigen.Edit) (contract.Edited, error) {
	edited := contract.Edited{Notes: request.Notes}
	if request.Name != nil {
		name := strings.TrimSpace(*request.Name)
		if name == "" {
			return edited, contract.Errorf(contract.CodeInvalid, "the name is empty").On("name").Mend("call it something")
		}
		edited.Name = &name
	}
	if request.Tags == nil {
		return edited, nil
	}
	tags := []string{}
	for _, tag := range *request.Tags {
		tag = strings.TrimSpace(tag)
		if tag == "" {
			return edited, contract.Errorf(contract.CodeInvalid, "a tag is empty").On("tags").Mend("leave it out")
		}
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	edited.Tags = &tags
	return edited, nil
}

// etagOf is the version of what people change of a resource.
func etagOf(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// versionMeant is the version that If-Match names; 0 means any, -1 none that there is.
func versionMeant(ifMatch string) int64 {
	if ifMatch == "" || ifMatch == "*" {
		return 0
	}
	version, err := strconv.ParseInt(strings.Trim(ifMatch, `"`), 10, 64)
	if err != nil || version < 1 {
		return -1
	}
	return version
}
