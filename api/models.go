package api

import (
	"net/http"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// hubID is an id of the Hugging Face Hub: owner/name.
var hubID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$`)

// ListModels lists base and tuned models.
func (s *Server) ListModels(c *echo.Context, p apigen.ListModelsParams) error {
	out := apigen.ModelPage{Items: []apigen.Model{}, NextCursor: p.Cursor}
	for limit := limitOf(p.Limit); ; {
		// Asking for no more than the page still takes makes the cursor of the last answer the page's own.
		page, err := s.Store.ListModels(c.Request().Context(), store.Filter{Limit: limit - len(out.Items), Cursor: out.NextCursor})
		if err != nil {
			return err
		}
		for _, m := range page.Items {
			if view := viewModel(m); p.Kind == "" || string(view.Kind) == string(p.Kind) {
				out.Items = append(out.Items, view)
			}
		}
		if out.NextCursor = page.Next; page.Next == "" || len(out.Items) == limit {
			return c.JSON(http.StatusOK, out)
		}
	}
}

// GetModel shows a model.
func (s *Server) GetModel(c *echo.Context, id string) error {
	m, err := s.Store.GetModel(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, viewModel(*m))
}

// AddModel adds a base by its source. What is behind it is checked by the runner that first uses it: only a worker
// reads weights.
func (s *Server) AddModel(c *echo.Context) error {
	request, err := body[apigen.AddModel](c)
	if err != nil {
		return err
	}
	if err := checkSource(request.Source); err != nil {
		return err
	}
	m := store.Model{ID: contract.DerivedID(contract.PrefixModel, request.Source, request.Revision), ProjectID: store.DefaultProject,
		Name: request.Name, Source: request.Source, Ref: contract.ModelRef{Source: request.Source, Revision: request.Revision}, TaskTypes: []string{"text-generation"}}
	if m.Name == "" {
		_, m.Name, _ = strings.Cut(request.Source, ":")
	}
	ctx := c.Request().Context()
	if _, err := s.Store.CreateModel(ctx, m); err != nil {
		return err
	}
	stored, err := s.Store.GetModel(ctx, m.ID)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, viewModel(*stored))
}

func checkSource(source string) error {
	kind, name, _ := strings.Cut(source, ":")
	switch {
	case kind == "hub" && hubID.MatchString(name):
		return nil
	case kind == "path" && filepath.IsAbs(name) && filepath.Clean(name) == name:
		return nil
	default:
		return contract.Errorf(contract.CodeInvalid, "%q is not a source of models", source).On("source").
			Mend("use hub:owner/name, or path:/absolute/folder with safetensors")
	}
}
