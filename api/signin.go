package api

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
)

// Where links lead. The code stands behind #, so that it is in nobody's log: browsers keep that part to themselves.
const (
	signInPage   = "/signin"
	passwordPage = "/password"
)

// CreateSignInLink makes a link that signs a browser in as the owner, once.
func (s *Server) CreateSignInLink(c *echo.Context) error {
	code, expires, err := s.accounts.Link(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, link(c, signInPage, code, expires))
}

// link is one for whoever asks for it, who is where they ask from.
func link(c *echo.Context, page, code string, expires time.Time) apigen.SignInLink {
	to := url.URL{Scheme: c.Scheme(), Host: c.Request().Host, Path: page, Fragment: code}
	return apigen.SignInLink{URL: to.String(), ExpiresAt: expires}
}

// linkForOthers is one to be sent to somebody: where the server has an address for others, it leads there.
func (s *Server) linkForOthers(c *echo.Context, page, code string, expires time.Time) apigen.SignInLink {
	if s.PublicURL == "" {
		return link(c, page, code, expires)
	}
	return apigen.SignInLink{URL: s.PublicURL + page + "#" + code, ExpiresAt: expires}
}

//go:embed pages/signin.html
var signInHTML string

//go:embed pages/password.html
var passwordHTML string

var pageScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)

// page serves a page with one script, which alone may run, and ask this server alone.
func page(html string) echo.HandlerFunc {
	sum := sha256.Sum256([]byte(pageScript.FindStringSubmatch(html)[1]))
	policy := "default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; script-src 'sha256-" +
		base64.StdEncoding.EncodeToString(sum[:]) + "'"
	return func(c *echo.Context) error {
		c.Response().Header().Set("Content-Security-Policy", policy)
		return c.HTML(http.StatusOK, html)
	}
}

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
	owner := s.requires(always(accessOwner))
	s.echo.Any("/temporal", serve, owner)
	s.echo.Any("/temporal/*", serve, owner)
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
		if cookie.Name != accessCookie && cookie.Name != refreshCookie {
			r.Out.AddCookie(cookie)
		}
	}
	r.Out.Header.Set("Authorization", "Bearer "+s.TemporalToken)
}
