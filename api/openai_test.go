package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/store"
)

// engine is a fake of workers/peft's engine: it knows a model by a name of its own.
func engine(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	return engineOf(t, answer, "base", "dep_1").URL
}

// engineOf is an engine with these names loaded.
func engineOf(t *testing.T, answer http.HandlerFunc, names ...string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+engineSecret:
			http.Error(w, "not for you", http.StatusUnauthorized)
		case r.URL.Path == "/v1/chat/completions":
			answer(w, r)
		case r.URL.Path == "/v1/models":
			var list struct {
				Data []map[string]string `json:"data"`
			}
			for _, name := range names {
				list.Data = append(list.Data, map[string]string{"id": name})
			}
			_ = json.NewEncoder(w).Encode(list)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// openAIError is the error of OpenAI's envelope, which the answer must have.
func (a answer) openAIError(status int) (e struct{ Message, Type, Param, Code string }) {
	a.t.Helper()
	require.Equal(a.t, status, a.status, "%s", a.body)
	var envelope struct{ Error *json.RawMessage }
	require.NoError(a.t, json.Unmarshal(a.body, &envelope))
	require.NotNil(a.t, envelope.Error, "%s", a.body)
	require.NoError(a.t, json.Unmarshal(*envelope.Error, &e))
	var members map[string]any
	require.NoError(a.t, json.Unmarshal(*envelope.Error, &members))
	for _, member := range []string{"message", "type", "param", "code"} {
		require.Contains(a.t, members, member, "SDKs expect each, null too")
	}
	require.NotEmpty(a.t, e.Message)
	require.NotEmpty(a.t, e.Type)
	return e
}

const question = `{"model":"` + tunedModel + `","messages":[{"role":"user","content":"hi"}],"temperature":0}`

func TestChatGoesToTheModelsEngine(t *testing.T) {
	w := newWorld(t)
	var asked map[string]any
	url := engine(t, func(rw http.ResponseWriter, r *http.Request) {
		_ = json.NewDecoder(r.Body).Decode(&asked)
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, `{"id":"c","choices":[{"message":{"content":"\"model\":\"dep_1\""}}],"model":"dep_1","created":1732400000123456789}`)
	})
	w.deployment("dep_1", tunedModel, url, "dep_1")
	a := w.post("/v1/chat/completions", question)
	require.Equal(t, http.StatusOK, a.status)
	require.JSONEq(t, `{"id":"c","choices":[{"message":{"content":"\"model\":\"dep_1\""}}],"model":"`+tunedModel+`","created":1732400000123456789}`, string(a.body))
	require.Contains(t, string(a.body), "1732400000123456789", "numbers stay as they are")
	require.Equal(t, "dep_1", asked["model"], "the engine is asked under its own name")
	require.EqualValues(t, 0, asked["temperature"])

	list := into[struct{ Data []struct{ ID string } }](w.get("/v1/models"), http.StatusOK)
	require.Len(t, list.Data, 1)
	require.Equal(t, tunedModel, list.Data[0].ID)
	require.Equal(t, http.StatusOK, w.get("/v1/models/"+tunedModel).status)
}

func (w *world) ask(ctx context.Context, body string) *http.Response {
	w.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url("/v1/chat/completions"), strings.NewReader(body))
	require.NoError(w.t, err)
	bearer(ownerToken)(req)
	res, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(w.t, err)
	return res
}

func TestAStreamPassesChunkByChunk(t *testing.T) {
	w := newWorld(t)
	goOn := make(chan struct{})
	url := engine(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_, _ = io.WriteString(rw, `data: {"model":"dep_1","choices":[{"delta":{"content":"first"}}]}`+"\n\n")
		_ = http.NewResponseController(rw).Flush()
		<-goOn
		_, _ = io.WriteString(rw, `data: {"choices":[{"delta":{"content":"second"}}],"model":"dep_1"}`+"\r\n\r\ndata: [DONE]\n\n")
	})
	w.deployment("dep_1", tunedModel, url, "dep_1")
	res := w.ask(t.Context(), question)
	defer func() { require.NoError(t, res.Body.Close()) }()
	lines := bufio.NewReader(res.Body)
	first, err := lines.ReadString('\n') // the engine has not finished: it waits for us
	require.NoError(t, err)
	require.Equal(t, `data: {"model":"`+tunedModel+`","choices":[{"delta":{"content":"first"}}]}`+"\n", first)
	close(goOn)
	rest, err := io.ReadAll(lines)
	require.NoError(t, err)
	require.Contains(t, string(rest), `"model":"`+tunedModel+`"}`)
	require.True(t, strings.HasSuffix(string(rest), "data: [DONE]\n\n"))
	require.NotContains(t, string(rest), "dep_1")
}

