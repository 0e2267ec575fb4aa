package stream

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

// memoryLog is a Log whose subscribers are woken, as the store's are, with coalescing.
type memoryLog struct {
	mu     sync.Mutex
	events []contract.Event
	wakes  map[chan struct{}]bool
}

func newMemoryLog() *memoryLog { return &memoryLog{wakes: map[chan struct{}]bool{}} }

func (l *memoryLog) append(kind string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		seq := int64(len(l.events) + 1)
		l.events = append(l.events, contract.Event{Stream: "job/a", Seq: seq, Type: kind, Payload: json.RawMessage(`{}`)})
	}
	for wake := range l.wakes {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

func (l *memoryLog) EventsAfter(_ context.Context, _ string, after int64, limit int) ([]contract.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := l.events[min(int(after), len(l.events)):]
	return append([]contract.Event(nil), rest[:min(limit, len(rest))]...), nil
}

func (l *memoryLog) Subscribe(string) (<-chan struct{}, func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wake := make(chan struct{}, 1)
	l.wakes[wake] = true
	return wake, func() { l.mu.Lock(); defer l.mu.Unlock(); delete(l.wakes, wake) }
}

func isEnd(e contract.Event) bool { return e.Type == "end" }

func TestSSETellsEachEventOnceAndEnds(t *testing.T) {
	log := newMemoryLog()
	log.append("metrics", 700)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = SSE(w, r, log, "job/a", 0, isEnd)
	}))
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	require.NoError(t, err)
	req.Header.Set("Last-Event-ID", "5")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, res.Body.Close()) }()

	next := int64(6)
	for line := range lines(res) {
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			require.Equal(t, fmt.Sprint(next), id)
			if next == 300 {
				log.append("metrics", 400)
				log.append("end", 1)
			}
			next++
		}
	}
	require.Equal(t, int64(1102), next, "700 + 400 + the end, from the sixth on")
}

func TestWebSocketIsGaplessForASlowClientAndAfterReconnect(t *testing.T) {
	log := newMemoryLog()
	ws := NewWebSocket(log)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var after int64
		_, _ = fmt.Sscan(r.URL.Query().Get("after"), &after)
		_ = ws.Serve(w, r, Watch{Name: "job/a", After: after, Final: isEnd})
	}))
	defer server.Close()
	log.append("metrics", 5000)

	first := dial(t, server.URL, 0)
	seen := readEvents(t, first, 1, 1700)
	require.NoError(t, first.Close())
	log.append("end", 1)
	second := dial(t, server.URL, seen)
	require.Equal(t, int64(5001), readEvents(t, second, seen+1, 5001))
}

func TestWebSocketRefusesPagesOfOtherSites(t *testing.T) {
	ws := NewWebSocket(newMemoryLog())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = ws.Serve(w, r, Watch{Name: "job/a"})
	}))
	defer server.Close()
	_, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), http.Header{"Origin": {"https://evil.example"}})
	require.Error(t, err)
	require.Equal(t, http.StatusForbidden, res.StatusCode)
	require.NoError(t, res.Body.Close())
}

func dial(t *testing.T, url string, after int64) *websocket.Conn {
	t.Helper()
	conn, res, err := websocket.DefaultDialer.Dial(fmt.Sprintf("ws%s?after=%d", strings.TrimPrefix(url, "http"), after), nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return conn
}

// readEvents reads frames numbered from…to and returns the last seq.
func readEvents(t *testing.T, conn *websocket.Conn, from, to int64) int64 {
	t.Helper()
	for want := from; want <= to; want++ {
		var event contract.Event
		require.NoError(t, conn.ReadJSON(&event))
		require.Equal(t, want, event.Seq)
	}
	return to
}

func lines(res *http.Response) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		scanner := bufio.NewScanner(res.Body)
		for scanner.Scan() && yield(scanner.Text()) {
		}
	}
}
