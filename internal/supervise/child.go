package supervise

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
)

const (
	// A process that ends this often in a row, soon after its start and with the same words, means what it says.
	refusalsThatCount = 3
	refusalWithin     = 10 * time.Second
)

// refusals are the errors that trying again does not mend; somebody has to. A process reports one as its last line on
// stderr, {"error":{"code":…}}, as --json makes it. Anything else, a panic for one, is an accident and is retried.
var refusals = map[contract.Code]bool{
	contract.CodeInvalid:       true,
	contract.CodeInvalidConfig: true,
	contract.CodeUnsupported:   true,
	contract.CodePrerequisite:  true,
	contract.CodeInUse:         true,
	contract.CodeEnvironment:   true,
}

// child is one supervised process through all of its lives.
type child struct {
	s       *supervisor
	process datadir.Process

	mu       sync.Mutex
	command  *exec.Cmd     // the present life, nil between two
	ended    chan struct{} // closed when the present life has been reaped
	stopping bool
	moved    bool   // it was told to restart because Temporal has another address now
	address  string // Temporal's, when it was ready last
	isReady  bool
	lives    int
}

func newChild(s *supervisor, process datadir.Process) *child { return &child{s: s, process: process} }

// life is how one life of a process ended.
type life struct {
	lasted time.Duration
	how    string          // "exit code 7", "killed, signal 9"
	said   *contract.Error // its last words, nil if it left none
}

// keepAlive starts the process, and starts it again whenever it ends, until the context ends or stop is called. It
// returns an error only if the process refuses to start for good.
func (c *child) keepAlive(ctx context.Context) error {
	backoff := c.s.timing.firstBackoff
	var said []string
	for {
		ended, err := c.live()
		switch {
		case err != nil:
			return contract.Errorf(contract.CodeInternal, "start `vibeflow %s`: %w", c.process, err)
		case c.isStopping() || ctx.Err() != nil:
			return nil
		}
		said = append(said[max(0, len(said)-refusalsThatCount):], refusalWords(ended))
		if settled(said) {
			return ended.said
		}
		if ended.lasted >= c.s.timing.healthy {
			backoff = c.s.timing.firstBackoff
		}
		if c.wasMoved() {
			continue // we asked for it
		}
		c.s.say("%s ended after %s (%s); restarting in %s", c.process, ended.lasted.Round(10*time.Millisecond), ended.how, backoff)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, c.s.timing.longestBackoff)
	}
}

// refusalWords is what a process said by refusing to start, empty if it did not refuse.
func refusalWords(ended life) string {
	if ended.said == nil || ended.lasted > refusalWithin || !refusals[ended.said.Code] {
		return ""
	}
	return ended.said.Message
}

// settled tells whether the same refusal has come often enough in a row.
func settled(said []string) bool {
	if len(said) < refusalsThatCount {
		return false
	}
	recent := said[len(said)-refusalsThatCount:]
	for _, words := range recent {
		if words == "" || words != recent[0] {
			return false
		}
	}
	return true
}

// live runs the process once, from its start to its end.
func (c *child) live() (life, error) {
	if err := c.s.DataDir.Unpublish(c.process); err != nil {
		return life{}, err
	}
	log, err := openLog(c.s, c.process)
	if err != nil {
		return life{}, err
	}
	defer log.Close()
	began := time.Now()
	command, err := c.start(log)
	if err != nil || command == nil {
		return life{}, err
	}
	waitErr := command.Wait()
	c.mu.Lock()
	c.command, c.isReady = nil, false
	close(c.ended)
	c.mu.Unlock()
	return life{lasted: time.Since(began), how: describeExit(command, waitErr), said: log.lastWords()}, nil
}

// start launches the process; nil without an error means that it must not be started any more.
func (c *child) start(log *childLog) (*exec.Cmd, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return nil, nil
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	command := exec.Command(c.s.Executable, c.arguments()...) //nolint:gosec // our own program
	command.Stdout, command.Stderr = log, log
	command.ExtraFiles = []*os.File{read} // descriptor 3
	command.Env = append(os.Environ(), envParentFD+"=3")
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// Runners outlive a worker and may hold its output open: do not wait for them.
	command.WaitDelay = time.Second
	err = command.Start()
	_ = read.Close()
	if err != nil {
		_ = write.Close()
		return nil, err
	}
	ended := make(chan struct{})
	c.command, c.ended = command, ended
	c.lives++
	// The writing end stays open, unwritten, for as long as both live.
	go func() { <-ended; _ = write.Close() }()
	go c.follow(command, ended, time.Now())
	return command, nil
}

