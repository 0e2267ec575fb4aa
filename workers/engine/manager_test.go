package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/activities/gpu"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient/gatewaytest"
	"github.com/vibeflow/vibeflow/internal/hardware"
	"github.com/vibeflow/vibeflow/workers/engine"
	"github.com/vibeflow/vibeflow/workers/runner"
)

var base = contract.ModelRef{Source: "hub:owner/model", Revision: "abc", Token: "hub-secret"}

// bench is a worker's folder, a gateway, and managers that come and go.
type bench struct {
	t       *testing.T
	gateway *gatewaytest.Gateway
	scratch *runner.Scratch
	starts  *starts
	idle    time.Duration
	free    uint64
}

func newBench(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	scratch, err := runner.OpenScratch(filepath.Join(t.TempDir(), "scratch"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = scratch.Close() })
	return &bench{
		t: t, gateway: gatewaytest.New(t), scratch: scratch, starts: &starts{t: t, mode: "ok"},
		idle: time.Minute, free: 64 << 30,
	}
}

// deploy makes a deployment known whose weights are content; none: the base itself.
func (b *bench) deploy(id, content string) {
	spec := contract.DeploymentSpec{DeploymentID: id, ModelID: "model_1", Base: base}
	if content != "" {
		file := b.gateway.AddBlob([]byte(content))
		file.Path = "adapter.bin"
		spec.Weights = &contract.Input{Files: []contract.FileInfo{file}, Method: "lora"}
	}
	b.gateway.AddDeployment(spec)
}

// manager is a new life of the worker; it ends with the returned function, or with the test.
func (b *bench) manager() (*engine.Manager, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	m := engine.New(engine.Config{
		Scratch: b.scratch, Gateway: b.gateway.Client(b.t), Worker: "host/instance/boot", Start: b.starts.start,
		Hardware: func(context.Context) hardware.Hardware {
			return hardware.Hardware{Memory: hardware.Memory{Available: b.free}}
		},
		Idle: b.idle, Every: 10 * time.Millisecond,
	})
	kept := make(chan struct{})
	go func() { defer close(kept); m.Keep(ctx) }()
	b.t.Cleanup(func() { cancel(); <-kept })
	return m, cancel
}

type serving struct {
	t      *testing.T
	stop   chan struct{}
	detach context.CancelFunc
	done   chan error
}

func (b *bench) serve(m *engine.Manager, id string) *serving {
	ctx, cancel := context.WithCancel(context.Background())
	b.t.Cleanup(cancel)
	s := &serving{t: b.t, stop: make(chan struct{}), detach: cancel, done: make(chan error, 1)}
	go func() { s.done <- m.Serve(ctx, gpu.ServeRequest{DeploymentID: id, Stop: s.stop}) }()
	return s
}

func (s *serving) wait() error {
	s.t.Helper()
	select {
	case err := <-s.done:
		return err
	case <-time.After(time.Minute):
		require.Fail(s.t, "the deployment did not end in a minute")
		return nil
	}
}

// awaitTold blocks until the gateway was told n times where a deployment answers, and returns the last.
func (b *bench) awaitTold(id string, n int) contract.Serving {
	b.t.Helper()
	var last contract.Serving
	b.gateway.AwaitServing(b.t, id, func(told []contract.Serving) bool {
		if len(told) >= n {
			last = told[len(told)-1]
		}
		return len(told) >= n
	})
	return last
}

// loaded asks an engine what it has.
func (b *bench) loaded(at contract.Serving) []string {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, at.URL+"/adapters", nil)
	require.NoError(b.t, err)
	request.Header.Set("Authorization", "Bearer "+at.Token)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(b.t, err)
	defer answer.Body.Close()
	var body struct{ Adapters []string }
	require.NoError(b.t, json.NewDecoder(answer.Body).Decode(&body))
	return body.Adapters
}

func TestDeploymentsShareAnEngine(t *testing.T) {
	b := newBench(t)
	b.deploy("dep_1", "one")
	b.deploy("dep_2", "two")
	b.deploy("dep_3", "")
	m, _ := b.manager()
	first, second, third := b.serve(m, "dep_1"), b.serve(m, "dep_2"), b.serve(m, "dep_3")
	at := b.awaitTold("dep_1", 1)
	require.Equal(t, at.URL, b.awaitTold("dep_2", 1).URL)
	require.Equal(t, "base", b.awaitTold("dep_3", 1).Name)
	require.Equal(t, "dep_1", at.Name)
	require.Equal(t, "cpu", at.Device)
	require.Equal(t, []string{"dep_1", "dep_2"}, b.loaded(at))
	require.Len(t, b.starts.all(), 1)

	close(first.stop)
	require.NoError(t, first.wait())
	require.Equal(t, []string{"dep_2"}, b.loaded(at), "taken down is unloaded")
	close(second.stop)
	close(third.stop)
	require.NoError(t, second.wait())
	require.NoError(t, third.wait())
}

