package supervise

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/loopback/loopbacktest"
)

// TestMain lets the test binary play `up`'s children, and `up` itself, as processes of their own.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "temporal", "server", "worker":
			os.Exit(playChild(datadir.Process(os.Args[1]), argument("--data"), argument("--listen")))
		case "up":
			playUp(os.Args[2], os.Args[3])
			return
		}
	}
	os.Exit(m.Run())
}

func argument(name string) string {
	if i := slices.Index(os.Args, name); i > 0 {
		return os.Args[i+1]
	}
	return ""
}

// playChild does what the file fake-<process> in the data folder says, and writes what happens to it into "journal".
func playChild(process datadir.Process, root, listen string) int {
	behaviour, _ := os.ReadFile(filepath.Join(root, "fake-"+string(process)))
	note := func(what string) { appendLine(filepath.Join(root, "journal"), string(process)+" "+what) }
	note("started")
	signals, gone := make(chan os.Signal, 4), make(chan struct{})
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	WatchParent(func() { close(gone) })
	switch string(behaviour) {
	case "refuse":
		fmt.Fprintln(os.Stderr, `{"error":{"code":"prerequisite","message":"no luck today","remedy":"come back tomorrow"}}`)
		return 7
	case "crash":
		fmt.Fprintln(os.Stderr, "panic: out of cheese")
		return 2 // as Go does
	}
	dir, err := datadir.Open(root)
	if err != nil {
		return 1
	}
	if _, err := dir.Lock(string(process)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 7
	}
	fmt.Fprintf(os.Stderr, `{"level":"INFO","msg":"%s chatters"}`+"\n", process)
	fmt.Fprintf(os.Stderr, `{"level":"WARN","msg":"%s worries"}`+"\n", process)
	at := datadir.Endpoints{TemporalAddress: "127.0.0.1:" + strconv.Itoa(7000+len(behaviour))}
	if process == datadir.ProcessServer {
		at = serveReadyz(listen)
	}
	if err := dir.Publish(process, at); err != nil {
		return 1
	}
	for {
		select {
		case got := <-signals:
			note(got.String())
			if string(behaviour) != "deaf" {
				return 0
			}
		case <-gone:
			note("orphaned")
			fmt.Fprintln(os.Stderr, "a line that nobody reads any more")
			note("still writing")
			return 0
		}
	}
}

func serveReadyz(listen string) datadir.Endpoints {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		os.Exit(1)
	}
	go func() {
		_ = http.Serve(listener, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})) //nolint:gosec // a test
	}()
	return datadir.Endpoints{Server: "http://" + listener.Addr().String()}
}

func appendLine(path, line string) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		os.Exit(1)
	}
	_, _ = file.WriteString(line + "\n")
	_ = file.Close()
}

func playUp(root, listen string) {
	dir, err := datadir.Open(root)
	if err == nil {
		err = Run(context.Background(), Options{DataDir: dir, Listen: listen, Out: os.Stdout, Err: os.Stderr})
	}
	fmt.Println(err)
}

// buffer is a bytes.Buffer for several writers.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// bench is one supervised set of fakes.
type bench struct {
	t        *testing.T
	dir      *datadir.Dir
	options  Options
	out, err buffer
	ready    chan datadir.Endpoints
	stop     context.CancelFunc
	ended    chan error
}

func newBench(t *testing.T, behaviour map[datadir.Process]string) *bench {
	t.Helper()
	dir, err := datadir.Open(filepath.Join(t.TempDir(), "data"))
	require.NoError(t, err)
	b := &bench{t: t, dir: dir, ready: make(chan datadir.Endpoints, 1), ended: make(chan error, 1)}
	for process, how := range behaviour {
		b.behave(process, how)
	}
	quick := defaultTiming()
	quick.firstBackoff, quick.longestBackoff, quick.oldChildren = 10*time.Millisecond, 80*time.Millisecond, 300*time.Millisecond
	b.options = Options{
		DataDir: dir, Listen: loopbacktest.Free(t), Out: &b.out, Err: &b.err,
		Ready: func(at datadir.Endpoints) { b.ready <- at }, timing: quick,
	}
	return b
}