func TestAClientThatLeavesStopsTheEngine(t *testing.T) {
	w := newWorld(t)
	for _, stream := range []bool{true, false} {
		stopped, started := make(chan struct{}), make(chan struct{})
		url := engine(t, func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if stream {
				rw.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(rw, "data: {}\n\n")
				_ = http.NewResponseController(rw).Flush()
			}
			close(started)
			<-r.Context().Done()
			close(stopped)
		})
		w.deployment("dep_"+map[bool]string{true: "s", false: "n"}[stream], tunedModel, url, "x")
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, w.url("/v1/chat/completions"), strings.NewReader(question))
			bearer(ownerToken)(req)
			if res, err := http.DefaultTransport.RoundTrip(req); err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		}()
		<-started
		cancel()
		select {
		case <-stopped:
		case <-time.After(10 * time.Second):
			t.Fatal("the engine works on for nobody")
		}
	}
}

func TestAStreamThatBreaksOffSaysSo(t *testing.T) {
	w := newWorld(t)
	url := engine(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, `data: {"choices":[]}`+"\n\n"+`data: {"cho`)
		_ = http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	})
	w.deployment("dep_1", tunedModel, url, "dep_1")
	chunks := 0
	err := w.client().Chat(t.Context(), json.RawMessage(question), func([]byte) error { chunks++; return nil })
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err), "%v", err)
	require.Contains(t, err.Error(), "broke off")
	require.Equal(t, 1, chunks)
}

func TestAnEngineThatIsDownIsUnavailable(t *testing.T) {
	w := newWorld(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	another := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		http.Error(rw, `{"error":{"message":"bad token"}}`, http.StatusUnauthorized)
	}))
	defer another.Close()
	cut := engine(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(rw, `{"half":`)
		panic(http.ErrAbortHandler)
	})
	redirect := engine(t, func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, another.URL, http.StatusTemporaryRedirect)
	})
	for name, url := range map[string]string{"down": gone.URL, "another engine on its port": another.URL, "died in mid-answer": cut} {
		w.deployment("dep_"+strings.ReplaceAll(name, " ", "_"), tunedModel, url, "x")
		e := w.post("/v1/chat/completions", question).openAIError(http.StatusServiceUnavailable)
		require.Equal(t, "server_error", e.Type, name)
		require.Equal(t, "unavailable", e.Code)
		require.NotContains(t, e.Message, "127.0.0.1")
	}
	w.deployment("dep_redirect", tunedModel, redirect, "x")
	require.Equal(t, http.StatusTemporaryRedirect, w.post("/v1/chat/completions", question).status, "the engine's token follows no redirect")
}

func TestAnEnginesRefusalIsPassedOn(t *testing.T) {
	w := newWorld(t)
	url := engine(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("Retry-After", "3")
		rw.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(rw, `{"error":{"message":"Too many","type":"rate_limit_error","param":null,"code":"queue_full"}}`)
	})
	w.deployment("dep_1", tunedModel, url, "dep_1")
	a := w.post("/v1/chat/completions", question)
	require.Equal(t, "queue_full", a.openAIError(http.StatusTooManyRequests).Code)
	require.Equal(t, "3", a.header.Get("Retry-After"))
}

