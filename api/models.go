package api

import (
	"cmp"
	"net/http"
	"strings"
	"unicode"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/store"
)

// ListModels lists base and tuned models.
func (s *Server) ListModels(c *echo.Context, p apigen.ListModelsParams) error {
	page, err := s.Store.ListModels(c.Request().Context(), store.Filter{Text: p.Q, Sort: store.Sort(p.Sort), Kind: string(p.Kind),
		ModelID: p.BaseModelID, Limit: p.Limit, Cursor: p.Cursor})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, apigen.ModelPage{Items: mapped(page.Items, viewModel), NextCursor: page.Next})
}

// GetModel shows a model.
func (s *Server) GetModel(c *echo.Context, id string) error {
	return s.showModel(c, http.StatusOK, id)
}

func (s *Server) showModel(c *echo.Context, status int, id string) error {
	if strings.ContainsFunc(id, unicode.IsControl) { // was written %00 in the path, which the validator does not read
		return contract.Errorf(contract.CodeInvalid, "the id has control characters").On("id")
	}
	m, err := s.Store.GetModel(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return c.JSON(status, viewModel(*m))
}

// AddModel adds a base by its source. What is behind it is checked by the runner that first uses it: only a worker
// reads weights.
func (s *Server) AddModel(c *echo.Context) error {
	request, err := body[apigen.AddModel](c)
	if err != nil {
		return err
	}
	entry, err := catalog.Parse(request.Source)
	if err != nil {
		return contract.Errorf(contract.CodeInvalid, "%q is not a source of models", request.Source).On("source").
			Mend("use hub:owner/name, or path:/absolute/folder with safetensors")
	}
	m := catalog.Row(entry)
	if request.Revision != "" {
		m.ID, m.Ref.Revision = m.ID+"@"+request.Revision, request.Revision
	}
	m.Name = cmp.Or(request.Name, m.Name)
	ctx := c.Request().Context()
	if _, err := s.Store.CreateModel(ctx, m); err != nil {
		return err
	}
	return s.showModel(c, http.StatusCreated, m.ID)
}
