package api

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/web"
	"github.com/vibeflow/vibeflow/contract"
)

// referencePage shows the API's document: the one page under /api. It holds no data either.
const referencePage = "/api/docs"

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
	s.echo.Match([]string{http.MethodGet, http.MethodHead}, referencePage, func(c *echo.Context) error {
		if !site.Has(referencePage) {
			return contract.Errorf(contract.CodeNotFound, "this binary was built without the web app, and the reference is a part of it").
				Mend("build it with `go tool task build`, or read /api/openapi.yaml")
		}
		site.Serve(c.Response(), c.Request())
		return nil
	})
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