func (b *bench) behave(process datadir.Process, how string) {
	require.NoError(b.t, os.WriteFile(filepath.Join(b.dir.Root(), "fake-"+string(process)), []byte(how), 0o600))
}

func (b *bench) start() {
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	go func() { b.ended <- Run(ctx, b.options) }()
	b.t.Cleanup(cancel)
}

func (b *bench) awaitReady() datadir.Endpoints {
	b.t.Helper()
	select {
	case at := <-b.ready:
		return at
	case err := <-b.ended:
		b.t.Fatalf("up ended: %v\n%s", err, b.err.String())
	case <-time.After(20 * time.Second):
		b.t.Fatalf("not ready\n%s", b.err.String())
	}
	return datadir.Endpoints{}
}

func (b *bench) awaitEnd() error {
	b.t.Helper()
	select {
	case err := <-b.ended:
		return err
	case <-time.After(20 * time.Second):
		b.t.Fatalf("up did not end\n%s", b.err.String())
	}
	return nil
}

func (b *bench) journal() string {
	content, _ := os.ReadFile(filepath.Join(b.dir.Root(), "journal"))
	return string(content)
}

func (b *bench) eventually(what string, condition func() bool) {
	b.t.Helper()
	require.Eventually(b.t, condition, 20*time.Second, 5*time.Millisecond, what)
}

func (b *bench) kill(process datadir.Process) {
	b.t.Helper()
	_, pid, ok := b.dir.Published(process)
	require.True(b.t, ok)
	require.NoError(b.t, syscall.Kill(pid, syscall.SIGKILL))
}

func TestStartsShowsAndStopsInOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.start()
	at := b.awaitReady()
	require.Equal(t, "http://"+b.options.Listen, at.Server)
	require.Contains(t, b.out.String(), "VibeFlow is ready: http://"+b.options.Listen)

	b.stop()
	require.NoError(t, b.awaitEnd())
	lines := strings.Split(strings.TrimSpace(b.journal()), "\n")
	require.Equal(t, []string{"worker interrupt", "server interrupt", "temporal interrupt"}, lines[3:])
	require.Contains(t, b.err.String(), "server | ")
	require.Contains(t, b.err.String(), "server worries")
	require.NotContains(t, b.err.String(), "chatters", "what is only information goes to the log file")
	log, err := os.ReadFile(filepath.Join(b.dir.Logs(), "server.log"))
	require.NoError(t, err)
	require.Contains(t, string(log), "server chatters")
	owners, err := b.dir.Owners()
	require.NoError(t, err)
	require.Empty(t, owners)
}

func TestVerboseShowsEverything(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.options.Verbose = true
	b.start()
	b.awaitReady()
	b.stop()
	require.NoError(t, b.awaitEnd())
	require.Contains(t, b.err.String(), "worker chatters")
}

func TestWhatDiesIsRestarted(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.start()
	b.awaitReady()
	for _, process := range stopOrder {
		before := strings.Count(b.journal(), string(process)+" started")
		b.kill(process)
		b.eventually("it is started again", func() bool {
			return strings.Count(b.journal(), string(process)+" started") == before+1
		})
		b.eventually("and said to be back", func() bool {
			return strings.Contains(b.err.String(), string(process)+" is back")
		})
		require.Contains(t, b.err.String(), "up: "+string(process)+" ended after ")
		require.Contains(t, b.err.String(), "(killed, signal 9); restarting in 10ms")
	}
	b.stop()
	require.NoError(t, b.awaitEnd())
	require.Equal(t, 1, strings.Count(b.out.String(), "ready"), "said once")
}

func TestBackoffGrowsToItsLimit(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[datadir.Process]string{datadir.ProcessWorker: "crash"})
	b.start()
	b.eventually("it is restarted again and again, for a panic is no refusal", func() bool {
		return strings.Count(b.err.String(), "restarting in 80ms") >= 2
	})
	for _, wait := range []string{"10ms", "20ms", "40ms", "80ms"} {
		require.Contains(t, b.err.String(), "(exit code 2); restarting in "+wait)
	}
	require.Contains(t, b.err.String(), "worker | panic: out of cheese", "what is no log line is shown")
	b.behave(datadir.ProcessWorker, "")
	b.awaitReady()
	b.stop()
	require.NoError(t, b.awaitEnd())
}

