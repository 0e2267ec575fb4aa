package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vibeflow/vibeflow/workers/runner"
)

const engineVariable = "VIBEFLOW_FAKE_ENGINE"

func TestMain(m *testing.M) {
	if mode := os.Getenv(engineVariable); mode != "" {
		fakeEngine(mode)
		return
	}
	os.Exit(m.Run())
}

// starts starts fake engines (the test binary again) and remembers them.
type starts struct {
	t    *testing.T
	mode string // "ok", "refuse" (it says why), "crash" (it says nothing)

	mu        sync.Mutex
	processes []runner.Process
	launches  []runner.Launch
}

func (s *starts) start(_ context.Context, launch runner.Launch) (runner.Process, error) {
	cmd := exec.Command(os.Args[0], launch.Args...) //nolint:gosec // ourselves
	cmd.Env = append(append(os.Environ(), engineVariable+"="+s.mode), launch.Env...)
	stderr, err := os.OpenFile(filepath.Join(launch.Folder, "stderr.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return runner.Process{}, err
	}
	defer stderr.Close()
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return runner.Process{}, err
	}
	process := runner.FindProcess(cmd.Process.Pid)
	go func() { _ = cmd.Wait() }()
	s.t.Cleanup(process.Kill)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes, s.launches = append(s.processes, process), append(s.launches, launch)
	return process, nil
}

func (s *starts) all() []runner.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.processes)
}

// argument is what follows a flag on the fake's command line.
func argument(name string) string {
	return os.Args[slices.Index(os.Args, name)+1]
}

func fakeEngine(mode string) {
	time.AfterFunc(2*time.Minute, func() { os.Exit(3) }) // a test binary that panics cleans nothing up
	switch mode {
	case "crash":
		fmt.Fprintln(os.Stderr, "Traceback (most recent call last):\nImportError: no torch here")
		os.Exit(1)
	case "refuse":
		tell(`{"error":{"code":"model_unavailable","message":"the model is gated","remedy":"ask for access"}}`)
		os.Exit(15)
	}
	token, err := os.ReadFile(argument("--token-file"))
	must(err)
	loaded := map[string]string{}
	var mu sync.Mutex
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /adapters", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		names := []string{}
		for name := range loaded {
			names = append(names, name)
		}
		slices.Sort(names)
		_ = json.NewEncoder(w).Encode(map[string]any{"adapters": names})
	})
	mux.HandleFunc("POST /adapters", func(w http.ResponseWriter, r *http.Request) {
		var request struct{ ID, Path, Method string }
		must(json.NewDecoder(r.Body).Decode(&request))
		content, err := os.ReadFile(filepath.Join(request.Path, "adapter.bin"))
		if err != nil || string(content) == "unlike" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprint(w, `{"error":{"message":"the weights do not answer as they did","code":"parity_failed"}}`)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		loaded[request.ID] = request.Path
	})
	mux.HandleFunc("DELETE /adapters/{id}", func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		delete(loaded, r.PathValue("id"))
	})
	guarded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" && r.Header.Get("Authorization") != "Bearer "+string(token) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() { <-term; os.Exit(0) }()
	tell(fmt.Sprintf(`{"port":%d,"pid":%d,"device":"cpu"}`, listener.Addr().(*net.TCPAddr).Port, os.Getpid()))
	must(http.Serve(listener, guarded)) //nolint:gosec // a test
}

func tell(word string) {
	path := argument("--ready-file")
	must(os.WriteFile(path+".partial", []byte(word), 0o600))
	must(os.Rename(path+".partial", path))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fake engine:", err)
		os.Exit(2)
	}
}
