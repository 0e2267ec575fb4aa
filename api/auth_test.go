package api_test

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api"
	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/internal/auth"
)

// operation is one of the document's.
type operation struct {
	id, method, path string
	public           bool
	access           string // what it asks of its caller
	role             string // and in the project that it is about
}

// operations lists them all, so that a new one is tested as soon as it is written down: those of /v1 first, for they need
// what others take down.
func (c *conformance) operations() []operation {
	var ops []operation
	for path, item := range c.doc.Paths.Map() {
		for method, op := range item.Operations() {
			o := operation{id: op.OperationID, method: method, path: path, public: op.Security != nil && len(*op.Security) == 0, access: "write"}
			if method == http.MethodGet {
				o.access = "read"
			}
			if said, ok := op.Extensions["x-access"].(string); ok {
				o.access = said
			}
			o.role = "viewer"
			if o.access == "write" || (o.access == "person" && method != http.MethodGet) {
				o.role = "editor"
			}
			if said, ok := op.Extensions["x-role"].(string); ok {
				o.role = said
			}
			ops = append(ops, o)
		}
	}
	slices.SortFunc(ops, func(a, b operation) int { return cmp.Or(cmp.Compare(b.path, a.path), cmp.Compare(a.method, b.method)) })
	return ops
}

func cookie(value string) with {
	return func(r *http.Request) {
		r.Header.Del("Authorization")
		r.AddCookie(&http.Cookie{Name: "vibeflow_access", Value: value})
	}
}

// code is what stands behind # in a fresh sign-in link.
func (w *world) code() string {
	w.t.Helper()
	link := into[apigen.SignInLink](w.post("/api/auth/link", nil), http.StatusOK)
	at, err := url.Parse(link.URL)
	require.NoError(w.t, err)
	require.Equal(w.t, w.address, at.Host)
	require.Empty(w.t, at.RawQuery, "a query would be in logs")
	require.Equal(w.t, http.StatusOK, w.get(at.Path, nobody()).status)
	return at.Fragment
}

// cookies are what an answer sets, by name.
func (a answer) cookies() map[string]*http.Cookie {
	a.t.Helper()
	set := map[string]*http.Cookie{}
	for _, line := range a.header.Values("Set-Cookie") {
		one, err := http.ParseSetCookie(line)
		require.NoError(a.t, err)
		require.True(a.t, one.HttpOnly)
		require.Equal(a.t, http.SameSiteStrictMode, one.SameSite)
		set[one.Name] = one
	}
	return set
}

// session signs a browser in.
func (w *world) session() string {
	w.t.Helper()
	a := w.post("/api/auth/redeem", map[string]any{"code": w.code(), "cookie": true}, nobody())
	require.Equal(w.t, http.StatusOK, a.status, "%s", a.body)
	return a.cookies()["vibeflow_access"].Value
}

func expiredSession(t *testing.T) string {
	t.Helper()
	past, err := auth.NewTokens(signingKey, func() time.Time { return time.Now().Add(-time.Hour) })
	require.NoError(t, err)
	token, _, err := past.Access("", "sess_1")
	require.NoError(t, err)
	return token
}

func unsignedSession(t *testing.T) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.RegisteredClaims{Issuer: "vibeflow", Audience: jwt.ClaimStrings{"api"},
		ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour))}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	return token
}

func TestEveryOperationWantsTheOwner(t *testing.T) {
	w := newWorld(t)
	key := into[apigen.CreatedKey](w.post("/api/keys/generate", map[string]string{"name": "k"}), http.StatusCreated).Secret
	session := w.session()
	intruders := map[string]struct {
		status  int
		changes []with
	}{
		"nobody":               {http.StatusUnauthorized, []with{nobody()}},
		"an empty token":       {http.StatusUnauthorized, []with{bearer("")}},
		"a wrong token":        {http.StatusUnauthorized, []with{bearer("wrong")}},
		"a longer token":       {http.StatusUnauthorized, []with{bearer(ownerToken + "x")}},
		"a token by Basic":     {http.StatusUnauthorized, []with{header("Authorization", "Basic "+ownerToken)}},
		"an API key":           {http.StatusForbidden, []with{bearer(key)}},
		"an expired session":   {http.StatusUnauthorized, []with{cookie(expiredSession(t))}},
		"an unsigned session":  {http.StatusUnauthorized, []with{cookie(unsignedSession(t))}},
		"another site's page":  {http.StatusForbidden, []with{cookie(session), header("Sec-Fetch-Site", "cross-site")}},
		"another port's page":  {http.StatusForbidden, []with{cookie(session), header("Sec-Fetch-Site", "same-site")}},
		"another site, no SFS": {http.StatusForbidden, []with{cookie(session), header("Origin", "http://evil.example")}},
		"a page without site":  {http.StatusForbidden, []with{cookie(session), header("Origin", "null")}},
	}
	ops := append(w.check.operations(), operation{method: http.MethodGet, path: "/metrics"}, operation{method: http.MethodGet, path: "/temporal"},
		operation{method: http.MethodGet, path: "/temporal/"}, operation{method: http.MethodPost, path: "/temporal/api/x"}, operation{method: http.MethodGet, path: "/api/no-such-path"})
	for _, op := range ops {
		op.path = strings.NewReplacer("{id}", "some_id", "{model}", "some_id", "{name}", "signup").Replace(op.path)
		for who, intruder := range intruders {
			a := w.call(op.method, op.path, nil, intruder.changes...)
			if op.public || (who == "an API key" && op.access == "inference") {
				continue
			}
			require.Equal(t, intruder.status, a.status, "%s %s as %s", op.method, op.path, who)
			a.refusal(op, intruder.status)
			if intruder.status == http.StatusUnauthorized {
				require.Equal(t, "Bearer", a.header.Get("WWW-Authenticate"))
			}
		}
	}
}