func TestARefusalEndsUpInItsWords(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[datadir.Process]string{datadir.ProcessServer: "refuse"})
	b.start()
	err := b.awaitEnd()
	require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err))
	require.EqualError(t, err, "no luck today (come back tomorrow)")
	require.Equal(t, refusalsThatCount, strings.Count(b.journal(), "server started"))
	require.Contains(t, b.journal(), "temporal interrupt", "the others are stopped")
	require.Contains(t, b.err.String(), "server | no luck today (come back tomorrow)\n", "in words, not as JSON")
}

func TestADeafProcessIsKilled(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[datadir.Process]string{datadir.ProcessServer: "deaf"})
	b.options.timing.grace[datadir.ProcessServer] = 50 * time.Millisecond
	b.start()
	b.awaitReady()
	b.stop()
	require.NoError(t, b.awaitEnd())
	require.Contains(t, b.err.String(), "killing server: it did not stop within 50ms")
	require.Contains(t, b.journal(), "temporal interrupt", "the rest stops cleanly")
}

func TestASecondCtrlCDoesNotWait(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[datadir.Process]string{datadir.ProcessWorker: "deaf"})
	b.options.timing.hurried = 20 * time.Millisecond
	hurry := make(chan struct{})
	b.options.Hurry = hurry
	b.start()
	b.awaitReady()
	b.stop()
	b.eventually("the worker was asked", func() bool { return strings.Contains(b.journal(), "worker interrupt") })
	close(hurry)
	require.NoError(t, b.awaitEnd())
	require.Contains(t, b.err.String(), "killing worker: as asked")
	require.Contains(t, b.journal(), "temporal interrupt", "the others are still asked before they are killed")
}

func TestTakenPortIsRefusedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	taken, err := net.Listen("tcp", b.options.Listen)
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	b.start()
	err = b.awaitEnd()
	require.Equal(t, contract.CodeInUse, contract.CodeOf(err))
	_, port, _ := net.SplitHostPort(b.options.Listen)
	require.ErrorContains(t, err, "port "+port)
	require.ErrorContains(t, err, "--listen")
	require.Empty(t, b.journal())

	for _, bad := range []string{"nonsense", "192.0.2.1:80", "127.0.0.1:99999"} {
		b.options.Listen = bad
		b.start()
		require.Equal(t, contract.CodeInvalid, contract.CodeOf(b.awaitEnd()), bad)
	}
}

func TestOneUpAFolder(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.start()
	b.awaitReady()
	err := Run(t.Context(), b.options)
	require.Equal(t, contract.CodeInUse, contract.CodeOf(err))
	require.ErrorContains(t, err, "vibeflow up")
	b.stop()
	require.NoError(t, b.awaitEnd())
}

// TestABackupKeepsNobodyFromStarting: it reads beside whoever runs.
func TestABackupKeepsNobodyFromStarting(t *testing.T) {
	b := newBench(t, nil)
	lock, err := b.dir.Lock(datadir.LockBackup)
	require.NoError(t, err)
	defer lock.Release()
	b.start()
	b.awaitReady()
	b.stop()
	require.NoError(t, b.awaitEnd())
}

func TestProcessesStartedByHandAreNotFoughtOver(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	lock, err := b.dir.Lock("worker-0")
	require.NoError(t, err)
	b.start()
	err = b.awaitEnd()
	require.Equal(t, contract.CodeInUse, contract.CodeOf(err))
	require.ErrorContains(t, err, fmt.Sprintf("kill %d", os.Getpid()))
	require.Contains(t, b.err.String(), "waiting for processes of an earlier start to leave: worker-0")
	require.Empty(t, b.journal())

	lock.Release()
	b.start()
	b.awaitReady()
	b.stop()
	require.NoError(t, b.awaitEnd())
}