func TestChatRefusesInOpenAIsEnvelope(t *testing.T) {
	w := newWorld(t)
	for _, a := range []answer{w.post("/v1/chat/completions", question), w.get("/v1/models/none")} {
		e := a.openAIError(http.StatusNotFound)
		require.Equal(t, []string{"invalid_request_error", "model_not_found", "model"}, []string{e.Type, e.Code, e.Param})
	}
	w.deployment("dep_1", tunedModel, "", "")
	loading := w.post("/v1/chat/completions", question)
	require.Contains(t, loading.openAIError(http.StatusServiceUnavailable).Message, "still being loaded")
	require.NotEmpty(t, loading.header.Get("Retry-After"), "SDKs wait and try again")
	e := w.post("/v1/chat/completions", `{"messages":[]}`).openAIError(http.StatusBadRequest)
	require.Equal(t, []string{"invalid_request_error", "", "model"}, []string{e.Type, e.Code, e.Param})
	for _, body := range append(nastyBodies(), `{"model":1}`, `{"model":""}`, `{"model":"a\u0000"}`, `{"model":["x"]}`) {
		a := w.post("/v1/chat/completions", body)
		require.Contains(t, []int{http.StatusBadRequest, http.StatusNotFound, http.StatusServiceUnavailable}, a.status, "%.100s", body)
		a.openAIError(a.status)
	}
	w.post("/v1/chat/completions", `{"model":"`+strings.Repeat("x", 5<<20)+`"}`).openAIError(http.StatusRequestEntityTooLarge)
	for path, body := range map[string]string{"/v1/nothing": "{}", "/v1/v1/chat/completions": question} {
		e := w.post(path, body).openAIError(http.StatusNotFound)
		require.Equal(t, []string{"invalid_request_error", "unknown_url", ""}, []string{e.Type, e.Code, e.Param}, path)
		require.Contains(t, e.Message, path)
	}
	for path, allowed := range map[string]string{"/v1/models": "GET", "/v1/models/x": "GET", "/v1/chat/completions": "POST"} {
		a := w.call(http.MethodPut, path, "{}")
		a.openAIError(http.StatusMethodNotAllowed)
		require.Equal(t, allowed, a.header.Get("Allow"))
	}
	w.get("/v1/models", header("Host", "evil.example")).openAIError(http.StatusForbidden)
}

func TestKeysOpenV1UntilTheyEnd(t *testing.T) {
	w := newWorld(t)
	created := into[apigen.CreatedKey](w.post("/api/keys/generate", map[string]string{"name": "app"}), http.StatusCreated)
	for range 3 {
		require.Equal(t, http.StatusOK, w.get("/v1/models", bearer(created.Secret)).status)
	}
	key := into[apigen.KeyPage](w.get("/api/keys"), http.StatusOK).Items[0]
	require.EqualValues(t, 3, key.UsageCount)
	require.WithinDuration(t, time.Now(), key.LastUsedAt, time.Minute)

	expired := auth.NewKey()
	require.NoError(t, w.store.CreateAPIKey(t.Context(), store.APIKey{ID: "key_old", ProjectID: store.DefaultProject, Name: "old",
		KeyHash: auth.HashKey(signingKey, expired), ExpiresAt: time.Now().Add(-time.Second)}))
	require.Equal(t, http.StatusNoContent, w.call(http.MethodDelete, "/api/keys/"+created.Key.ID, nil).status)
	for name, change := range map[string]with{"revoked": bearer(created.Secret), "expired": bearer(expired), "unknown": bearer(auth.NewKey()),
		"malformed": bearer("sk-123"), "none": nobody(), "empty": bearer("")} {
		for _, path := range []string{"/v1/models", "/v1/nothing", "/v1/models/a%2Fb"} {
			a := w.get(path, change)
			e := a.openAIError(http.StatusUnauthorized)
			require.Equal(t, []string{"invalid_request_error", "invalid_api_key"}, []string{e.Type, e.Code}, name)
			require.Contains(t, e.Message, "keys create", name)
			require.Equal(t, "Bearer", a.header.Get("WWW-Authenticate"))
		}
	}
}

func TestUsesOfAKeySurviveTheServersEnd(t *testing.T) {
	w := newWorld(t)
	created := into[apigen.CreatedKey](w.post("/api/keys/generate", map[string]string{"name": "app"}), http.StatusCreated)
	w.get("/v1/models", bearer(created.Secret))
	w.stop()
	key, err := w.store.GetAPIKey(t.Context(), created.Key.ID)
	require.NoError(t, err)
	require.EqualValues(t, 1, key.UsageCount)
}
