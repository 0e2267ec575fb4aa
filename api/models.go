package api

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/store"
)

// ListModels lists base and tuned models.
func (s *Server) ListModels(c *echo.Context, p apigen.ListModelsParams) error {
	page, err := s.Store.ListModels(c.Request().Context(), store.Filter{Text: p.Q, Sort: store.Sort(p.Sort), Kind: string(p.Kind),
		ModelID: p.BaseModelID, Tags: p.Tag, Limit: p.Limit, Cursor: p.Cursor})
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
	m, err := s.Store.GetModel(c.Request().Context(), id)
	if err != nil {
		return err
	}
	c.Response().Header().Set("ETag", etagOf(m.Version))
	return c.JSON(status, viewModel(*m))
}

// AddModel adds a base by its source. What can be seen to be wrong is refused; the rest is checked by the runner that first
// uses it, for only a worker reads weights.
func (s *Server) AddModel(c *echo.Context) error {
	request, err := body[apigen.AddModel](c)
	if err != nil {
		return err
	}
	entry, err := catalog.Parse(request.Source)
	if err != nil {
		return named(err, "source")
	}
	ctx := c.Request().Context()
	if entry, err = s.addable(ctx, entry); err != nil {
		return err
	}
	if request.Name != "" && request.Name != entry.Name && !auth.PrincipalOf(ctx).Owner() {
		return contract.Errorf(contract.CodeForbidden, "only an owner can name a model that everybody sees").On("name").Mend("leave the name out")
	}
	m := catalog.Row(entry)
	if request.Revision != "" {
		m.ID, m.Ref.Revision = m.ID+"@"+request.Revision, request.Revision
	}
	m.Name = cmp.Or(request.Name, m.Name)
	if _, err := s.Store.CreateModel(ctx, m); err != nil {
		return err
	}
	return s.showModel(c, http.StatusCreated, m.ID)
}

// nameable refuses a model that is neither there nor one that the caller may add by naming it.
func (s *Server) nameable(ctx ctx, id string) error {
	if id == "" {
		return nil
	}
	_, err := s.Store.GetModel(ctx, id)
	if contract.CodeOf(err) != contract.CodeNotFound {
		return err
	}
	entry, err := catalog.Parse(id)
	if err == nil {
		_, err = s.addable(ctx, entry)
	}
	return named(err, "model_id")
}

// addable refuses a folder that the caller may not name, or that can be seen to hold no model. Naming one tells whether it
// is there, so that only an owner may: the folders are those of the machine that trains, not of a project.
func (s *Server) addable(ctx ctx, entry catalog.Entry) (catalog.Entry, error) {
	folder, ok := entry.Folder()
	if !ok {
		return entry, nil
	}
	if !auth.PrincipalOf(ctx).Owner() {
		return entry, contract.Errorf(contract.CodeForbidden, "only an owner can name folders of the machine that trains").On("source").
			Mend("ask an owner to add the model, or use hub:owner/name")
	}
	sees, err := s.seesFolders(ctx)
	if err != nil {
		return entry, err
	}
	if !sees {
		return unseen(entry), nil
	}
	looked := make(chan error, 1)
	go func() { looked <- catalog.CheckFolder(folder) }()
	select {
	case err := <-looked:
		return entry, err
	case <-time.After(lookPatience):
		return unseen(entry), nil
	}
}

// lookPatience is how long a folder may take to be looked at: one on a file system that hangs is left to the worker.
const lookPatience = 3 * time.Second

func unseen(entry catalog.Entry) catalog.Entry {
	entry.Note = "not looked at yet: a worker checks the folder when it first uses it"
	return entry
}

// seesFolders tells whether the folders here are those that every worker sees.
func (s *Server) seesFolders(ctx ctx) (bool, error) {
	if s.Host == "" {
		return false, nil
	}
	workers, err := s.Store.ListWorkers(ctx)
	for _, w := range workers {
		host, _, _ := strings.Cut(w.ID, "/")
		if host != s.Host && time.Since(w.LastSeenAt) < workerSilence {
			return false, err
		}
	}
	return true, err
}