func TestChildrenLeaveWhenUpIsKilled(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	up := exec.Command(os.Args[0], "up", b.dir.Root(), b.options.Listen)
	out, err := up.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, up.Start())
	t.Cleanup(func() { _ = up.Process.Kill() })
	ready := make([]byte, 8)
	_, err = out.Read(ready)
	require.NoError(t, err)
	require.Equal(t, "VibeFlow", string(ready))

	require.NoError(t, up.Process.Kill())
	_ = up.Wait()
	b.eventually("every child has left", func() bool {
		owners, err := b.dir.Owners()
		return err == nil && len(owners) == 0
	})
	for _, process := range stopOrder {
		require.Contains(t, b.journal(), string(process)+" orphaned")
		require.Contains(t, b.journal(), string(process)+" still writing", "a log line without a reader is no death")
	}
	b.start() // and the next up starts as if nothing had been
	b.awaitReady()
	b.stop()
	require.NoError(t, b.awaitEnd())
}

func TestTemporalsMoveRestartsTheOthers(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.start()
	b.awaitReady()
	b.behave(datadir.ProcessTemporal, "elsewhere") // the fake's port depends on it
	b.kill(datadir.ProcessTemporal)
	b.eventually("server and worker are restarted", func() bool {
		journal := b.journal()
		return strings.Count(journal, "server started") == 2 && strings.Count(journal, "worker started") == 2
	})
	require.Contains(t, b.journal(), "worker terminated", "SIGTERM: its runners go on")
	b.stop()
	require.NoError(t, b.awaitEnd())
}

func TestLogsAreRotated(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	s, err := newSupervisor(b.options)
	require.NoError(t, err)
	log, err := openLog(s, datadir.ProcessServer)
	require.NoError(t, err)
	line := []byte(`{"level":"INFO","msg":"` + strings.Repeat("x", 60<<10) + `"}` + "\n")
	for range 5 * rotateAt / len(line) {
		_, _ = log.Write(line)
	}
	log.Close()
	files, err := filepath.Glob(filepath.Join(b.dir.Logs(), "server.log*"))
	require.NoError(t, err)
	require.Len(t, files, 1+keepRotated)
	for _, file := range files {
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size(), int64(rotateAt))
	}
}

func TestWhatPeopleSeeOfALog(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`{"time":"x","level":"INFO","msg":"a"}`:                               "",
		`{"level":"DEBUG-2","msg":"a"}`:                                       "",
		`{"level":"INFO+1","msg":"a"}`:                                        "",
		`{"time":"x","level":"WARN","msg":"slow","process":"server","ms":12}`: "WARN slow ms=12",
		`{"level":"ERROR","msg":"a","error":"b"}`:                             "ERROR a error=b",
		`{"broken`:                                                   `{"broken`,
		`time=2026 level=INFO msg="level=ERROR"`:                     "",
		`time=2026 level=WARN msg=a`:                                 `time=2026 level=WARN msg=a`,
		`panic: runtime error`:                                       `panic: runtime error`,
		`goroutine 1 [running]: level=INFO`:                          `goroutine 1 [running]: level=INFO`,
		`{"error":{"code":"in_use","message":"no","remedy":"wait"}}`: "no (wait)",
	} {
		b := newBench(t, nil)
		s, err := newSupervisor(b.options)
		require.NoError(t, err)
		log, err := openLog(s, datadir.ProcessServer)
		require.NoError(t, err)
		_, _ = log.Write([]byte(line + "\n"))
		log.Close()
		if want != "" {
			want = "server | " + want + "\n"
		}
		require.Equal(t, want, b.err.String(), line)
	}
}

func TestALongTraceIsShownByItsBeginning(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	s, err := newSupervisor(b.options)
	require.NoError(t, err)
	log, err := openLog(s, datadir.ProcessServer)
	require.NoError(t, err)
	for i := range 100 {
		_, _ = fmt.Fprintf(log, "main.recurse(%d)\n", i)
	}
	_, _ = log.Write([]byte(`{"level":"WARN","msg":"after"}` + "\nand again\n"))
	log.Close()
	require.Equal(t, longestTrace+3, strings.Count(b.err.String(), "\n"))
	require.Contains(t, b.err.String(), "… more in "+log.path)
	require.Contains(t, b.err.String(), "WARN after\nserver | and again")
	whole, err := os.ReadFile(log.path)
	require.NoError(t, err)
	require.Contains(t, string(whole), "main.recurse(99)")
}
