package api_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api"
	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/internal/limit"
)

const slow = 1e-6 // a rate at which nothing is refilled while a test runs

func limited(l api.Limits) func(*api.Options) { return func(o *api.Options) { o.Limits = l } }

func TestAUsersRequestsAreLimited(t *testing.T) {
	const burst = 40
	w := newWorld(t, limited(api.Limits{User: limit.Rule{PerSecond: slow, Burst: burst}}))
	w.owner()
	ada, bob := bearer(w.signUp("ada@example.com").AccessToken), bearer(w.signUp("bob@example.com").AccessToken)
	first := w.get("/api/projects", ada)
	require.Equal(t, strconv.Itoa(burst), first.header.Get("RateLimit-Limit"))
	require.Equal(t, strconv.Itoa(burst-1), first.header.Get("RateLimit-Remaining"))
	require.NotEmpty(t, first.header.Get("RateLimit-Reset"))
	var allowed atomic.Int64
	var all sync.WaitGroup
	for range 3 * burst {
		all.Go(func() {
			req, err := http.NewRequest(http.MethodGet, w.url("/api/me"), nil)
			if err != nil {
				return
			}
			ada(req)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return
			}
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				allowed.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, burst-1, allowed.Load(), "exactly as many as are left")
	refused := w.get("/api/me", ada)
	require.Equal(t, "rate_limited", refused.problem(http.StatusTooManyRequests).Code)
	require.Equal(t, "0", refused.header.Get("RateLimit-Remaining"))
	seconds, err := strconv.Atoi(refused.header.Get("Retry-After"))
	require.NoError(t, err)
	require.Positive(t, seconds)
	require.Equal(t, http.StatusOK, w.get("/api/me", bob).status, "others are not disturbed")
	require.Equal(t, http.StatusOK, w.get("/healthz", nobody()).status)
	for range 2 * burst {
		require.Equal(t, http.StatusOK, w.get("/api/me").status, "the machine's owner is not limited")
	}
}

func TestAKeysRequestsAreLimited(t *testing.T) {
	w := newWorld(t, limited(api.Limits{Key: limit.Rule{PerSecond: slow, Burst: 2}}))
	keys := make([]with, 2)
	for i := range keys {
		keys[i] = bearer(into[apigen.CreatedKey](w.post("/api/keys/generate", map[string]string{"name": "k"}), http.StatusCreated).Secret)
	}
	for range 2 {
		require.Equal(t, http.StatusOK, w.get("/v1/models", keys[0]).status)
	}
	refused := w.get("/v1/models", keys[0])
	require.Equal(t, http.StatusTooManyRequests, refused.status)
	require.Contains(t, string(refused.body), `"rate_limit_exceeded"`)
	require.NotEmpty(t, refused.header.Get("Retry-After"))
	require.Equal(t, http.StatusOK, w.get("/v1/models", keys[1]).status)
}

func TestStrangersAreLimitedByTheirAddress(t *testing.T) {
	w := newWorld(t, limited(api.Limits{Address: limit.Rule{PerSecond: slow, Burst: 5}}), func(o *api.Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	from := func(hops string) []with { return []with{bearer("guess"), header("X-Forwarded-For", hops)} }
	for range 5 {
		w.get("/api/me", from("1.2.3.4")...).problem(http.StatusUnauthorized)
	}
	w.get("/api/me", from("1.2.3.4")...).problem(http.StatusTooManyRequests)
	w.get("/api/me", from("9.9.9.9, 1.2.3.4, 10.0.0.7")...).problem(http.StatusTooManyRequests) // what a client sends of its own counts for nothing
	w.get("/api/me", from("1.2.3.5")...).problem(http.StatusUnauthorized)
}

func TestNobodyIsBelievedWhoIsNoProxy(t *testing.T) {
	w := newWorld(t, limited(api.Limits{Address: limit.Rule{PerSecond: slow, Burst: 2}}))
	for i := range 3 {
		status := http.StatusUnauthorized
		if i == 2 {
			status = http.StatusTooManyRequests
		}
		w.get("/api/me", nobody(), header("X-Forwarded-For", fmt.Sprintf("1.2.3.%d", i))).problem(status)
	}
}

func TestOtherSitesReadNothingUnlessTheyAreNamed(t *testing.T) {
	const friend, foe = "https://friend.example", "https://foe.example"
	w := newWorld(t, func(o *api.Options) { o.Origins = []string{friend} })
	preflight := func(origin string) answer {
		return w.call(http.MethodOptions, "/api/projects", nil, nobody(), header("Origin", origin), header("Access-Control-Request-Method", "POST"),
			header("Access-Control-Request-Headers", "authorization,content-type"))
	}
	require.Equal(t, friend, preflight(friend).header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, strings.ToLower(preflight(friend).header.Get("Access-Control-Allow-Headers")), "authorization")
	require.Empty(t, preflight(foe).header.Get("Access-Control-Allow-Origin"))
	a := w.get("/api/projects", header("Origin", friend))
	require.Equal(t, friend, a.header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, a.header.Values("Vary"), "Origin")
	require.Empty(t, a.header.Get("Access-Control-Allow-Credentials"), "cookies are for our own pages")
	require.Empty(t, w.get("/api/projects", header("Origin", foe)).header.Get("Access-Control-Allow-Origin"))
	w.get("/api/projects", cookie(w.session()), header("Origin", friend)).problem(http.StatusForbidden)
	login := map[string]string{"email": "a@b.c", "password": "x"}
	w.post("/api/auth/login", login, nobody(), header("Origin", friend)).problem(http.StatusUnauthorized)
	w.post("/api/auth/login", login, nobody(), header("Origin", foe)).problem(http.StatusForbidden)

	closed := newWorld(t)
	require.Empty(t, closed.get("/api/projects", header("Origin", friend)).header.Get("Access-Control-Allow-Origin"))
	require.Empty(t, closed.call(http.MethodOptions, "/api/projects", nil, header("Origin", friend), header("Access-Control-Request-Method", "POST")).
		header.Get("Access-Control-Allow-Origin"))
}

// TestARequestThatDripsIsCutOff: of a body that never ends, the client learns that it took too long.
func TestARequestThatDripsIsCutOff(t *testing.T) {
	w := newWorld(t, func(o *api.Options) { o.BodyTime = 100 * time.Millisecond })
	for _, path := range []string{"/api/projects", "/v1/chat/completions", "/api/datasets/upload"} {
		conn, err := net.Dial("tcp", w.address)
		require.NoError(t, err)
		contentType, begun := "application/json", `{"name":`
		if strings.HasSuffix(path, "upload") {
			contentType, begun = "multipart/form-data; boundary=b", "--b\r\n"
		}
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\n%s", path, w.address, ownerToken, contentType, begun)
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		answer, err := io.ReadAll(conn)
		require.NoError(t, err, path)
		require.Contains(t, string(answer), "400 Bad Request", path)
		require.Contains(t, string(answer), "did not arrive", path)
		require.NoError(t, conn.Close())
	}
	require.Equal(t, http.StatusCreated, w.post("/api/projects", `{"name":"in time"}`).status)
}
