package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api"
	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/internal/limit"
	"github.com/vibeflow/vibeflow/internal/sqlite"
	"github.com/vibeflow/vibeflow/internal/store"
)

// metered is a world with a served model and a key.
type metered struct {
	*world
	key apigen.CreatedKey
}

func newMetered(t *testing.T, engineAnswers http.HandlerFunc, changes ...func(*api.Options)) *metered {
	t.Helper()
	w := newWorld(t, changes...)
	w.models()
	w.deployment("dep_1", tunedModel, engine(t, engineAnswers), "dep_1")
	return &metered{w, into[apigen.CreatedKey](w.post("/api/keys/generate", `{"name":"app"}`), http.StatusCreated)}
}

func (m *metered) ask(body string) answer {
	m.t.Helper()
	return m.post("/v1/chat/completions", body, bearer(m.key.Secret))
}

func (m *metered) analytics() apigen.KeyAnalytics {
	m.t.Helper()
	return into[apigen.KeyAnalytics](m.get("/api/keys/"+m.key.Key.ID+"/analytics"), http.StatusOK)
}

// settled waits until nothing is under way: a client knows the end of a stream before the server has counted it.
func (m *metered) settled() apigen.KeyAnalytics {
	m.t.Helper()
	var u apigen.KeyAnalytics
	require.Eventually(m.t, func() bool {
		u = m.analytics()
		return u.UnderWay == 0
	}, 10*time.Second, 5*time.Millisecond)
	require.Equal(m.t, u.UsageCount, u.Total.Requests, "the key and its days agree")
	return u
}

const streamed = `{"model":"` + tunedModel + `","messages":[],"stream":true}`

// pieces answers as our engine does: with tokens, if it is asked for them, as far as it has come.
func pieces(rw http.ResponseWriter, r *http.Request) {
	var asked struct {
		Stream  bool
		Options struct {
			Include    bool `json:"include_usage"`
			Continuous bool `json:"continuous_usage_stats"`
		} `json:"stream_options"`
	}
	_ = json.NewDecoder(r.Body).Decode(&asked)
	usage := func(tokens int) string {
		return fmt.Sprintf(`{"prompt_tokens":11,"completion_tokens":%d,"total_tokens":%d}`, tokens, 11+tokens)
	}
	if !asked.Stream {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, `{"id":"c","model":"dep_1","choices":[],"usage":`+usage(3)+`}`)
		return
	}
	rw.Header().Set("Content-Type", "text/event-stream")
	for i := range 4 {
		told := ""
		if asked.Options.Include {
			told = `,"usage":null`
		}
		if asked.Options.Continuous {
			told = `,"usage":` + usage(i)
		}
		_, _ = fmt.Fprintf(rw, `data: {"id":"c","model":"dep_1","choices":[{"delta":{"content":"p%d"}}]%s}`+"\n\n", i, told)
	}
	if asked.Options.Include {
		_, _ = io.WriteString(rw, `data: {"id":"c","model":"dep_1","choices":[],"usage":`+usage(3)+"}\n\n")
	}
	_, _ = io.WriteString(rw, "data: [DONE]\n\n")
}

