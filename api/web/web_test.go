package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func site(t *testing.T, files map[string]string) *Site {
	t.Helper()
	build := fstest.MapFS{}
	for name, body := range files {
		build[name] = &fstest.MapFile{Data: []byte(body)}
	}
	s, err := New(build)
	require.NoError(t, err)
	return s
}

func app(t *testing.T) *Site {
	t.Helper()
	return site(t, map[string]string{
		"README.md":              "not a page",
		"index.html":             `<html><script src="/a.js"></script><script>start()</script><p style="width:42%">x</p></html>`,
		"job.html":               `<html>job</html>`,
		"job.html.br":            "brotli",
		"job.html.gz":            "gzip",
		"job.txt":                "payload",
		"404.html":               "<html>no such page</html>",
		"_next/static/app-1.js":  "run()",
		"_next/static/x.$d$.txt": "payload",
	})
}

func get(s *Site, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	if !s.Serve(w, r) {
		w.Code = 0
	}
	return w
}

func TestPagesHaveTheirPlainNames(t *testing.T) {
	s := app(t)
	require.Contains(t, get(s, "/").Body.String(), "start()")
	require.Equal(t, "<html>job</html>", get(s, "/job?id=job_1").Body.String())
	require.Equal(t, "<html>job</html>", get(s, "/job/").Body.String())
	require.Equal(t, "payload", get(s, "/_next/static/x.$d$.txt").Body.String())
	missing := get(s, "/nowhere")
	require.Equal(t, http.StatusNotFound, missing.Code)
	require.Contains(t, missing.Body.String(), "no such page")
	require.Equal(t, http.StatusNotFound, get(s, "/../../etc/passwd").Code)
}

func TestHashedNamesAreKeptAndTheRestIsAskedFor(t *testing.T) {
	s := app(t)
	require.Equal(t, forever, get(s, "/_next/static/app-1.js").Header().Get("Cache-Control"))
	page := get(s, "/job")
	require.Equal(t, ask, page.Header().Get("Cache-Control"))
	again := get(s, "/job", "If-None-Match", page.Header().Get("ETag"))
	require.Equal(t, http.StatusNotModified, again.Code)
	require.Empty(t, again.Body.String())
}

func TestTheSmallestFormThatTheBrowserTakes(t *testing.T) {
	s := app(t)
	for accepts, body := range map[string]string{"gzip, br": "brotli", "gzip": "gzip", "": "<html>job</html>", "br;q=0, gzip": "gzip", "brotli": "<html>job</html>"} {
		w := get(s, "/job", "Accept-Encoding", accepts)
		require.Equal(t, body, w.Body.String(), accepts)
		require.Equal(t, "Accept-Encoding", w.Header().Get("Vary"))
	}
	br := get(s, "/job", "Accept-Encoding", "br")
	require.NotEqual(t, get(s, "/job").Header().Get("ETag"), br.Header().Get("ETag"), "another form is another entity")
	require.Equal(t, http.StatusNotModified, get(s, "/job", "Accept-Encoding", "br", "If-None-Match", br.Header().Get("ETag")).Code)
}

func TestThePolicyNamesWhatThePageBringsAndNothingElse(t *testing.T) {
	policy := get(app(t), "/").Header().Get("Content-Security-Policy")
	require.NotContains(t, policy, "unsafe-inline")
	require.NotContains(t, policy, "unsafe-eval")
	// printf 'start()' | openssl dgst -sha256 -binary | base64
	require.Contains(t, policy, "script-src 'self' 'sha256-DIm7WJS6ZKDYe5qFLPy+h4JFI9Bol5QmYC57mt3Fb00='")
	require.Contains(t, policy, "'unsafe-hashes' 'sha256-")
	require.NotContains(t, get(app(t), "/job").Header().Get("Content-Security-Policy"), "sha256", "a page allows its own scripts only")
}

func TestABinaryWithoutTheAppSaysHowToBuildIt(t *testing.T) {
	s := site(t, map[string]string{"README.md": "empty"})
	page := get(s, "/")
	require.Equal(t, http.StatusOK, page.Code)
	require.Contains(t, page.Body.String(), "go tool task build")
	require.True(t, strings.HasPrefix(page.Header().Get("Content-Type"), "text/html"))
	require.Zero(t, get(s, "/README.md").Code, "there is nothing else")
}

func TestTheServiceWorkerMayFetchWhatItKeeps(t *testing.T) {
	s := site(t, map[string]string{"index.html": "<html></html>", "sw.js": "keep()"})
	require.Contains(t, get(s, "/sw.js").Header().Get("Content-Security-Policy"), "connect-src 'self'")
}
