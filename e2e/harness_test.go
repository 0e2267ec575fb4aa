//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/loopback"
)

// binary is bin/vibeflow, or what VIBEFLOW_BIN names.
func binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("VIBEFLOW_BIN")
	if path == "" {
		path = "../bin/vibeflow"
	}
	path, err := filepath.Abs(path)
	require.NoError(t, err)
	require.FileExists(t, path, "build it first: go tool task build")
	return path
}

// platform is one VibeFlow: a data folder and the `up` that runs on it.
type platform struct {
	t      *testing.T
	dir    *datadir.Dir
	listen string
	up     *exec.Cmd
	log    *syncBuffer
	client *apiclient.Client
}

const readyPatience = 90 * time.Second

func newPlatform(t *testing.T) *platform {
	t.Helper()
	root, err := os.MkdirTemp("", "vibeflow-e2e-") // not t.TempDir: socket paths must be short
	require.NoError(t, err)
	dir, err := datadir.Open(filepath.Join(root, "d"))
	require.NoError(t, err)
	p := &platform{t: t, dir: dir, listen: loopback.FreeAddress(t), log: &syncBuffer{}}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("up said:\n%s", p.log.String())
			p.showLogs()
		}
		_ = os.RemoveAll(root)
	})
	p.start()
	return p
}

// start runs `vibeflow up` and waits until it is ready.
func (p *platform) start() {
	p.t.Helper()
	p.up = exec.Command(binary(p.t), "up", "--data", p.dir.Root(), "--listen", p.listen)
	p.up.Stdout, p.up.Stderr = p.log, p.log
	require.NoError(p.t, p.up.Start())
	token, err := p.dir.Token(datadir.SecretCLIToken)
	require.NoError(p.t, err)
	p.client = &apiclient.Client{Base: "http://" + p.listen, Token: token}
	ctx, cancel := context.WithTimeout(p.t.Context(), readyPatience)
	defer cancel()
	require.NoError(p.t, p.client.WaitReady(ctx), "up said:\n%s", p.log)
	_, err = p.dir.AwaitPublished(ctx, datadir.ProcessWorker)
	require.NoError(p.t, err, "up said:\n%s", p.log)
}

// stop ends `up` as Ctrl-C does.
func (p *platform) stop() {
	if p.up == nil || p.up.ProcessState != nil {
		return
	}
	_ = p.up.Process.Signal(syscall.SIGINT)
	done := make(chan struct{})
	go func() { _ = p.up.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		_ = p.up.Process.Kill()
		<-done
	}
}

// kill sends kill -9 to a process of the platform.
func (p *platform) kill(process datadir.Process) {
	p.t.Helper()
	pid, held := p.dir.Owner(string(process))
	require.True(p.t, held, "%s does not run", process)
	require.NoError(p.t, syscall.Kill(pid, syscall.SIGKILL))
}

// killEverything leaves nothing alive, the runner of a run included, and waits until `up` is gone.
func (p *platform) killEverything(run string) {
	p.t.Helper()
	runner, alive := p.runner(run)
	for _, process := range []datadir.Process{datadir.ProcessUp, datadir.ProcessWorker, datadir.ProcessServer, datadir.ProcessTemporal} {
		p.kill(process)
	}
	if alive {
		require.NoError(p.t, syscall.Kill(runner, syscall.SIGKILL))
	}
	_ = p.up.Wait()
}

// runner is the pid of a run's newest runner that lives.
func (p *platform) runner(run string) (pid int, alive bool) {
	leases, _ := filepath.Glob(filepath.Join(p.dir.Root(), "worker", "main", "runs", run, "e*", "lease.json"))
	for _, path := range leases {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var lease contract.Lease
		if json.Unmarshal(data, &lease) == nil && lease.PID > 0 && syscall.Kill(lease.PID, 0) == nil && !zombie(lease.PID) {
			return lease.PID, true
		}
	}
	return 0, false
}

func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return bytes.HasPrefix(rest, []byte("Z"))
}

func (p *platform) showLogs() {
	for _, name := range []string{"worker", "server", "temporal"} {
		data, err := os.ReadFile(filepath.Join(p.dir.Logs(), name+".log"))
		if err == nil {
			lines := strings.Split(string(data), "\n")
			p.t.Logf("--- %s.log\n%s", name, strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
	}
}

// cli runs a client command and returns what it printed.
func (p *platform) cli(args ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	return runCLI(p.t, append(args, "--data", p.dir.Root())...)
}

func runCLI(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, complaints bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	return out.String(), complaints.String(), cmd.ProcessState.ExitCode()
}

// upload ingests content and returns the dataset once it is ready.
func (p *platform) upload(name, content string) apigen.Dataset {
	p.t.Helper()
	ds, err := p.client.UploadDatasetFrom(p.t.Context(), strings.NewReader(content), name, apiclient.Upload{})
	require.NoError(p.t, err)
	p.follow("/api/datasets/"+ds.ID, func(contract.Event) bool { return false })
	ds, err = apiclient.Get[apigen.Dataset](p.t.Context(), p.client, "/api/datasets/"+ds.ID, nil)
	require.NoError(p.t, err)
	require.Equal(p.t, string(contract.StatusReady), string(ds.Status), "%+v", ds.Error)
	return ds
}

// follow calls see for each event of a resource until see says so or the resource is final.
func (p *platform) follow(path string, see func(contract.Event) (stop bool)) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Minute)
	defer cancel()
	err := p.client.Follow(ctx, path+"/events", 0, func(e contract.Event) error {
		if see(e) {
			return apiclient.ErrStop
		}
		return nil
	}, nil)
	require.NoError(p.t, err)
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
