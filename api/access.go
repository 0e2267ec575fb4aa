package api

import (
	"context"
	"net/http"
	"regexp"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/store"
)

// access is what an operation asks of its caller. The document says it (x-access); what it does not say follows from the
// method: reading asks for the scope read, anything else for write.
type access string

const (
	accessPublic access = "public"
	// accessPerson wants somebody who is signed in, not a key.
	accessPerson access = "person"
	accessOwner  access = "owner"
	// The others are scopes within a project: a person's own, and those of a key.
	accessRead      = access(contract.ScopeRead)
	accessWrite     = access(contract.ScopeWrite)
	accessInference = access(contract.ScopeInference)
)

// accessOf reads what the document says of an operation.
func accessOf(method string, op *openapi3.Operation) access {
	if op.Security != nil && len(*op.Security) == 0 {
		return accessPublic
	}
	if said, ok := op.Extensions["x-access"].(string); ok {
		return access(said)
	}
	if method == http.MethodGet || method == http.MethodHead {
		return accessRead
	}
	return accessWrite
}

// allows reports whether a caller meets what an operation asks; the error says what is missing.
func (need access) allows(p auth.Principal) error {
	switch {
	case need == accessPublic:
		return nil
	case !p.Person() && p.By != auth.ByKey:
		return notSignedIn()
	case need == accessOwner && !p.Owner(), need == accessPerson && !p.Person():
		return forbidden(p, need)
	case need == accessOwner, need == accessPerson, p.Has(contract.Scope(need)):
		return nil
	default:
		return forbidden(p, need)
	}
}

func notSignedIn() error {
	return contract.Errorf(contract.CodeUnauthenticated, "you are not signed in").
		Mend("send an access token, or the token in secrets/cli.token, as a bearer token; sign a browser in with `vibeflow open`")
}

func forbidden(p auth.Principal, need access) error {
	switch {
	case p.By == auth.ByKey && (need == accessOwner || need == accessPerson):
		return contract.Errorf(contract.CodeForbidden, "an API key cannot do this").Mend("sign in, as a person")
	case p.By == auth.ByKey:
		return contract.Errorf(contract.CodeForbidden, "this API key does not have the scope %q", need).Mend("make a key with it: `vibeflow keys create NAME --scope %s`", need)
	default:
		return contract.Errorf(contract.CodeForbidden, "only an owner can do this").Mend("ask one, or be made one")
	}
}

// showNothing is what a request reaches until somebody has been admitted.
func showNothing(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		setContext(c, store.WithAccess(c.Request().Context(), store.Access{}))
		return next(c)
	}
}

// showAll is what the gateway reaches: its own tokens say which run's data it hands out.
func showAll(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		setContext(c, store.WithoutAccess(c.Request().Context()))
		return next(c)
	}
}

// requires lets in those who meet a need; it is how every route that asks for credentials asks for them.
func (s *Server) requires(need func(*echo.Context) access) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			if err := s.admit(c, need(c)); err != nil {
				return err
			}
			return next(c)
		}
	}
}

func always(need access) func(*echo.Context) access {
	return func(*echo.Context) access { return need }
}

// admit finds out who asks, refuses those who may not, and puts into the request's context who it is and what the store
// shows them.
func (s *Server) admit(c *echo.Context, need access) error {
	r := c.Request()
	principal, err := s.principal(r)
	use := useOf(c)
	use.KeyID = principal.KeyID
	if need == accessPublic {
		err = s.checkPublic(r)
	}
	if !isProbe(r.URL.Path) {
		// Strangers are counted by their address before they are refused, whatever they tried to sign in with.
		if early := s.limits.take(c, principal); early != nil {
			return early
		}
	}
	if err == nil {
		err = need.allows(principal)
	}
	if err != nil {
		return err
	}
	use.admitted = true
	setContext(c, store.WithAccess(auth.WithPrincipal(r.Context(), principal), reachOf(principal, roleOf(c, need))))
	return nil
}

// setContext changes the request in place: of a copy, net/http would not see how much of the body was read, and could cut
// off a client before it has read why.
func setContext(c *echo.Context, ctx context.Context) {
	r := c.Request()
	*r = *r.WithContext(ctx)
}