func TestEveryRequestOfAKeyIsCountedOnce(t *testing.T) {
	m := newMetered(t, pieces)
	require.Equal(t, http.StatusOK, m.ask(question).status)
	require.Equal(t, http.StatusOK, m.ask(streamed).status)
	require.Equal(t, http.StatusNotFound, m.ask(`{"model":"none","messages":[]}`).status)
	require.Equal(t, http.StatusBadRequest, m.ask(`{`).status)
	require.Equal(t, http.StatusOK, m.get("/v1/models", bearer(m.key.Secret)).status)
	require.Equal(t, http.StatusNotFound, m.get("/v1/none", bearer(m.key.Secret)).status)
	require.Equal(t, http.StatusForbidden, m.get("/v1/files", bearer(m.key.Secret)).status, "turned away at the door")
	u := m.settled()
	require.EqualValues(t, 7, u.UsageCount)
	require.EqualValues(t, 4, u.Total.Errors)
	require.EqualValues(t, 22, u.Total.PromptTokens)
	require.EqualValues(t, 6, u.Total.CompletionTokens)
	require.NotZero(t, u.Total.LatencyP50Ms)
	require.LessOrEqual(t, u.Total.LatencyP50Ms, u.Total.LatencyP95Ms)
	require.WithinDuration(t, time.Now(), u.LastUsedAt, time.Minute)

	require.Len(t, u.Days, 30)
	today := u.Days[29]
	require.Equal(t, time.Now().UTC().Format(time.DateOnly), today.Date.String())
	require.Equal(t, u.Total, today.Usage)
	require.Zero(t, u.Days[0].Usage.Requests)
	require.Len(t, u.Models, 2, "models that there are, and none: a client makes up no rows")
	require.Equal(t, "", u.Models[0].ModelID)
	require.Equal(t, []any{tunedModel, int64(2)}, []any{u.Models[1].ModelID, u.Models[1].Usage.Requests})
	listed := into[apigen.KeyPage](m.get("/api/keys"), http.StatusOK).Items[0]
	require.Equal(t, []any{u.UsageCount, u.LastUsedAt.UTC()}, []any{listed.UsageCount, listed.LastUsedAt.UTC()})

	require.Equal(t, http.StatusOK, m.post("/v1/chat/completions", question).status)
	require.EqualValues(t, 7, m.settled().UsageCount, "the owner's own requests are nobody's use of a key")
	require.Equal(t, http.StatusNoContent, m.call(http.MethodDelete, "/api/keys/"+m.key.Key.ID, nil).status)
	require.Equal(t, http.StatusUnauthorized, m.ask(question).status)
	require.EqualValues(t, 7, m.settled().UsageCount, "nor are those that a revoked key tries")
}

// TestAMeterThatCannotWriteTriesNowAndThen: requests are answered meanwhile, and counted once it can.
func TestAMeterThatCannotWriteTriesNowAndThen(t *testing.T) {
	const requests = 60
	var log recorded
	m := newMetered(t, pieces, func(o *api.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	rename := func(from, to string) {
		db, err := sqlite.Open(filepath.Join(m.dir, "app.db"), 1)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), "ALTER TABLE "+from+" RENAME TO "+to)
		require.NoError(t, err)
		require.NoError(t, db.Close())
	}
	rename("key_requests", "away")
	began := time.Now()
	for range requests {
		require.Equal(t, http.StatusOK, m.ask(question).status)
	}
	took := time.Since(began)
	rename("away", "key_requests")
	tries := strings.Count(log.String(), "could not be recorded yet")
	require.NotZero(t, tries)
	require.LessOrEqual(t, tries, 1+int(took/time.Second), "not once a request")
	require.Eventually(t, func() bool { return m.analytics().UsageCount == requests }, 10*time.Second, 50*time.Millisecond)
	require.EqualValues(t, requests, m.settled().Total.Requests)
}

// recorded is a log that can be read while it is written.
type recorded struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (r *recorded) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

// String implements fmt.Stringer.
func (r *recorded) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// TestAStreamShowsUsageAsItsClientAsked, whatever the meter needs.
func TestAStreamShowsUsageAsItsClientAsked(t *testing.T) {
	m := newMetered(t, pieces)
	ask := func(options string) []string {
		body := strings.TrimSuffix(m.asked(t, options), "\n\n")
		require.NotContains(t, body, "\n\n\n")
		return strings.Split(body, "\n\n")
	}
	plain := ask("")
	require.Len(t, plain, 5)
	require.Equal(t, `data: {"id":"c","model":"`+tunedModel+`","choices":[{"delta":{"content":"p0"}}]}`, plain[0])
	require.Equal(t, "data: [DONE]", plain[4])
	last := ask(`,"stream_options":{"include_usage":true}`)
	require.Len(t, last, 6)
	require.Contains(t, last[0], `"usage":null`)
	require.Contains(t, last[4], `"choices":[],"usage":{"prompt_tokens":11,`)
	each := ask(`,"stream_options":{"include_usage":true,"continuous_usage_stats":true}`)
	require.Contains(t, each[2], `"completion_tokens":2`)
	require.Equal(t, plain, ask(`,"stream_options":null`))
	u := m.settled()
	require.Equal(t, []int64{4, 44, 12}, []int64{u.Total.Requests, u.Total.PromptTokens, u.Total.CompletionTokens})
}

