package api

import (
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
)

// signIn serves the one-time link and the page that a signed-in browser lands on.
func (s *Server) signIn() {
	s.echo.GET("/signin", s.redeem)
	s.echo.GET("/", s.front)
}

// CreateSignInLink makes a link that signs a browser in, once.
func (s *Server) CreateSignInLink(c *echo.Context) error {
	code, expires := s.sessions.Link()
	link := url.URL{Scheme: c.Scheme(), Host: c.Request().Host, Path: "/signin", RawQuery: url.Values{"code": {code}}.Encode()}
	return c.JSON(http.StatusOK, apigen.SignInLink{URL: link.String(), ExpiresAt: expires})
}

func (s *Server) redeem(c *echo.Context) error {
	token, err := s.sessions.Redeem(c.QueryParam("code"))
	if err != nil {
		return err
	}
	c.SetCookie(&http.Cookie{Name: sessionCookie, Value: token, Path: "/", HttpOnly: true, Secure: c.IsTLS(),
		SameSite: http.SameSiteStrictMode, MaxAge: int(auth.SessionLife / time.Second)})
	// Not a redirect: a browser that came from elsewhere would not send a strict cookie along with it.
	return c.HTML(http.StatusOK, `<!doctype html><title>VibeFlow</title><meta http-equiv="refresh" content="0;url=/">Signed in. <a href="/">Go on</a>`)
}

const frontPage = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>VibeFlow</title><style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui;max-width:40rem;margin:4rem auto;padding:0 1rem}code{background:#8882;padding:.1em .3em;border-radius:4px}</style>
<h1>VibeFlow is running</h1>
<p>Fine-tune, evaluate and deploy language models that survive anything that happens to this machine.</p>
<ul><li><a href="/temporal/">Every run, in Temporal's own UI</a> (sign in with <code>vibeflow open</code>)</li>
<li><a href="/api/openapi.yaml">The API</a></li></ul>
<p>Start with <code>vibeflow demo</code>, or <code>vibeflow run FILE</code> with data of your own.</p></html>`

func (s *Server) front(c *echo.Context) error { return c.HTML(http.StatusOK, frontPage) }

// temporalUI puts Temporal's UI behind the owner's sign-in; the proxy adds the secret that Temporal asks for.
func (s *Server) temporalUI() {
	serve := func(c *echo.Context) error {
		target := s.temporalURL()
		if target == nil {
			return contract.Errorf(contract.CodeUnavailable, "Temporal's UI is not running").Mend("start it with `vibeflow up`")
		}
		var failed error
		proxy := &httputil.ReverseProxy{
			Rewrite:      func(r *httputil.ProxyRequest) { s.towards(target, r) },
			ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
			ErrorLog:     slog.NewLogLogger(s.Logger.Handler(), slog.LevelDebug),
		}
		proxy.ServeHTTP(c.Response(), c.Request())
		if failed != nil {
			return contract.Errorf(contract.CodeUnavailable, "Temporal's UI does not answer yet").Mend("reload in a moment")
		}
		return nil
	}
	s.echo.Any("/temporal", serve, s.owner)
	s.echo.Any("/temporal/*", serve, s.owner)
}

// temporalURL is nil while there is no UI.
func (s *Server) temporalURL() *url.URL {
	if s.TemporalUI == nil {
		return nil
	}
	target, err := url.Parse(s.TemporalUI())
	if err != nil || target.Host == "" {
		return nil
	}
	return target
}

// towards turns a request of the owner into one for Temporal's UI: our session stays here, the UI's own cookies (against
// forged requests) go along.
func (s *Server) towards(target *url.URL, r *httputil.ProxyRequest) {
	r.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host})
	r.Out.Host = target.Host
	r.Out.Header.Del("Cookie")
	for _, cookie := range r.In.Cookies() {
		if cookie.Name != sessionCookie {
			r.Out.AddCookie(cookie)
		}
	}
	r.Out.Header.Set("Authorization", "Bearer "+s.TemporalToken)
}
