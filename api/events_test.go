package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

func jsonInto(data []byte, v any) error { return json.Unmarshal(data, v) }

// watch reads a stream of events until it ends, or until enough have come.
func (w *world) watch(path string, enough int, changes ...with) (events []contract.Event, ended bool) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url(path), nil)
	require.NoError(w.t, err)
	bearer(ownerToken)(req)
	for _, change := range changes {
		change(req)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, res.Body.Close()) }()
	require.Equal(w.t, http.StatusOK, res.StatusCode)
	require.Equal(w.t, "text/event-stream", res.Header.Get("Content-Type"))
	scanner := bufio.NewScanner(res.Body)
	for len(events) < enough && scanner.Scan() {
		if scanner.Text() == "event: end" {
			return events, true
		}
		if data, ok := strings.CutPrefix(scanner.Text(), "data: "); ok {
			var e contract.Event
			require.NoError(w.t, json.Unmarshal([]byte(data), &e))
			events = append(events, e)
		}
	}
	return events, false
}

const forever = 1 << 30

func seqs(events []contract.Event) []int64 {
	out := []int64{}
	for _, e := range events {
		out = append(out, e.Seq)
	}
	return out
}

func TestEventsComeOnceInOrderAndEnd(t *testing.T) {
	w := newWorld(t)
	w.job("job_1") // created, queued
	for i := range 4 {
		w.append("job/job_1", contract.RunnerMetrics, map[string]int{"step": i + 1})
	}
	events, ended := w.watch("/api/training/job_1/events?after=2", 2)
	require.False(t, ended)
	require.Equal(t, []int64{3, 4}, seqs(events))

	w.tell(contract.KindJob, "job_1", contract.EventCompleted, contract.JobCompleted{ModelID: "m"})
	events, ended = w.watch("/api/training/job_1/events", forever, header("Last-Event-ID", "4"))
	require.True(t, ended)
	require.Equal(t, []int64{5, 6, 7}, seqs(events))
	events, ended = w.watch("/api/training/job_1/events?after=7", forever)
	require.True(t, ended, "who has seen all is told that there is no more")
	require.Empty(t, events)
	_, ended = w.watch("/api/training/job_1/events?after=9223372036854775807", forever)
	require.True(t, ended, "who claims to have seen more does not wait for ever")
	w.get("/api/training/none/events").problem(http.StatusNotFound)
}

func TestEveryKindHasItsEvents(t *testing.T) {
	w := newWorld(t)
	everything(w)
	for path, id := range map[string]string{"datasets": "ds_ready", "training": "job_1", "evaluation": "eval_1", "deployments": "dep_1",
		"exports": "exp_1", "pipelines": "pipe_1"} {
		events, _ := w.watch(fmt.Sprintf("/api/%s/%s/events", path, id), 1)
		require.True(t, strings.HasSuffix(events[0].Type, ".created"), path)
		w.get(fmt.Sprintf("/api/%s/none/events", path)).problem(http.StatusNotFound)
	}
}

func TestTheWebSocketTellsTheSame(t *testing.T) {
	w := newWorld(t)
	w.job("job_1")
	for i := range 700 {
		w.append("job/job_1", contract.RunnerMetrics, map[string]int{"step": i + 1})
	}
	first := w.dial("/api/training/job_1/stream?after=1")
	var last int64 = 1
	for range 300 {
		last = nextEvent(t, first, last)
	}
	require.NoError(t, first.Close())
	w.tell(contract.KindJob, "job_1", contract.EventFailed, contract.Errorf(contract.CodeBadData, "no"))
	second := w.dial(fmt.Sprintf("/api/training/job_1/stream?after=%d", last))
	for last < 703 {
		last = nextEvent(t, second, last)
	}
	_, _, err := second.ReadMessage()
	require.Error(t, err, "the server hangs up after the last event")

	w.get("/api/training/job_1/stream").problem(http.StatusBadRequest)
	w.get("/api/training/none/stream").problem(http.StatusNotFound)
}

