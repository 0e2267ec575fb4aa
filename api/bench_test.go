package api_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api"
)

// BenchmarkRequest is what a small request costs apart from the network: who asks, what they may, and one row.
func BenchmarkRequest(b *testing.B) {
	w := newWorld(b)
	w.owner()
	token := w.signUp("ada@example.com").AccessToken
	server, err := api.New(w.options)
	require.NoError(b, err)
	handler := server.Handler()
	for b.Loop() {
		req := httptest.NewRequest(http.MethodGet, "/api/me", nil)
		req.Host = "localhost"
		req.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		if rec.Code != http.StatusOK {
			b.Fatal(rec.Body.String())
		}
	}
}
