package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api"
	"github.com/vibeflow/vibeflow/contract"
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

// BenchmarkJobs asks for 50 jobs, and for one, through the whole handler.
func BenchmarkJobs(b *testing.B) {
	w := newWorld(b)
	for i := range 200 {
		w.job(fmt.Sprintf("job_%03d", i))
		w.tell(contract.KindJob, fmt.Sprintf("job_%03d", i), contract.EventCancelled, struct{}{})
	}
	for step := range 5000 {
		if step%100 == 0 {
			evs := []contract.NewEvent{}
			for i := range 100 {
				evs = append(evs, contract.NewEvent{Type: contract.RunnerMetrics, Payload: json.RawMessage(fmt.Sprintf(`{"step":%d,"epoch":1,"loss":1.5,"learning_rate":0.1}`, step+i+1))})
			}
			_, err := w.store.Append(b.Context(), "job/job_042", evs...)
			require.NoError(b, err)
		}
	}
	server, err := api.New(w.options)
	require.NoError(b, err)
	for name, path := range map[string]string{"list": "/api/training?limit=50", "one": "/api/training/job_042", "curve": "/api/training/job_042/metrics?max_points=300", "me": "/api/me"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				req := httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+path, nil)
				req.Header.Set("Authorization", "Bearer "+ownerToken)
				rec := httptest.NewRecorder()
				server.Handler().ServeHTTP(rec, req)
				require.Equal(b, http.StatusOK, rec.Code)
			}
		})
	}
}
