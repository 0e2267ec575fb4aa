package api_test

import (
	"context"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// TestWhatIsRememberedIsNeverOld: whoever has been told of a change, by an answer or by an event, reads it.
func TestWhatIsRememberedIsNeverOld(t *testing.T) {
	w := newWorld(t)
	everything(w)
	read := func() apigen.Job { return into[apigen.Job](w.get("/api/training/job_1"), http.StatusOK) }
	wake, cancel := w.store.Subscribe("job/job_1")
	defer cancel()
	var readers sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 4 { // who keep the memory filled
		readers.Go(func() {
			for ctx.Err() == nil {
				w.get("/api/training/job_1")
			}
		})
	}
	for step := 1; step <= 100; step++ {
		go w.append("job/job_1", contract.RunnerMetrics, map[string]any{"step": step, "loss": 1.5})
		<-wake
		require.Equal(t, step, read().Step, "who was woken")
	}
	stop()
	readers.Wait()
	require.Equal(t, http.StatusAccepted, w.post("/api/training/job_1/pause", nil).status)
	require.Equal(t, apigen.Status("pausing"), read().Status, "who has changed it")
}

// TestWhatIsRememberedIsForThoseWhoReachIt: answers are kept by what their caller reaches.
func TestWhatIsRememberedIsForThoseWhoReachIt(t *testing.T) {
	x := newTenants(t)
	ada, bob := bearer(x.ada.AccessToken), bearer(x.bob.AccessToken)
	one := x.get("/api/training/job_1", ada)
	again := x.get("/api/training/job_1", ada)
	require.Equal(t, one.body, again.body)
	require.Equal(t, "application/json", again.header.Get("Content-Type"))
	require.NotEqual(t, one.header.Get("X-Request-Id"), again.header.Get("X-Request-Id"))
	x.get("/api/training/job_1", bob).problem(http.StatusNotFound)
	require.Empty(t, into[apigen.JobPage](x.get("/api/training", bob), http.StatusOK).Items)
	require.Len(t, into[apigen.JobPage](x.get("/api/training", ada), http.StatusOK).Items, 1)
	require.Len(t, into[apigen.JobPage](x.get("/api/training?project_id="+store.DefaultProject, ada), http.StatusOK).Items, 1)
	require.Empty(t, into[apigen.JobPage](x.get("/api/training?status=failed", ada), http.StatusOK).Items)
	require.Equal(t, apigen.ProjectRole("owner"), into[apigen.Project](x.get("/api/projects/"+store.DefaultProject, ada), http.StatusOK).Role)
	x.share("viewer")
	require.Equal(t, apigen.ProjectRole("viewer"), into[apigen.Project](x.get("/api/projects/"+store.DefaultProject, bob), http.StatusOK).Role)
	project := x.get("/api/projects/"+store.DefaultProject, ada)
	require.Equal(t, project.header.Get("ETag"), x.get("/api/projects/"+store.DefaultProject, ada).header.Get("ETag"))
	require.NotEmpty(t, project.header.Get("ETag"))
}