func TestSecretsStayOutOfArgumentsAndRecords(t *testing.T) {
	b := newBench(t)
	b.deploy("dep_1", "one")
	m, _ := b.manager()
	b.serve(m, "dep_1")
	at := b.awaitTold("dep_1", 1)
	launch := b.starts.launches[0]
	require.NotContains(t, strings.Join(launch.Args, " "), base.Token)
	require.NotContains(t, strings.Join(launch.Args, " "), at.Token)
	require.Contains(t, launch.Env, "HF_TOKEN="+base.Token)
	record, err := os.ReadFile(filepath.Join(launch.Folder, "engine.json"))
	require.NoError(t, err)
	require.NotContains(t, string(record), base.Token)
	tokens, err := filepath.Glob(filepath.Join(launch.Folder, "*token"))
	require.NoError(t, err)
	require.Len(t, tokens, 1)
	info, err := os.Stat(tokens[0])
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestDeadEngineComesBackWithItsAdapters(t *testing.T) {
	b := newBench(t)
	b.deploy("dep_1", "one")
	b.deploy("dep_2", "two")
	m, _ := b.manager()
	b.serve(m, "dep_1")
	b.serve(m, "dep_2")
	before := b.awaitTold("dep_1", 1)
	b.awaitTold("dep_2", 1)
	b.starts.all()[0].Kill()
	after := b.awaitTold("dep_1", 2)
	b.awaitTold("dep_2", 2)
	require.NotEqual(t, before.Token, after.Token)
	require.Equal(t, []string{"dep_1", "dep_2"}, b.loaded(after))
	require.Equal(t, []int{1, 1}, []int{b.gateway.Lost("dep_1"), b.gateway.Lost("dep_2")}, "those who watch are told")
	require.Len(t, b.starts.all(), 2)
}

// TestADeploymentThatHasServedWaitsForMemory: its engine dies while a training has what was free. That passes: the attempt is tried
// again, by this worker and by the next.
func TestADeploymentThatHasServedWaitsForMemory(t *testing.T) {
	b := newBench(t)
	b.deploy("dep_1", "one")
	var free atomic.Uint64
	free.Store(64 << 30)
	m, _ := b.manager()
	m.Hardware = func(context.Context) hardware.Hardware {
		return hardware.Hardware{Memory: hardware.Memory{Available: free.Load()}}
	}
	first := b.serve(m, "dep_1")
	b.awaitTold("dep_1", 1)
	free.Store(1 << 20)
	b.starts.all()[0].Kill()
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(first.wait()))

	b.gateway.AddDeployment(contract.DeploymentSpec{DeploymentID: "dep_1", ModelID: "model_1", Base: base, Served: true})
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(b.serve(m, "dep_1").wait()), "its next attempt, too")
	free.Store(64 << 30)
	b.serve(m, "dep_1")
	b.awaitTold("dep_1", 2)
}

func TestEngineThatNobodyKnowsOfIsNotTakenForTheNext(t *testing.T) {
	b := newBench(t)
	b.deploy("dep_1", "one")
	dying, end := b.manager()
	dying.Start = func(ctx context.Context, launch runner.Launch) (runner.Process, error) {
		_, err := b.starts.start(ctx, launch)
		return runner.Process{}, errors.Join(err, errors.New("the worker died before it could note the process"))
	}
	require.Error(t, b.serve(dying, "dep_1").wait())
	end()
	unknown := b.starts.launches[0]
	word := unknown.Args[slices.Index(unknown.Args, "--ready-file")+1]
	lease := unknown.Args[slices.Index(unknown.Args, "--lease-file")+1]
	require.Eventually(t, func() bool { _, err := os.Stat(word); return err == nil }, time.Minute, 10*time.Millisecond)

	m, _ := b.manager()
	b.serve(m, "dep_1")
	at := b.awaitTold("dep_1", 1)
	require.Equal(t, []string{"dep_1"}, b.loaded(at), "it is the new engine that answers, with its own token")
	known := b.starts.launches[1]
	for _, flag := range []string{"--ready-file", "--token-file", "--lease-file"} {
		at := slices.Index(known.Args, flag) + 1
		require.NotEqual(t, unknown.Args[at], known.Args[at], flag)
	}
	var fenced contract.Lease
	data, err := os.ReadFile(lease)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &fenced))
	require.Equal(t, int64(math.MaxInt64), fenced.Epoch, "the unknown one is told to leave")
}

