// Package supervise is what `vibeflow up` does: it runs Temporal, the server and the worker as processes of their own,
// restarts what dies, shows what they complain about, and stops them in order. It holds no state: whatever dies, `up`
// included, the next start carries on.
//
//	up ──┬─ temporal   ready: run/temporal.json
//	     ├─ server     ready: run/server.json and /readyz
//	     └─ worker     ready: run/worker.json
//
// All three start at once, for server and worker wait for Temporal by themselves. Each child has a process group of
// its own, so that Ctrl-C reaches `up` alone and the order of stopping is its to choose; and the reading end of a
// pipe, whose end tells it that `up` was killed (WatchParent).
package supervise

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
)

// Options configures Run.
type Options struct {
	// Executable is run as `<Executable> <process> --data DIR …`; empty: the program that runs now.
	Executable string
	DataDir    *datadir.Dir
	// Listen is the server's HOST:PORT.
	Listen string
	// Args are further arguments of each process.
	Args map[datadir.Process][]string
	// Elsewhere are the processes that are left out: a Temporal cluster, or workers on other machines, are used.
	Elsewhere []datadir.Process
	// Verbose shows everything that the processes log, not only warnings, errors and what is no log line.
	Verbose bool
	// Out gets the one line that says that VibeFlow is ready; Err what is restarted, and complaints. Nil: discard.
	Out, Err io.Writer
	// Ready, if set, is called once, when all processes are.
	Ready func(datadir.Endpoints)
	// Hurry, if set, cuts the waiting short when it is closed while the processes stop: a second Ctrl-C. Runners that
	// have not saved by then go on by themselves, and the next worker adopts them.
	Hurry <-chan struct{}

	timing timing
}

// timing is what tests shorten.
type timing struct {
	oldChildren    time.Duration // how long the processes of a killed `up` may take to leave
	firstBackoff   time.Duration
	longestBackoff time.Duration
	healthy        time.Duration // a process that lived this long starts again at the first backoff
	slowStart      time.Duration // after this long, say what start-up waits for
	readyPoll      time.Duration
	hurried        time.Duration                     // what is left of that after a second Ctrl-C
	grace          map[datadir.Process]time.Duration // to stop cleanly before SIGKILL
}

func defaultTiming() timing {
	return timing{
		oldChildren:    15 * time.Second,
		firstBackoff:   200 * time.Millisecond,
		longestBackoff: 10 * time.Second,
		healthy:        30 * time.Second,
		slowStart:      10 * time.Second,
		readyPoll:      20 * time.Millisecond,
		hurried:        2 * time.Second,
		grace: map[datadir.Process]time.Duration{
			// A runner finishes its step and saves, which on a CPU and a large model takes its time.
			datadir.ProcessWorker:   2 * time.Minute,
			datadir.ProcessServer:   20 * time.Second,
			datadir.ProcessTemporal: 10 * time.Second,
		},
	}
}

// stopOrder lets the worker report what it saved to the server, and the server tell Temporal, before those leave.
var stopOrder = []datadir.Process{datadir.ProcessWorker, datadir.ProcessServer, datadir.ProcessTemporal}

// Run supervises until the context ends, then pauses the runners, stops everything in order, and returns nil. It
// refuses to start (CodeInUse) if the data folder has an `up`, or processes that do not leave, or if the port to
// listen on is taken. A process that keeps refusing to start ends it with that refusal.
func Run(ctx context.Context, options Options) error {
	s, err := newSupervisor(options)
	if err != nil {
		return err
	}
	lock, err := s.DataDir.Lock(string(datadir.ProcessUp))
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := s.awaitOldChildren(ctx); err != nil {
		return err
	}
	if err := checkListen(s.Listen); err != nil {
		return err
	}
	return s.run(ctx)
}

type supervisor struct {
	Options
	children []*child
	output   sync.Mutex // keeps lines of several processes whole
}

func newSupervisor(options Options) (*supervisor, error) {
	if options.Executable == "" {
		executable, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the running program: %w", err)
		}
		options.Executable = executable
	}
	if options.Out == nil {
		options.Out = io.Discard
	}
	if options.Err == nil {
		options.Err = io.Discard
	}
	if options.timing.grace == nil {
		options.timing = defaultTiming()
	}
	s := &supervisor{Options: options}
	for _, process := range []datadir.Process{datadir.ProcessTemporal, datadir.ProcessServer, datadir.ProcessWorker} {
		if !slices.Contains(options.Elsewhere, process) {
			s.children = append(s.children, newChild(s, process))
		}
	}
	return s, nil
}

// run starts the children, waits for the end of the context or for a child that refuses for good, and stops them.
func (s *supervisor) run(ctx context.Context) error {
	began := time.Now()
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	refused := make(chan error, len(s.children))
	var alive sync.WaitGroup
	for _, c := range s.children {
		alive.Go(func() {
			if err := c.keepAlive(running); err != nil {
				refused <- err
			}
		})
	}
	starting, cancelStarting := context.WithCancel(ctx)
	defer cancelStarting()
	alive.Go(func() { s.announce(starting, began) })

	var err error
	select {
	case <-ctx.Done():
		s.say("stopping: runners save and pause, then everything stops")
	case err = <-refused:
	}
	cancelStarting()
	s.stopAll()
	end()
	alive.Wait()
	return err
}

