// Package embeddedtest gives tests a real Temporal: one embedded server a test binary, on free ports, in a temporary
// folder.
//
//	func TestMain(m *testing.M) { embeddedtest.Main(m) }
//
//	func TestX(t *testing.T) {
//		temporal := embeddedtest.Start(t)
//		run, err := temporal.Client.ExecuteWorkflow(…)
//
// The server starts with the first Start (about 0.7 s) and is shared, so each test takes task queues and workflow IDs
// of its own; Name makes them.
package embeddedtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/embedded"
	"github.com/vibeflow/vibeflow/internal/temporalclient"
)

// startPatience is generous: machines that run tests are busy.
const startPatience = 60 * time.Second

// Temporal is a running server.
type Temporal struct {
	Client  client.Client // of the namespace contract.Namespace; shared, closed by Main
	Address string        // of the frontend
	UI      string        // URL of Temporal's UI, which wants the token too
	Token   string
	DataDir *datadir.Dir
}

// Name returns a name that no other test of the binary uses, for task queues and workflow IDs.
func (*Temporal) Name(t testing.TB, suffix string) string {
	return fmt.Sprintf("%s/%d/%s", t.Name(), time.Now().UnixNano(), suffix)
}

var shared struct {
	sync.Mutex
	inMain   bool
	temporal *Temporal
	err      error
	stop     func()
}

// recording is set by MainForRecording.
var recording bool

// MainForRecording is Main for a package that records histories and uses Import. Its server is not set up as production's.
func MainForRecording(m *testing.M) {
	recording = true
	Main(m)
}

// Main runs a package's tests, stops the server if one was started, removes its folder and exits.
func Main(m *testing.M) {
	shared.inMain = true
	code := m.Run()
	if shared.stop != nil {
		shared.stop()
	}
	os.Exit(code)
}

// Start returns the test binary's server, starting it if this is the first call.
func Start(t testing.TB) *Temporal {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.inMain {
		t.Fatal("embeddedtest: the package needs: func TestMain(m *testing.M) { embeddedtest.Main(m) }")
	}
	if shared.temporal == nil && shared.err == nil {
		shared.temporal, shared.stop, shared.err = start()
	}
	if shared.err != nil {
		t.Fatalf("embeddedtest: %v", shared.err)
	}
	return shared.temporal
}

func start() (*Temporal, func(), error) {
	folder, err := os.MkdirTemp("", "vibeflow-temporal-")
	if err != nil {
		return nil, nil, err
	}
	dir, err := datadir.Open(filepath.Join(folder, "data"))
	if err != nil {
		return nil, nil, err
	}
	run := launch(dir)
	temporal, err := connect(dir, run)
	stop := func() {
		if temporal != nil {
			temporal.Client.Close()
		}
		run.cancel()
		<-run.ended
		_ = os.RemoveAll(folder)
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return temporal, stop, nil
}

// running is an embedded server in a goroutine.
type running struct {
	cancel context.CancelFunc
	ready  chan datadir.Endpoints
	ended  chan struct{}
	err    error // valid once ended is closed
}

func launch(dir *datadir.Dir) *running {
	ctx, cancel := context.WithCancel(context.Background())
	run := &running{cancel: cancel, ready: make(chan datadir.Endpoints, 1), ended: make(chan struct{})}
	server := embedded.New(embedded.Options{
		DataDir: dir,
		Logger:  quietLogger(),
		Ready:   func(at datadir.Endpoints) { run.ready <- at },
		// Other test binaries run at the same time, and a developer's own VibeFlow may have the usual ports.
		AnyPorts:  true,
		Recording: recording,
	})
	go func() {
		defer close(run.ended)
		run.err = server.Run(ctx)
	}()
	return run
}

func connect(dir *datadir.Dir, run *running) (*Temporal, error) {
	var at datadir.Endpoints
	select {
	case at = <-run.ready:
	case <-run.ended:
		return nil, fmt.Errorf("server ended: %w", run.err)
	case <-time.After(startPatience):
		return nil, errors.New("server was not ready in time")
	}
	token, err := dir.Token(datadir.SecretTemporalToken)
	if err != nil {
		return nil, err
	}
	c, err := temporalclient.Dial(context.Background(), temporalclient.Options{
		Address: at.TemporalAddress, Token: token, Logger: quietLogger(), Patience: startPatience,
	})
	if err != nil {
		return nil, err
	}
	return &Temporal{Client: c, Address: at.TemporalAddress, UI: at.TemporalUI, Token: token, DataDir: dir}, nil
}

// quietLogger shows errors; VIBEFLOW_TEST_LOG=1 shows everything.
func quietLogger() *slog.Logger {
	level := slog.LevelError
	if os.Getenv("VIBEFLOW_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