func isProbe(path string) bool { return path == "/healthz" || path == "/readyz" }

// roleOf is the role that a request asks for in the projects that it is about. The document says it (x-role); what it does
// not say follows from what the request asks of its caller: changing things takes an editor, reading and asking a viewer.
func roleOf(c *echo.Context, need access) string {
	if found, ok := c.Get(askedKey).(asked); ok && found.err == nil {
		if said, ok := found.route.Operation.Extensions["x-role"].(string); ok {
			return said
		}
	}
	method := c.Request().Method
	if need == accessWrite || (need == accessPerson && method != http.MethodGet && method != http.MethodHead) {
		return contract.ProjectEditor
	}
	return contract.ProjectViewer
}

// reachOf is what a principal reaches of the store, who asks for a role.
func reachOf(p auth.Principal, role string) store.Access {
	reach := store.Access{Actor: p.ID(), Role: role}
	switch {
	case p.By == auth.ByKey:
		reach.ProjectID = p.ProjectID
		if p.Role != contract.RoleOwner { // a key reaches no more than its maker still does
			reach.UserID = p.UserID
		}
	case p.Owner():
		reach.Everything = true
	default:
		reach.UserID = p.UserID
	}
	return reach
}

// plainID is what the document takes for an id.
var plainID = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.:-]{0,127}$`)

// narrowed limits a request to the project that its query names; one that the caller does not reach is not found.
func (s *Server) narrowed(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		ctx, named := c.Request().Context(), c.QueryParam("project_id")
		if named == "" {
			return next(c)
		}
		if !plainID.MatchString(named) {
			return contract.Errorf(contract.CodeInvalid, "that is not a project's id").On("project_id").Mend("GET /api/projects lists them")
		}
		if _, err := s.Store.GetProject(ctx, named); err != nil {
			return onField(err, "project_id")
		}
		reach, _ := store.AccessOf(ctx)
		reach.ProjectID = named
		setContext(c, store.WithAccess(ctx, reach))
		return next(c)
	}
}

// checkPublic refuses what a page of another site sends to an operation that asks for no credentials: it could sign a
// browser in as somebody else.
func (s *Server) checkPublic(r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead || !crossSite(r) || s.sharedWith(r) {
		return nil
	}
	return otherSite()
}

func otherSite() error {
	return contract.Errorf(contract.CodeForbidden, "this request comes from another site")
}

// principal finds out who asks. A browser's cookie counts only for our own pages.
func (s *Server) principal(r *http.Request) (auth.Principal, error) {
	if token, ok := bearer(r); ok {
		return s.bearerOf(r.Context(), token)
	}
	cookie, err := r.Cookie(accessCookie)
	if err != nil {
		return auth.Principal{}, nil
	}
	if crossSite(r) {
		return auth.Principal{}, otherSite()
	}
	return s.accounts.Principal(r.Context(), cookie.Value)
}

func (s *Server) bearerOf(ctx context.Context, token string) (auth.Principal, error) {
	switch {
	case auth.SameToken(token, s.CLIToken):
		return s.accounts.MachineOwner(ctx)
	case auth.ParseKey(token) == nil:
		return s.accounts.KeyHolder(ctx, auth.HashKey(s.SigningKey, token))
	case auth.LooksLikeAccess(token):
		return s.accounts.Principal(ctx, token)
	default:
		return auth.Principal{}, contract.Errorf(contract.CodeUnauthenticated, "the token is none of this server's").
			Mend("use an access token of /api/auth/login, or the token in secrets/cli.token of the server's data folder")
	}
}

func bearer(r *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}

// project is where something new goes: the named project, else the key's, the one that the request is narrowed to, the
// default project of the machine's owner, or the oldest of the caller's.
func (s *Server) project(ctx context.Context, named string) (*store.Project, error) {
	if named == "" {
		reach, _ := store.AccessOf(ctx)
		named = reach.ProjectID
	}
	if named == "" && auth.PrincipalOf(ctx).Owner() {
		named = store.DefaultProject
	}
	if named == "" {
		return s.Store.OldestProject(ctx)
	}
	p, err := s.Store.ProjectTakingNew(ctx, named)
	return p, onField(err, "project_id")
}