func TestProbesArePublicAndSayNothing(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, "ok", into[apigen.Health](w.get("/healthz", nobody()), http.StatusOK).Status)
	require.Equal(t, map[string]string{"database": "ok", "storage": "ok"}, into[apigen.Health](w.get("/readyz", nobody()), http.StatusOK).Checks)
	require.Equal(t, http.StatusOK, w.get("/api/openapi.yaml", nobody()).status)
	require.Contains(t, string(w.get("/metrics").body), "vibeflow_http_requests_total")
}

func TestTheSignInLinkOpensOnce(t *testing.T) {
	w := newWorld(t)
	code := w.code()
	redeem := func(code string) answer {
		return w.post("/api/auth/redeem", map[string]any{"code": code, "cookie": true}, nobody())
	}
	require.Equal(t, http.StatusForbidden, w.post("/api/auth/redeem", map[string]any{"code": code, "cookie": true}, nobody(),
		header("Sec-Fetch-Site", "cross-site")).status, "a page elsewhere cannot sign a browser in")
	require.Len(t, redeem(code).cookies(), 2)
	a := redeem(code)
	a.problem(http.StatusUnauthorized)
	require.Empty(t, a.header.Get("Set-Cookie"))
	redeem("guess").problem(http.StatusUnauthorized)
}

func TestASignedInBrowserIsTheOwner(t *testing.T) {
	w := newWorld(t)
	session := w.session()
	require.Equal(t, http.StatusOK, w.get("/api/datasets", cookie(session)).status)
	require.Equal(t, http.StatusOK, w.get("/api/datasets", cookie(session), header("Sec-Fetch-Site", "same-origin")).status)
	require.Equal(t, http.StatusCreated, w.post("/api/keys/generate", map[string]string{"name": "k"}, cookie(session),
		header("Origin", "http://"+w.address)).status)
	require.Equal(t, http.StatusOK, w.get("/v1/models", cookie(session)).status, "the web app asks models too")
	require.Equal(t, http.StatusForbidden, w.get("/v1/models", cookie(session), header("Sec-Fetch-Site", "cross-site")).status)
}

func TestForeignHostNamesAreRefused(t *testing.T) {
	w := newWorld(t, func(o *api.Options) { o.Hosts = []string{"vibeflow.example"} })
	for _, host := range []string{"evil.example", "evil.example:8400", "127.0.0.1.evil.example", "localhost.evil.example", "169.254.169.254", "[::2]:80"} {
		for _, path := range []string{"/healthz", "/api/datasets", "/signin", "/v1/models", "/"} {
			require.Equal(t, http.StatusForbidden, w.get(path, header("Host", host)).status, "%s at %s", path, host)
		}
	}
	for _, host := range []string{"localhost:8400", "LOCALHOST", "[::1]:8400", "127.0.0.1", "vibeflow.example", "VibeFlow.Example:443"} {
		require.Equal(t, http.StatusOK, w.get("/healthz", header("Host", host)).status, host)
	}
}

func TestPagesCannotBeFramedOrRunScripts(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/", "/api/datasets", "/no-such-path"} {
		h := w.get(path).header
		require.Equal(t, "DENY", h.Get("X-Frame-Options"))
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
		require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'")
	}
}

func TestTemporalsUIGetsItsSecretAndNotOurs(t *testing.T) {
	var seen *http.Request
	ui := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { seen = r; _, _ = rw.Write([]byte("runs")) }))
	defer ui.Close()
	w := newWorld(t, func(o *api.Options) { o.TemporalUI, o.TemporalToken = func() string { return ui.URL }, "temporal's" })
	session := w.session()
	a := w.get("/temporal/namespaces?x=1", cookie(session), func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "_csrf", Value: "u"}) })
	require.Equal(t, "runs", string(a.body))
	require.Equal(t, "/temporal/namespaces?x=1", seen.RequestURI)
	require.Equal(t, "Bearer temporal's", seen.Header.Get("Authorization"))
	require.Equal(t, "_csrf=u", seen.Header.Get("Cookie"), "the UI's own cookie goes along, our session does not")

	ui.Close()
	require.Equal(t, "unavailable", w.get("/temporal/").problem(http.StatusServiceUnavailable).Code)
	require.Equal(t, "unavailable", newWorld(t).get("/temporal/").problem(http.StatusServiceUnavailable).Code)
}

func TestRequestIDsOfCallersAreTakenOnlyIfHarmless(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, "abc-1", w.get("/healthz", header("X-Request-Id", "abc-1")).header.Get("X-Request-Id"))
	for _, id := range []string{"", "a b", strings.Repeat("x", 65), "<script>"} {
		require.Regexp(t, `^req_[0-9a-f]{24}$`, w.get("/healthz", header("X-Request-Id", id)).header.Get("X-Request-Id"))
	}
}
