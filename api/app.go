package api

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/web"
)

// webApp serves the app's files wherever nothing else answers. They hold no data, so that they need no sign-in. What is
// missing under /api is a problem document, never a page. A binary without the app has pages of its own for one-time links.
func (s *Server) webApp(validate *validator) error {
	site, err := web.New(s.App)
	if err != nil {
		return err
	}
	if !site.Has(signInPage) {
		s.echo.GET(signInPage, page(signInHTML))
		s.echo.GET(passwordPage, page(passwordHTML))
	}
	missing := s.requires(validate.access)(validate.middleware(func(*echo.Context) error { return echo.ErrNotFound }))
	serve := func(c *echo.Context) error {
		if strings.HasPrefix(c.Request().URL.Path, "/api/") {
			return missing(c)
		}
		if !site.Serve(c.Response(), c.Request()) {
			return echo.ErrNotFound
		}
		return nil
	}
	s.echo.Match([]string{http.MethodGet, http.MethodHead}, "/", serve)
	s.echo.Match([]string{http.MethodGet, http.MethodHead}, "/*", serve)
	return nil
}
