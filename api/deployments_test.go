package api_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
)

// states are what the API shows of a deployment: alone, in the list, and to OpenAI's SDKs (listed, and the status of asking
// for the one).
func (w *world) states(id, model string) (alone, listed string, served bool, one int) {
	w.t.Helper()
	alone = string(into[apigen.Deployment](w.get("/api/deployments/"+id), http.StatusOK).Status)
	for _, d := range into[apigen.DeploymentPage](w.get("/api/deployments"), http.StatusOK).Items {
		if d.ID == id {
			listed = string(d.Status)
		}
	}
	for _, m := range into[struct{ Data []struct{ ID string } }](w.get("/v1/models"), http.StatusOK).Data {
		served = served || m.ID == model
	}
	return alone, listed, served, w.get("/v1/models/" + model).status
}

func TestADeploymentServesOnlyWhileItsEngineAnswers(t *testing.T) {
	w := newWorld(t)
	serving := func() {
		t.Helper()
		alone, listed, served, one := w.states("dep_1", tunedModel)
		require.Equal(t, []any{"serving", "serving", true, http.StatusOK}, []any{alone, listed, served, one})
	}
	restarting := func(why string) {
		t.Helper()
		alone, listed, served, one := w.states("dep_1", tunedModel)
		require.Equal(t, []any{"restarting", "restarting", false, http.StatusServiceUnavailable}, []any{alone, listed, served, one}, why)
	}
	idle := func(http.ResponseWriter, *http.Request) {}
	first := engineOf(t, idle, "base", "dep_1")
	w.deployment("dep_1", tunedModel, first.URL, "dep_1")
	serving()

	w.stop() // the server alone: the engine goes on
	w.start()
	serving()

	w.stop()
	first.Close() // everything: the log still says that it serves
	w.start()
	restarting("nobody listens")
	require.NotEmpty(t, w.get("/v1/models/"+tunedModel).header.Get("Retry-After"))

	at := func(server *httptest.Server) {
		w.tell(contract.KindDeployment, "dep_1", contract.EventServing, contract.Serving{URL: server.URL, Token: engineSecret, Name: "dep_1", Device: "cpu"})
	}
	at(engineOf(t, idle, "base"))
	restarting("an engine that has not loaded it yet")
	stranger := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		http.Error(rw, "who are you?", http.StatusUnauthorized)
	}))
	defer stranger.Close()
	at(stranger)
	restarting("another program has its port")
	garbled := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "[]") }))
	defer garbled.Close()
	at(garbled)
	restarting("something that is no engine has its port")

	at(engineOf(t, idle, "base", "dep_1"))
	serving()
	require.Equal(t, http.StatusAccepted, w.call(http.MethodDelete, "/api/deployments/dep_1", nil).status)
	require.Equal(t, "stopping", string(into[apigen.Deployment](w.get("/api/deployments/dep_1"), http.StatusOK).Status))
}

func TestAPageOfDeploymentsAsksAnEngineOnce(t *testing.T) {
	w := newWorld(t)
	var asked atomic.Int32
	inner := engineOf(t, nil, "base", "x").Config.Handler
	counting := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		inner.ServeHTTP(rw, r)
	}))
	defer counting.Close()
	redirecting := httptest.NewServer(http.RedirectHandler(counting.URL+"/v1/models", http.StatusTemporaryRedirect))
	defer redirecting.Close()
	const deployments = 20
	for i := range deployments {
		w.deployment(fmt.Sprintf("dep_%d", i), tunedModel, counting.URL, "x")
	}
	w.deployment("dep_r", tunedModel, redirecting.URL, "x")
	page := into[apigen.DeploymentPage](w.get("/api/deployments"), http.StatusOK)
	require.Equal(t, "restarting", string(page.Items[0].Status), "an engine's token follows no redirect")
	for _, d := range page.Items[1:] {
		require.Equal(t, "serving", string(d.Status))
	}
	require.Less(t, asked.Load(), int32(deployments/2), "one answer is enough for a page")
}

// TestAnEngineThatDiesIsTold: who watches a deployment hears that its engine is started again, and once it is back.
func TestAnEngineThatDiesIsTold(t *testing.T) {
	w := newWorld(t)
	w.deployment("dep_1", tunedModel, "http://127.0.0.1:1", "dep_1")
	require.NoError(t, w.store.LoseServing(t.Context(), "dep_1"))
	d, err := w.store.GetDeployment(t.Context(), "dep_1")
	require.NoError(t, err)
	require.Equal(t, contract.StatusServing, d.Status, "a wish, which stands")
	require.NotNil(t, d.Serving)

	w.deployment("dep_2", tunedModel, "", "")
	require.NoError(t, w.store.LoseServing(t.Context(), "dep_2"))
	for id, told := range map[string][]string{"dep_1": {"created", "serving", "restarting"}, "dep_2": {"created"}} {
		events, err := w.store.EventsAfter(t.Context(), contract.Stream(contract.KindDeployment, id), 0, 10)
		require.NoError(t, err)
		var heard []string
		for _, e := range events {
			heard = append(heard, e.Type)
		}
		for i := range told {
			told[i] = contract.EventType(contract.KindDeployment, told[i])
		}
		require.Equal(t, told, heard, id)
	}
	require.Equal(t, contract.CodeNotFound, contract.CodeOf(w.store.LoseServing(t.Context(), "dep_none")))
}