func (w *world) dial(path string) *websocket.Conn {
	w.t.Helper()
	conn, res, err := websocket.DefaultDialer.DialContext(w.t.Context(), "ws://"+w.address+path, http.Header{"Authorization": {"Bearer " + ownerToken}})
	require.NoError(w.t, err)
	require.NoError(w.t, res.Body.Close())
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func nextEvent(t *testing.T, conn *websocket.Conn, after int64) int64 {
	t.Helper()
	var e contract.Event
	require.NoError(t, conn.ReadJSON(&e))
	require.Equal(t, after+1, e.Seq)
	return e.Seq
}

func TestAStreamEndsWhenItsWatcherMayNotSeeItAnyMore(t *testing.T) {
	for name, watches := range map[string]func(x *tenants, job string, as with, began func()) int{"events": (*tenants).followEvents, "socket": (*tenants).followSocket} {
		t.Run(name, func(t *testing.T) {
			x := newTenants(t)
			ada := bearer(x.ada.AccessToken)
			key := x.key(ada, store.DefaultProject, "read")
			for i, c := range []struct {
				who  string
				as   with
				ends func()
			}{
				{"a member", x.share("viewer"), func() { x.call(http.MethodDelete, sharedMembers+"/"+x.bob.User.ID, nil, ada) }},
				{"a key", bearer(key.Secret), func() { x.call(http.MethodDelete, "/api/keys/"+key.Key.ID, nil, ada) }},
				{"who logs out", ada, func() { x.post("/api/auth/logout", map[string]string{}, ada) }},
			} {
				job := fmt.Sprintf("job_watched%d", i)
				x.job(job) // created, queued
				told := watches(x, job, c.as, func() {
					c.ends()
					x.append("job/"+job, contract.RunnerMetrics, map[string]int{"step": 1})
					x.tell(contract.KindJob, job, contract.EventCompleted, contract.JobCompleted{ModelID: "m"})
				})
				require.Equal(t, 2, told, "%s was told of what came after", c.who)
			}
		})
	}
}

// followEvents counts what a watcher is told of until the stream ends; began is called when it has been told of two events.
func (x *tenants) followEvents(job string, as with, began func()) (told int) {
	x.t.Helper()
	req, err := http.NewRequestWithContext(x.t.Context(), http.MethodGet, x.url("/api/training/"+job+"/events"), nil)
	require.NoError(x.t, err)
	as(req)
	res, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(x.t, err)
	defer func() { require.NoError(x.t, res.Body.Close()) }()
	require.Equal(x.t, http.StatusOK, res.StatusCode)
	for scanner := bufio.NewScanner(res.Body); scanner.Scan(); {
		require.NotEqual(x.t, "event: end", scanner.Text(), "there was more")
		if strings.HasPrefix(scanner.Text(), "data: ") {
			if told++; told == 2 {
				began()
			}
		}
	}
	return told
}

// followSocket is followEvents over a WebSocket.
func (x *tenants) followSocket(job string, as with, began func()) (told int) {
	x.t.Helper()
	req, err := http.NewRequestWithContext(x.t.Context(), http.MethodGet, "/", nil)
	require.NoError(x.t, err)
	as(req)
	conn, res, err := websocket.DefaultDialer.DialContext(x.t.Context(), "ws://"+x.address+"/api/training/"+job+"/stream", req.Header)
	require.NoError(x.t, err)
	require.NoError(x.t, res.Body.Close())
	defer func() { _ = conn.Close() }()
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			return told
		}
		if told++; told == 2 {
			began()
		}
	}
}

func TestAStreamEndsWithTheServerAndGoesOnWithTheNext(t *testing.T) {
	w := newWorld(t)
	w.job("job_1")
	told := make(chan int64, 10)
	done := make(chan error, 1)
	lost := make(chan struct{}, 10)
	go func() {
		done <- w.client().Follow(w.t.Context(), "/api/training/job_1/events", 0, func(e contract.Event) error {
			told <- e.Seq
			return nil
		}, func(error) { lost <- struct{}{} })
	}()
	require.EqualValues(t, 1, <-told)
	require.EqualValues(t, 2, <-told)
	w.stop() // returns although the stream was open
	<-lost
	w.append("job/job_1", contract.RunnerMetrics, map[string]int{"step": 1})
	w.start()
	require.EqualValues(t, 3, <-told)
	w.tell(contract.KindJob, "job_1", contract.EventCompleted, contract.JobCompleted{ModelID: "m"})
	require.EqualValues(t, 4, <-told)
	require.NoError(t, <-done)
	require.Empty(t, told, "nothing twice")
}

// TestSecretsStayInTheServer reads everything that the API tells and looks for what it must not.
func TestSecretsStayInTheServer(t *testing.T) {
	w := newWorld(t, func(o *api.Options) { o.TemporalToken = "temporal's-secret" })
	resources := everything(w)
	w.deployment("dep_2", tunedModel, "http://127.0.0.1:45678", "the-engine's-name")
	var all strings.Builder
	for path, item := range w.check.doc.Paths.Map() {
		if item.Get == nil || strings.HasSuffix(path, "/stream") {
			continue
		}
		kind := strings.Split(path, "/")[2:]
		path = strings.Replace(path, "{id}", resources[append(kind, "")[0]], 1)
		if strings.HasSuffix(path, "/events") {
			events, _ := w.watch(path, 1)
			more, _ := w.watch(path, lastSeq(w, path))
			data, err := json.Marshal(append(events, more...))
			require.NoError(t, err)
			all.Write(data)
			continue
		}
		all.Write(w.get(path).body)
	}
	all.Write(w.get("/api/deployments/dep_2").body)
	all.Write(w.get("/v1/models").body)
	all.Write(w.get("/metrics").body)
	for _, secret := range []string{engineSecret, hubSecret, ownerToken, "temporal's-secret", "127.0.0.1:1\"", ":45678", string(signingKey)} {
		require.NotContains(t, all.String(), secret)
	}
	require.Contains(t, all.String(), `"deployment.serving"`, "the events were there to be looked at")
}

func lastSeq(w *world, path string) int {
	parts := strings.Split(path, "/")
	kind := map[string]contract.Kind{"datasets": contract.KindDataset, "training": contract.KindJob, "evaluation": contract.KindEvaluation,
		"deployments": contract.KindDeployment, "exports": contract.KindExport, "pipelines": contract.KindPipeline}[parts[2]]
	last, err := w.store.LastSeq(w.t.Context(), contract.Stream(kind, parts[3]))
	require.NoError(w.t, err)
	return int(last)
}
