//go:build unix

package api_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/store"
)

// The server that TestAKillLosesNoRequest kills is this test program again, with these set.
const (
	killedDir    = "VIBEFLOW_TEST_KILLED_DIR"
	killedEngine = "VIBEFLOW_TEST_KILLED_ENGINE"
	killedKey    = "VIBEFLOW_TEST_KILLED_KEY"
	killedAt     = "serving at "
)

// TestServerToBeKilled is no test: it serves until it is killed.
func TestServerToBeKilled(t *testing.T) {
	dir := os.Getenv(killedDir)
	if dir == "" {
		t.Skip("run by TestAKillLosesNoRequest")
	}
	w := newWorldAt(t, dir)
	w.models()
	w.deployment("dep_1", tunedModel, os.Getenv(killedEngine), "dep_1")
	if _, err := w.store.GetAPIKey(t.Context(), "key_1"); contract.CodeOf(err) == contract.CodeNotFound {
		require.NoError(t, w.store.CreateAPIKey(t.Context(), store.APIKey{ID: "key_1", ProjectID: store.DefaultProject, Name: "app",
			KeyHash: auth.HashKey(signingKey, os.Getenv(killedKey)), Scopes: []contract.Scope{contract.ScopeInference}}))
	}
	_, _ = os.Stdout.WriteString(killedAt + w.url("") + "\n")
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed, or its test is
}

// mortal is a server in a process of its own.
type mortal struct {
	t    *testing.T
	dir  string
	env  []string
	key  string
	url  string
	proc *exec.Cmd
}

func (m *mortal) start() {
	m.t.Helper()
	m.proc = exec.Command(os.Args[0], "-test.run=^TestServerToBeKilled$")
	m.proc.Env = append(os.Environ(), m.env...)
	_, err := m.proc.StdinPipe()
	require.NoError(m.t, err)
	out, err := m.proc.StdoutPipe()
	require.NoError(m.t, err)
	require.NoError(m.t, m.proc.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if at, ok := strings.CutPrefix(lines.Text(), killedAt); ok {
			m.url = at
			return
		}
	}
	m.t.Fatal("the server did not start")
}

func (m *mortal) kill() {
	_ = m.proc.Process.Kill()
	_ = m.proc.Wait()
}

// ask asks the model, and reports whether an answer came whole.
func (m *mortal) ask(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url+"/v1/chat/completions", strings.NewReader(question))
	if err != nil {
		return false
	}
	bearer(m.key)(req)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.ReadAll(res.Body)
	return err == nil && res.StatusCode == http.StatusOK
}

func (m *mortal) usage() apigen.KeyAnalytics {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, m.url+"/api/keys/key_1/analytics", nil)
	require.NoError(m.t, err)
	bearer(ownerToken)(req)
	res, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(m.t, err)
	defer func() { require.NoError(m.t, res.Body.Close()) }()
	data, err := io.ReadAll(res.Body)
	require.NoError(m.t, err)
	u := into[apigen.KeyAnalytics](answer{m.t, res.StatusCode, res.Header, data}, http.StatusOK)
	require.Equal(m.t, u.UsageCount, u.Total.Requests)
	return u
}

// TestAKillLosesNoRequest kills a real server with SIGKILL: right after it has answered, in the middle of an answer, and
// under load. Each request that reached the engine is counted, once.
func TestAKillLosesNoRequest(t *testing.T) {
	var reached atomic.Int64
	asked, hang := make(chan struct{}, 1), make(chan struct{})
	var hanging atomic.Bool
	url := engine(t, func(rw http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		if hanging.Load() {
			asked <- struct{}{}
			<-hang
		}
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, `{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
	})
	key := auth.NewKey()
	m := &mortal{t: t, dir: t.TempDir(), key: key}
	m.env = []string{killedDir + "=" + m.dir, killedEngine + "=" + url, killedKey + "=" + key}
	m.start()
	defer func() { m.kill() }()

	require.True(t, m.ask(t.Context()))
	m.kill() // right after the answer
	m.start()
	u := m.usage()
	require.EqualValues(t, 1, u.UsageCount)
	require.Zero(t, u.UnderWay)

	hanging.Store(true)
	cut := make(chan bool, 1)
	go func() { cut <- m.ask(context.WithoutCancel(t.Context())) }()
	<-asked
	m.kill() // in the middle of an answer
	require.False(t, <-cut)
	hanging.Store(false)
	close(hang)
	m.start()
	u = m.usage()
	require.EqualValues(t, 2, u.UsageCount)
	require.GreaterOrEqual(t, u.Total.Interrupted, int64(1))
	require.Equal(t, tunedModel, u.Models[0].ModelID)
	require.Len(t, u.Models, 1)

	var sent, answered atomic.Int64
	for range 3 {
		var clients sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		enough := make(chan struct{})
		var once sync.Once
		for range 8 {
			clients.Go(func() {
				for ctx.Err() == nil {
					sent.Add(1)
					if !m.ask(ctx) {
						return
					}
					if answered.Add(1)%40 == 0 {
						once.Do(func() { close(enough) })
					}
				}
			})
		}
		select {
		case <-enough:
		case <-time.After(time.Minute):
			t.Error("no answers")
		}
		m.kill() // under load
		stop()
		clients.Wait()
		m.start()
	}
	u = m.usage()
	require.Zero(t, u.UnderWay)
	require.GreaterOrEqual(t, u.UsageCount, reached.Load(), "what reached the engine is counted")
	require.GreaterOrEqual(t, reached.Load(), answered.Load()+1)
	require.LessOrEqual(t, u.UsageCount, sent.Load()+2, "and nothing twice")
	require.Equal(t, u.UsageCount-u.Total.Errors, u.Total.PromptTokens, "tokens are those of the answers that were counted as such")
}