// announce says once that everything is ready, and meanwhile what it waits for.
func (s *supervisor) announce(ctx context.Context, began time.Time) {
	notice := began.Add(s.timing.slowStart)
	for {
		waiting := s.notReady()
		if len(waiting) == 0 {
			break
		}
		if time.Now().After(notice) {
			s.say("still waiting for %s (%s)", strings.Join(waiting, ", "), time.Since(began).Round(time.Second))
			notice = time.Now().Add(s.timing.slowStart)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.timing.readyPoll):
		}
	}
	at, err := s.DataDir.Endpoints()
	if err != nil || ctx.Err() != nil {
		return // it died in this very moment, and is being restarted
	}
	s.output.Lock()
	_, _ = fmt.Fprintf(s.Out, "VibeFlow is ready: %s (%.1f s)\n", cmp.Or(at.Public, at.Server), time.Since(began).Seconds())
	s.output.Unlock()
	if s.Ready != nil {
		s.Ready(at)
	}
}

func (s *supervisor) notReady() (names []string) {
	for _, c := range s.children {
		if !c.ready() {
			names = append(names, string(c.process))
		}
	}
	return names
}

// temporalMoved restarts those who would look for Temporal at its old address for ever. Runners go on meanwhile.
func (s *supervisor) temporalMoved() {
	s.say("temporal has another port now; restarting the processes that use it")
	for _, c := range s.children {
		if c.process != datadir.ProcessTemporal {
			c.restart()
		}
	}
}

// stopAll stops the children one after the other, each with its time.
func (s *supervisor) stopAll() {
	for _, process := range stopOrder {
		index := slices.IndexFunc(s.children, func(c *child) bool { return c.process == process })
		if index >= 0 {
			s.children[index].stop(s.timing.grace[process], s.Hurry)
		}
	}
}

// awaitOldChildren waits for the processes of an `up` that was killed: they notice it and leave by themselves.
func (s *supervisor) awaitOldChildren(ctx context.Context) error {
	deadline := time.Now().Add(s.timing.oldChildren)
	told := false
	for {
		owners, err := s.DataDir.Owners()
		if err != nil {
			return err
		}
		delete(owners, string(datadir.ProcessUp))
		delete(owners, datadir.LockBackup) // it reads, beside whoever runs
		if len(owners) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return stillOwned(s.DataDir.Root(), owners)
		}
		if !told {
			s.say("waiting for processes of an earlier start to leave: %s", describeOwners(owners))
			told = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(s.timing.readyPoll):
		}
	}
}

func stillOwned(root string, owners map[string]int) error {
	var pids []string
	for _, pid := range owners {
		pids = append(pids, fmt.Sprint(pid))
	}
	slices.Sort(pids)
	return contract.Errorf(contract.CodeInUse, "data folder %s is in use by %s", root, describeOwners(owners)).
		Mend("stop them (kill %s), or name another folder with --data", strings.Join(pids, " "))
}

func describeOwners(owners map[string]int) string {
	var parts []string
	for name, pid := range owners {
		parts = append(parts, fmt.Sprintf("%s (process %d)", name, pid))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// checkListen refuses a port that somebody has: the server would only find out after everything else has started.
func checkListen(address string) error {
	listener, err := net.Listen("tcp", address)
	if err == nil {
		return listener.Close()
	}
	host, port, splitErr := net.SplitHostPort(address)
	if splitErr != nil {
		return contract.Errorf(contract.CodeInvalid, "--listen %q is not HOST:PORT: %w", address, splitErr).On("listen").
			Mend("for example --listen 127.0.0.1:8400")
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return contract.Errorf(contract.CodeInUse, "port %s on %s is taken by another program", port, host).On("listen").
			Mend("stop that program, or choose another port: --listen %s", net.JoinHostPort(host, "8401"))
	}
	return contract.Errorf(contract.CodeInvalid, "cannot listen on %s: %w", address, err).On("listen").
		Mend("give an address of this machine and a port that this user may open, for example --listen 127.0.0.1:8400")
}

// say writes one line of up's own.
func (s *supervisor) say(format string, args ...any) {
	s.output.Lock()
	defer s.output.Unlock()
	_, _ = fmt.Fprintf(s.Err, "up: "+format+"\n", args...)
}

// readyzClient asks the server for its state; a busy machine answers slowly, a dead one not at all.
var readyzClient = &http.Client{Timeout: 2 * time.Second}

func answersReady(ctx context.Context, server string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := readyzClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (s *supervisor) logPath(process datadir.Process) string {
	return filepath.Join(s.DataDir.Logs(), string(process)+".log")
}