func (m *metered) asked(t *testing.T, options string) string {
	t.Helper()
	a := m.ask(strings.TrimSuffix(streamed, "}") + options + "}")
	require.Equal(t, http.StatusOK, a.status)
	return string(a.body)
}

func TestWhatBreaksOffIsCountedAsFarAsItCame(t *testing.T) {
	var stays atomic.Bool
	met := make(chan struct{})
	m := newMetered(t, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, `data: {"choices":[{}],"usage":{"prompt_tokens":9,"completion_tokens":2}}`+"\n\n")
		_ = http.NewResponseController(rw).Flush()
		if !stays.Load() {
			panic(http.ErrAbortHandler)
		}
		<-r.Context().Done()
		close(met)
	})
	require.Contains(t, string(m.ask(streamed).body), "broke off")
	u := m.settled()
	require.Equal(t, []int64{1, 1, 0, 9, 2}, []int64{u.Total.Requests, u.Total.Errors, u.Total.Cancelled, u.Total.PromptTokens, u.Total.CompletionTokens})
	require.Zero(t, u.Total.LatencyP50Ms, "no answer came whole")

	stays.Store(true)
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url("/v1/chat/completions"), strings.NewReader(streamed))
	require.NoError(t, err)
	bearer(m.key.Secret)(req)
	res, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	_, err = bufio.NewReader(res.Body).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, 1, m.analytics().UnderWay)
	leave()
	<-met
	require.NoError(t, res.Body.Close())
	u = m.settled()
	require.Equal(t, []int64{2, 1, 1, 18, 4}, []int64{u.Total.Requests, u.Total.Errors, u.Total.Cancelled, u.Total.PromptTokens, u.Total.CompletionTokens})
}

func TestWhatALimitTurnsAwayIsCounted(t *testing.T) {
	m := newMetered(t, pieces, limited(api.Limits{User: limit.Rule{PerSecond: slow, Burst: 100}, Key: limit.Rule{PerSecond: slow, Burst: 2}}))
	for i := range 5 {
		require.Equal(t, i >= 2, m.ask(question).status == http.StatusTooManyRequests)
	}
	u := m.settled()
	require.Equal(t, []int64{5, 3}, []int64{u.Total.Requests, u.Total.Errors})
}

// TestRequestsAtTheSameTimeAreEachCounted: they share transactions.
func TestRequestsAtTheSameTimeAreEachCounted(t *testing.T) {
	m := newMetered(t, pieces)
	const clients, each = 16, 10
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range each {
				m.get("/v1/models", bearer(m.key.Secret))
			}
		})
	}
	all.Wait()
	require.EqualValues(t, clients*each, m.settled().UsageCount)
}

func TestADayOfAnotherTime(t *testing.T) {
	m := newMetered(t, pieces)
	at := time.Date(2026, 1, 31, 23, 59, 59, 0, time.UTC)
	use := func(at time.Time) store.EndedUse {
		return store.EndedUse{Use: store.Use{KeyID: m.key.Key.ID, ModelID: tunedModel, At: at}, Latency: 2 * time.Second}
	}
	require.NoError(t, m.store.RecordUses(t.Context(), nil, store.Ended(use(at), use(at.Add(2*time.Second))), true))
	get := func(query string) answer { return m.get("/api/keys/" + m.key.Key.ID + "/analytics?" + query) }
	u := into[apigen.KeyAnalytics](get("from=2026-01-31&to=2026-02-01"), http.StatusOK)
	require.Len(t, u.Days, 2)
	require.EqualValues(t, 1, u.Days[0].Usage.Requests)
	require.EqualValues(t, 1, u.Days[1].Usage.Requests)
	require.InDelta(t, 2000, u.Total.LatencyP95Ms, 60)
	require.EqualValues(t, 1, into[apigen.KeyAnalytics](get("to=2026-01-31&days=1"), http.StatusOK).Total.Requests)
	for _, wrong := range []string{"from=2026-02-01&to=2026-01-31", "from=2024-01-01&to=2026-01-31", "days=0", "days=367", "from=yesterday", "to=0000-01-01"} {
		get(wrong).problem(http.StatusBadRequest)
	}
	m.get("/api/keys/key_none/analytics").problem(http.StatusNotFound)
}
