package api_test

import (
	"net/http"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api"
)

// TestTheReference is for everybody, for the document is; ui/tests/browser reads it.
func TestTheReference(t *testing.T) {
	built := fstest.MapFS{"index.html": {Data: []byte("<p>app")}, "api/docs.html": {Data: []byte(`<script src="/reference/start.js"></script>`)}}
	w := newWorld(t, func(o *api.Options) { o.App = built })
	a := w.get("/api/docs", nobody())
	require.Equal(t, http.StatusOK, a.status)
	require.Equal(t, "text/html; charset=utf-8", a.header.Get("Content-Type"))
	policy := a.header.Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'; script-src 'self';")
	require.NotContains(t, policy, "unsafe")

	require.Equal(t, policy, w.call(http.MethodHead, "/api/docs", nil, nobody()).header.Get("Content-Security-Policy"))

	p := newWorld(t).get("/api/docs", nobody()).problem(http.StatusNotFound)
	require.Contains(t, p.Remedy, "/api/openapi.yaml")
}
