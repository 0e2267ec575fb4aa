package apiclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

func serve(t *testing.T, handler http.HandlerFunc) *apiclient.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return &apiclient.Client{Base: server.URL + "/", Token: "token"}
}

// events answers as the server does: all events after `after`, and then what the end is.
func events(w http.ResponseWriter, r *http.Request, until int64, end func()) {
	after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	for seq := after + 1; seq <= until; seq++ {
		_, _ = fmt.Fprintf(w, ": still here\n\nid: %d\nevent: x\ndata: {\"seq\":%d,\"type\":\"x\",\"payload\":{}}\n\n", seq, seq)
	}
	_ = http.NewResponseController(w).Flush()
	end()
}

func TestFollowTellsEachEventOnceThroughRestartsOnOnePort(t *testing.T) {
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	first := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		events(w, r, 3, func() {
			_, _ = fmt.Fprint(w, "id: 4\ndata: {\"seq\":4,\"ty") // torn in the middle of an event
			panic(http.ErrAbortHandler)
		})
	}))
	first.Listener = listener
	first.Start()

	client := &apiclient.Client{Base: "http://" + address}
	var told []int64
	var second atomic.Pointer[httptest.Server]
	restarted := false
	err = client.Follow(t.Context(), "/events", 0, func(e contract.Event) error {
		told = append(told, e.Seq)
		return nil
	}, func(error) {
		if restarted {
			return
		}
		restarted = true
		first.Close()
		again, err := config.Listen(t.Context(), "tcp", address)
		require.NoError(t, err)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			events(w, r, 6, func() { _, _ = fmt.Fprint(w, "event: end\ndata: {}\n\n") })
		}))
		server.Listener = again
		server.Start()
		second.Store(server)
	})
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2, 3, 4, 5, 6}, told)
	second.Load().Close()
}

func TestFollowEnds(t *testing.T) {
	endless := serve(t, func(w http.ResponseWriter, r *http.Request) { events(w, r, 5, func() { <-r.Context().Done() }) })
	seen := 0
	require.NoError(t, endless.Follow(t.Context(), "/e", 0, func(contract.Event) error {
		if seen++; seen == 2 {
			return apiclient.ErrStop
		}
		return nil
	}, nil))
	require.Equal(t, 2, seen)

	mine := errors.New("mine")
	require.ErrorIs(t, endless.Follow(t.Context(), "/e", 0, func(contract.Event) error { return mine }, nil), mine)

	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorIs(t, endless.Follow(ctx, "/e", 4, func(contract.Event) error { cancel(); return nil }, nil), context.Canceled)

	refusing := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, `{"code":"not_found","detail":"there is no job"}`)
	})
	err := refusing.Follow(t.Context(), "/e", 0, func(contract.Event) error { return nil }, func(error) { t.Error("a refusal is no cut") })
	require.Equal(t, contract.CodeNotFound, contract.CodeOf(err))
}

func TestProblemsOfServersThatAreNotOurs(t *testing.T) {
	for status, code := range map[int]contract.Code{http.StatusBadGateway: contract.CodeUnavailable, http.StatusServiceUnavailable: contract.CodeUnavailable,
		http.StatusTeapot: contract.CodeInternal, http.StatusInternalServerError: contract.CodeInternal} {
		client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, "<html>a proxy's page</html>")
		})
		_, err := apiclient.Get[struct{}](t.Context(), client, "/x", nil)
		require.Equal(t, code, contract.CodeOf(err), "%d", status)
	}
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "not JSON") })
	_, err := apiclient.Get[struct{}](t.Context(), client, "/x", nil)
	require.Error(t, err)
}

func TestDownloadThatBreaksKeepsItsPart(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = fmt.Fprint(w, "half ")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	path := filepath.Join(t.TempDir(), "f")
	err := client.Download(t.Context(), "/f", nil, path, 10, nil)
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err), "%v", err)
	require.NoFileExists(t, path)
	part, err := os.ReadFile(path + ".part")
	require.NoError(t, err)
	require.Equal(t, "half ", string(part))
}

func TestDownloadOfAServerWithoutRangesStartsAgain(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "the whole") })
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path+".part", []byte("the wh"), 0o600))
	require.NoError(t, client.Download(t.Context(), "/f", nil, path, 9, nil))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "the whole", string(got))
}

func TestDownloadThatIsNotWhatTheServerHoldsIsRefused(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"`+fmt.Sprintf("%064d", 0)+`"`)
		_, _ = fmt.Fprint(w, "something")
	})
	path := filepath.Join(t.TempDir(), "f")
	require.Error(t, client.Download(t.Context(), "/f", nil, path, 9, nil))
	require.NoFileExists(t, path)
	require.NoFileExists(t, path+".part")
}

// refusing fails the first dials as a port does on which nothing listens yet.
type refusing struct{ left int }

func (r *refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.left > 0 {
		r.left--
		_, _ = io.Copy(io.Discard, req.Body) // as if some of it had been read
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	return http.DefaultTransport.RoundTrip(req)
}

func TestAServerThatIsBeingRestartedIsWaitedFor(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	c.HTTP, c.Patience = &http.Client{Transport: &refusing{left: 3}}, time.Minute
	got, err := apiclient.Post[map[string]int](t.Context(), c, "/x", map[string]int{"n": 1})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"n": 1}, got, "the body is sent whole each time")

	c.HTTP, c.Patience = &http.Client{Transport: &refusing{left: 1}}, 0
	_, err = apiclient.Post[struct{}](t.Context(), c, "/x", struct{}{})
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err), "without patience it is told at once")
}
