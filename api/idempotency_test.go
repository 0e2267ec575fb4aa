package api_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

func key(name string) with { return header("Idempotency-Key", name) }

// starts are the requests that start work, and where what they start is listed.
var starts = map[string]struct{ body, other, list string }{
	"/api/training/start":   {`{"dataset_id":"ds_ready","config":{"max_length":64}}`, `{"dataset_id":"ds_ready","config":{"max_length":65}}`, "/api/training"},
	"/api/evaluation/start": {`{"dataset_id":"ds_ready","model_id":"model_tuned"}`, `{"dataset_id":"ds_ready","model_id":"model_tuned","max_rows":3}`, "/api/evaluation"},
	"/api/exports":          {`{"model_id":"model_tuned"}`, `{"model_id":"model_tuned","format":"merged"}`, "/api/exports"},
	"/api/pipelines":        {`{"dataset_id":"ds_ready"}`, `{"dataset_id":"ds_ready","goal":"x"}`, "/api/pipelines"},
	"/api/deployments":      {`{"model_id":"` + baseModel + `"}`, `{"model_id":"model_tuned"}`, "/api/deployments"},
}

func startable(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.models()
	w.ready("ds_ready", "prompt_completion")
	return w
}

func (w *world) count(list string) int {
	w.t.Helper()
	return len(into[struct{ Items []any }](w.get(list+"?limit=200"), http.StatusOK).Items)
}

type made struct{ ID string }

func TestAKeyStartsOneThing(t *testing.T) {
	w := startable(t)
	for path, s := range starts {
		first := w.post(path, s.body, key("k-"+path))
		id := into[made](first, http.StatusCreated).ID
		require.Empty(t, first.header.Get("Idempotency-Replayed"))
		again := w.post(path, "\n "+s.body, key("k-"+path))
		require.Equal(t, id, into[made](again, http.StatusCreated).ID, path)
		require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
		require.Equal(t, 1, w.count(s.list), path)

		p := w.post(path, s.other, key("k-"+path)).problem(http.StatusConflict)
		require.Equal(t, "Idempotency-Key", p.Field)
		require.Equal(t, 1, w.count(s.list), path)
		into[made](w.post(path, s.other, key("other")), http.StatusCreated)
		require.Equal(t, 2, w.count(s.list), "%s: another key is another request", path)
		w.post(path, s.body, key("other")).problem(http.StatusConflict)
		require.Equal(t, 2, w.count(s.list), path)
		w.later(store.IdempotencyKeyLife + time.Second)
	}
}

func TestAKeyOfAnUploadStandsForItsContent(t *testing.T) {
	w := newWorld(t)
	send := func(name, content string) answer {
		body, contentType := form(t, field{"file", name, content})
		return w.call(http.MethodPost, "/api/datasets/upload", body, header("Content-Type", contentType), key("up"))
	}
	id := into[made](send("q.jsonl", "{}\n"), http.StatusCreated).ID
	files := len(w.files())
	again := send("q.jsonl", "{}\n")
	require.Equal(t, id, into[made](again, http.StatusCreated).ID)
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	send("q.jsonl", "{ }\n").problem(http.StatusConflict)
	require.Equal(t, 1, w.count("/api/datasets"))
	require.Len(t, w.files(), files, "what was sent again is not kept")
}

func TestRacingRequestsWithOneKeyStartOneThing(t *testing.T) {
	w := startable(t)
	for path, s := range starts {
		ids := make([]string, 6)
		var wait sync.WaitGroup
		for i := range ids {
			wait.Go(func() { ids[i] = into[made](w.post(path, s.body, key("race"+path)), http.StatusCreated).ID })
		}
		wait.Wait()
		for _, id := range ids {
			require.Equal(t, ids[0], id, path)
		}
		require.Equal(t, 1, w.count(s.list), path)
	}
}

// TestAKeySurvivesACrashBeforeTheAnswer sends a request, leaves before its answer, and asks the next server again.
func TestAKeySurvivesACrashBeforeTheAnswer(t *testing.T) {
	w := startable(t)
	wake, cancel := w.store.Subscribe("")
	defer cancel()
	body := starts["/api/training/start"].body
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", w.address)
	require.NoError(t, err)
	_, err = fmt.Fprintf(conn, "POST /api/training/start HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nIdempotency-Key: lost\r\nContent-Length: %d\r\n\r\n%s",
		w.address, ownerToken, len(body), body)
	require.NoError(t, err)
	<-wake // committed
	require.NoError(t, conn.Close())
	w.stop()
	w.start()
	again := w.post("/api/training/start", body, key("lost"))
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	into[made](again, http.StatusCreated)
	require.Equal(t, 1, w.count("/api/training"))
}

func TestKeysAreTheirUsersAndExpire(t *testing.T) {
	w := startable(t)
	body := starts["/api/training/start"].body
	w.owner()
	ada := w.signUp("ada@example.com")
	_, err := w.store.ChangeProject(t.Context(), store.DefaultProject, 0, func(p *store.Project) error {
		p.UserID = ada.User.ID
		return nil
	})
	require.NoError(t, err)
	owners := into[made](w.post("/api/training/start", body, key("mine")), http.StatusCreated)
	adas := w.post("/api/training/start", body, key("mine"), bearer(ada.AccessToken))
	require.NotEqual(t, owners.ID, into[made](adas, http.StatusCreated).ID)
	w.later(store.IdempotencyKeyLife + time.Second)
	require.NotEqual(t, owners.ID, into[made](w.post("/api/training/start", body, key("mine")), http.StatusCreated).ID)
	w.post("/api/training/start", body, key("with a space")).problem(http.StatusBadRequest)
}

func TestARefusedRequestLeavesItsKeyFree(t *testing.T) {
	w := startable(t)
	w.post("/api/training/start", `{"dataset_id":"ds_none"}`, key("k")).problem(http.StatusNotFound)
	into[made](w.post("/api/training/start", starts["/api/training/start"].body, key("k")), http.StatusCreated)
	_, err := w.store.Create(context.WithoutCancel(t.Context()), store.Creation{Kind: contract.KindJob, ID: "job_x", Payload: contract.JobCreated{}})
	require.NoError(t, err, "VibeFlow's own work has no key")
}
