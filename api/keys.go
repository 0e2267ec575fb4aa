package api

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/store"
)

// GenerateKey makes an API key and shows it, once.
func (s *Server) GenerateKey(c *echo.Context) error {
	request, err := body[apigen.CreateKey](c)
	if err != nil {
		return err
	}
	if !request.ExpiresAt.IsZero() && request.ExpiresAt.Before(time.Now()) {
		return contract.Errorf(contract.CodeInvalid, "the key would have expired already").On("expires_at").Mend("name a time to come")
	}
	ctx := c.Request().Context()
	project, err := s.project(ctx, request.ProjectID)
	if err != nil {
		return err
	}
	secret := auth.NewKey()
	key := store.APIKey{ID: contract.NewID(contract.PrefixKey), UserID: auth.PrincipalOf(ctx).UserID, ProjectID: project.ID, Name: request.Name,
		Scopes: scopesOf(request), KeyHash: auth.HashKey(s.SigningKey, secret), Prefix: auth.KeyPrefix(secret), ExpiresAt: request.ExpiresAt}
	if err := s.Store.CreateAPIKey(ctx, key); err != nil {
		return err
	}
	stored, err := s.Store.GetAPIKey(ctx, key.ID)
	if err != nil {
		return err
	}
	about(c, stored.ProjectID, stored.ID, stored.Name)
	return c.JSON(http.StatusCreated, apigen.CreatedKey{Key: viewKey(*stored), Secret: secret})
}

// scopesOf is what a key may do: ask deployed models, unless it says more.
func scopesOf(request apigen.CreateKey) []contract.Scope {
	if len(request.Scopes) == 0 {
		return []contract.Scope{contract.ScopeInference}
	}
	return mapped(request.Scopes, func(s apigen.Scope) contract.Scope { return contract.Scope(s) })
}

// ListKeys lists keys, without their secrets.
func (s *Server) ListKeys(c *echo.Context, p apigen.ListKeysParams) error {
	ctx := c.Request().Context()
	s.meter.flush(ctx) // so that the counts are of this moment
	page, err := s.Store.ListAPIKeys(ctx, store.Filter{Text: p.Q, Sort: store.Sort(p.Sort), Limit: p.Limit, Cursor: p.Cursor})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, apigen.KeyPage{Items: mapped(page.Items, viewKey), NextCursor: page.Next})
}

// RevokeKey ends a key at once.
func (s *Server) RevokeKey(c *echo.Context, id string) error {
	ctx := c.Request().Context()
	key, err := s.Store.GetAPIKey(ctx, id)
	if err != nil {
		return err
	}
	if err := s.Store.RevokeAPIKey(ctx, id); err != nil {
		return err
	}
	about(c, key.ProjectID, key.ID, key.Name)
	return c.NoContent(http.StatusNoContent)
}
