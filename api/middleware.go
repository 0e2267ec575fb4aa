package api

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/contract"
)

// crossSite tells a request that a browser made for a page of another site (forged with the user's cookie).
func crossSite(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site != "same-origin" && site != "none"
	}
	origin := r.Header.Get("Origin")
	return origin != "" && origin != "http://"+r.Host && origin != "https://"+r.Host
}

// knownHost refuses names that are not ours, so that a page elsewhere cannot reach us through a name that it made
// resolve to loopback (DNS rebinding).
func (s *Server) knownHost(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		host := hostOf(c.Request().Host)
		if isLoopback(host) || slices.ContainsFunc(s.Hosts, func(known string) bool { return strings.EqualFold(known, host) }) {
			return next(c)
		}
		return contract.Errorf(contract.CodeForbidden, "this server does not answer to the name %q", host).
			Mend("call it by its address, or start it with --host %s", host)
	}
}

func hostOf(hostPort string) string {
	if host, _, err := net.SplitHostPort(hostPort); err == nil {
		return host
	}
	return strings.Trim(hostPort, "[]")
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func secureHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		header := c.Response().Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		if c.Request().TLS != nil {
			header.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if !strings.HasPrefix(c.Request().URL.Path, "/temporal") {
			header.Set("Cache-Control", "no-store")
			header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'")
		}
		return next(c)
	}
}

func isUpload(r *http.Request) bool {
	return r.URL.Path == "/api/datasets/upload" || r.URL.Path == "/api/models/upload"
}

// validator checks requests against the OpenAPI document before a handler sees them.
type validator struct {
	router routers.Router
	// direct are the document's operations by method and echo's pattern.
	direct map[string]*routers.Route
}

var pathParameter = regexp.MustCompile(`\{([^}]+)\}`)

func newValidator(doc *openapi3.T) (*validator, error) {
	router, err := gorillamux.NewRouter(doc)
	v := &validator{router: router, direct: map[string]*routers.Route{}}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			v.direct[method+" "+pathParameter.ReplaceAllString(path, ":$1")] = &routers.Route{Spec: doc, Server: doc.Servers[0], Path: path, PathItem: item, Method: method, Operation: op}
		}
	}
	return v, err
}

// asked is the operation that a request asks for, by the document.
type asked struct {
	route  *routers.Route
	params map[string]string
	err    error
}

const askedKey = "validator.asked"

// find returns the operation that a request asks for; what it has found is kept with the request.
func (v *validator) find(c *echo.Context) asked {
	if found, ok := c.Get(askedKey).(asked); ok {
		return found
	}
	found := v.look(c)
	c.Set(askedKey, found)
	return found
}

// look takes what echo has found already; the document's own router, which tries one path after the other, is for what echo
// has not, and for escaped paths.
func (v *validator) look(c *echo.Context) (found asked) {
	r := c.Request()
	if route, ok := v.direct[r.Method+" "+c.Path()]; ok && r.URL.RawPath == "" {
		found.route, found.params = route, map[string]string{}
		for _, p := range c.PathValues() {
			found.params[p.Name] = p.Value
		}
		return found
	}
	found.route, found.params, found.err = v.router.FindRoute(r)
	for name, value := range found.params { // as it was meant, not as it was escaped
		if plain, err := url.PathUnescape(value); err == nil {
			found.params[name] = plain
		}
	}
	return found
}

// access is what the document says that an operation asks of its caller. What it does not know asks for somebody who is
// signed in, so that strangers learn nothing.
func (v *validator) access(c *echo.Context) access {
	found := v.find(c)
	if found.err != nil {
		return accessRead
	}
	return accessOf(c.Request().Method, found.route.Operation)
}

// wrongMethod refuses a method that a path does not take, and says those that it does.
func (v *validator) wrongMethod(c *echo.Context) error {
	r := c.Request()
	if !errors.Is(v.find(c).err, routers.ErrMethodNotAllowed) {
		return nil
	}
	c.Response().Header().Set("Allow", strings.Join(v.methods(r), ", "))
	return echo.NewHTTPError(http.StatusMethodNotAllowed, fmt.Sprintf("%s cannot be asked for by %s", r.URL.Path, r.Method))
}

// methods lists those that a path can be asked for by.
func (v *validator) methods(r *http.Request) (allowed []string) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := *r
		other.Method = method
		if _, _, err := v.router.FindRoute(&other); err == nil {
			allowed = append(allowed, method)
		}
	}
	return allowed
}

func (v *validator) middleware(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		r := c.Request()
		found := v.find(c)
		if err := v.wrongMethod(c); err != nil {
			return err
		}
		if found.err != nil {
			return contract.Errorf(contract.CodeNotFound, "there is no %s %s", r.Method, r.URL.Path)
		}
		if isUpload(r) {
			// The validator reads a body into memory even where it is told not to check it.
			bodiless := *r
			bodiless.Body = http.NoBody
			r = &bodiless
		}
		input := &openapi3filter.RequestValidationInput{Request: r, PathParams: found.params, Route: found.route,
			Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, ExcludeRequestBody: isUpload(r)}}
		if err := openapi3filter.ValidateRequest(r.Context(), input); err != nil {
			return invalidRequest(err)
		}
		return next(c)
	}
}