func (c *child) arguments() []string {
	args := []string{string(c.process), "--json", "--data", c.s.DataDir.Root()}
	if c.process == datadir.ProcessServer {
		args = append(args, "--listen", c.s.Listen)
	}
	return append(args, c.s.Args[c.process]...)
}

// describeExit says how a process ended.
func describeExit(command *exec.Cmd, err error) string {
	state := command.ProcessState
	if state == nil {
		return fmt.Sprint(err)
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return fmt.Sprintf("%s, signal %d", status.Signal(), int(status.Signal()))
	}
	return fmt.Sprintf("exit code %d", state.ExitCode())
}

// follow waits until one life of the process is ready, and draws the consequences.
func (c *child) follow(command *exec.Cmd, ended <-chan struct{}, began time.Time) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	var at datadir.Endpoints
	for !c.answers(ctx, command, &at) {
		select {
		case <-ended:
			return
		case <-time.After(c.s.timing.readyPoll):
		}
	}
	c.mu.Lock()
	c.isReady = c.command == command
	before, lives := c.address, c.lives
	c.address = at.TemporalAddress
	c.mu.Unlock()
	if lives > 1 {
		c.s.say("%s is back (%s)", c.process, time.Since(began).Round(10*time.Millisecond))
	}
	if c.process == datadir.ProcessTemporal && before != "" && before != at.TemporalAddress {
		c.s.temporalMoved()
	}
}

// answers tells whether this life has published where it listens and, if it is the server, answers there.
func (c *child) answers(ctx context.Context, command *exec.Cmd, at *datadir.Endpoints) bool {
	published, pid, ok := c.s.DataDir.Published(c.process)
	*at = published
	if !ok || pid != command.Process.Pid {
		return false
	}
	return c.process != datadir.ProcessServer || answersReady(ctx, published.Server)
}

func (c *child) ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isReady
}

// stop ends the process for good: SIGINT, which to a worker means "pause the runners", then SIGKILL when its time is
// over. Hurry, when it is closed, leaves it two more seconds. It returns when the process is gone.
func (c *child) stop(grace time.Duration, hurry <-chan struct{}) {
	c.mu.Lock()
	c.stopping = true
	command, ended := c.command, c.ended
	c.mu.Unlock()
	if command == nil {
		return
	}
	began := time.Now()
	_ = command.Process.Signal(syscall.SIGINT) // it may have gone just now
	notice := time.NewTicker(noticeEvery)
	defer notice.Stop()
	timeout, why := time.After(grace), "it did not stop within "+grace.String()
	for {
		select {
		case <-ended:
			return
		case <-notice.C:
			c.s.say("waiting for %s to stop (%s of at most %s)", c.process, time.Since(began).Round(time.Second), grace)
		case <-hurry:
			hurry, timeout, why = nil, time.After(c.s.timing.hurried), "as asked"
		case <-timeout:
			c.s.say("killing %s: %s", c.process, why)
			_ = command.Process.Kill()
			<-ended
			return
		}
	}
}

const noticeEvery = 5 * time.Second

func (c *child) isStopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}

func (c *child) wasMoved() (moved bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	moved, c.moved = c.moved, false
	return moved
}

// restart asks the process to leave without stopping what it looks after; keepAlive starts it again.
func (c *child) restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.command != nil && !c.stopping {
		c.moved = true
		_ = c.command.Process.Signal(syscall.SIGTERM)
	}
}

// parseError reads a line of the form {"error":{…}}.
func parseError(line string) *contract.Error {
	var last struct{ Error *contract.Error }
	if err := json.Unmarshal([]byte(line), &last); err != nil || last.Error == nil || last.Error.Message == "" {
		return nil
	}
	return last.Error
}