func TestNextWorkerAdoptsLiveEngine(t *testing.T) {
	b := newBench(t)
	b.deploy("dep_1", "one")
	b.deploy("dep_2", "two")
	m, end := b.manager()
	first, second := b.serve(m, "dep_1"), b.serve(m, "dep_2")
	before := b.awaitTold("dep_1", 1)
	b.awaitTold("dep_2", 1)
	first.detach()
	second.detach()
	require.ErrorIs(t, first.wait(), gpu.ErrDetached)
	require.ErrorIs(t, second.wait(), gpu.ErrDetached)
	end()
	require.Equal(t, []string{"dep_1", "dep_2"}, b.loaded(before), "it answers on while no worker is there")

	// dep_2 was taken down in between: nobody claims it any more.
	b.idle = 200 * time.Millisecond
	next, _ := b.manager()
	b.serve(next, "dep_1")
	after := b.awaitTold("dep_1", 2)
	require.Equal(t, before.URL, after.URL)
	require.Len(t, b.starts.all(), 1)
	require.Eventually(t, func() bool { return len(b.loaded(after)) == 1 }, 30*time.Second, 10*time.Millisecond)
	require.Equal(t, []string{"dep_1"}, b.loaded(after))
}

func TestIdleEngineIsStopped(t *testing.T) {
	b := newBench(t)
	b.idle = 50 * time.Millisecond
	b.deploy("dep_1", "one")
	m, _ := b.manager()
	s := b.serve(m, "dep_1")
	b.awaitTold("dep_1", 1)
	close(s.stop)
	require.NoError(t, s.wait())
	require.True(t, b.starts.all()[0].AwaitExit(30*time.Second))
}

// TestAnUploadedBaseIsFetchedAndWiped: it lies in the engine's folder as long as somebody uses the engine.
func TestAnUploadedBaseIsFetchedAndWiped(t *testing.T) {
	b := newBench(t)
	b.idle = 50 * time.Millisecond
	file := b.gateway.AddBlob([]byte("weights"))
	file.Path = "model.safetensors"
	b.gateway.AddDeployment(contract.DeploymentSpec{DeploymentID: "dep_1", ModelID: "model_1",
		Base: contract.ModelRef{Source: "upload:model_1", Files: []contract.FileInfo{file}}})
	m, _ := b.manager()
	s := b.serve(m, "dep_1")
	b.awaitTold("dep_1", 1)
	args := b.starts.launches[0].Args
	folder := args[slices.Index(args, "--model-path")+1]
	content, err := os.ReadFile(filepath.Join(folder, file.Path))
	require.NoError(t, err)
	require.Equal(t, "weights", string(content))
	close(s.stop)
	require.NoError(t, s.wait())
	require.True(t, b.starts.all()[0].AwaitExit(30*time.Second))
	require.Eventually(t, func() bool { _, err := os.Stat(folder); return os.IsNotExist(err) }, 30*time.Second, 10*time.Millisecond)
}

func TestEngineOfEarlierWorkerWithoutDeploymentIsStopped(t *testing.T) {
	b := newBench(t)
	b.deploy("dep_1", "one")
	m, end := b.manager()
	s := b.serve(m, "dep_1")
	b.awaitTold("dep_1", 1)
	s.detach()
	require.ErrorIs(t, s.wait(), gpu.ErrDetached)
	end()
	b.idle = 50 * time.Millisecond
	b.manager()
	require.True(t, b.starts.all()[0].AwaitExit(30*time.Second))
}

func TestStopAll(t *testing.T) {
	b := newBench(t)
	b.deploy("dep_1", "one")
	m, _ := b.manager()
	s := b.serve(m, "dep_1")
	b.awaitTold("dep_1", 1)
	s.detach()
	require.ErrorIs(t, s.wait(), gpu.ErrDetached)
	require.NoError(t, m.StopAll())
	require.False(t, b.starts.all()[0].Alive())
}

func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		mode, content string
		free          uint64
		code          contract.Code
		says          string
	}{
		"engine says why":    {mode: "refuse", free: 64 << 30, content: "one", code: contract.CodeModelUnavailable, says: "gated"},
		"engine says naught": {mode: "crash", free: 64 << 30, content: "one", code: contract.CodeRunnerCrashed, says: "before it answered"},
		"too little memory":  {mode: "ok", free: 1 << 20, content: "one", code: contract.CodeOutOfMemory, says: "1.0 MiB are free"},
		"other weights":      {mode: "ok", free: 64 << 30, content: "unlike", code: contract.CodeParity, says: "do not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.starts.mode, b.free = test.mode, test.free
			b.deploy("dep_1", test.content)
			m, _ := b.manager()
			err := b.serve(m, "dep_1").wait()
			require.Equal(t, test.code, contract.CodeOf(err))
			require.ErrorContains(t, err, test.says)
		})
	}
}

func TestUnknownDeployment(t *testing.T) {
	b := newBench(t)
	m, _ := b.manager()
	require.Equal(t, contract.CodeNotFound, contract.CodeOf(b.serve(m, "dep_9").wait()))
	require.Equal(t, contract.CodeInvalid, contract.CodeOf(b.serve(m, "../x").wait()))
}
