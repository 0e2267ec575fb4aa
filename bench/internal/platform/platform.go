//go:build unix

// Package platform gives a benchmark a VibeFlow of its own: the built binary's `up` on a temporary data folder and free
// ports, stopped and removed at the end. Benchmarks talk to it as a user would, through the API.
package platform

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/datadir"
)

const (
	// readyPatience is for a machine that does other things beside, and for a first start that makes databases.
	readyPatience = 2 * time.Minute
	// stopPatience is what a runner may need to finish its step and save.
	stopPatience = 2 * time.Minute
	// readyLine is what `up` says once every process is ready.
	readyLine = "VibeFlow is ready"
)

// Platform is a data folder and the `up` that runs on it, if one does.
type Platform struct {
	Dir    *datadir.Dir
	Client *apiclient.Client
	root   string
	binary string
	listen string
	up     *exec.Cmd
	ended  chan struct{}
	said   output
}

// Binary is the program to measure: what the flag names, else $VIBEFLOW_BIN, else bin/vibeflow of the working folder.
func Binary(flag string) (string, error) {
	path, err := filepath.Abs(cmp.Or(flag, os.Getenv("VIBEFLOW_BIN"), "bin/vibeflow"))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("there is no program to measure: %w (`go tool task build` makes it; run this in the checkout's root, or name it with --bin)", err)
	}
	return path, nil
}

// New makes an empty data folder; nothing runs yet. Close it.
func New(binary string) (*Platform, error) {
	root, err := os.MkdirTemp("", "vf-") // short: Unix sockets lie in it
	if err != nil {
		return nil, err
	}
	dir, err := datadir.Open(filepath.Join(root, "d"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(root))
	}
	return &Platform{Dir: dir, root: root, binary: binary}, nil
}

// Start runs `up` and returns how long it took until it said that it is ready. When ctx ends, `up` is told to stop.
func (p *Platform) Start(ctx context.Context) (time.Duration, error) {
	var err error
	if p.listen, err = freeAddress(); err != nil {
		return 0, err
	}
	token, err := p.Dir.Token(datadir.SecretCLIToken)
	if err != nil {
		return 0, err
	}
	p.Client = &apiclient.Client{Base: "http://" + p.listen, Token: token}
	p.up = exec.CommandContext(ctx, p.binary, "up", "--data", p.Dir.Root(), "--listen", p.listen)
	p.up.Cancel = func() error { return p.up.Process.Signal(syscall.SIGINT) }
	p.up.WaitDelay = stopPatience
	p.up.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C at the terminal comes once, from us
	ready, writer := p.said.watch()
	p.up.Stdout, p.up.Stderr = writer, writer
	began := time.Now()
	if err := p.up.Start(); err != nil {
		return 0, err
	}
	p.ended = make(chan struct{})
	go func() { _ = p.up.Wait(); _ = writer.Close(); close(p.ended) }()
	select {
	case at := <-ready:
		return at.Sub(began), nil
	case <-p.ended:
		return 0, p.Explain(errors.New("`up` ended before it was ready"))
	case <-time.After(readyPatience):
		return 0, p.Explain(errors.Join(fmt.Errorf("`up` was not ready within %s", readyPatience), p.Stop()))
	}
}

// Stop ends `up` as Ctrl-C does and waits until it is gone; stopping what does not run is no error.
func (p *Platform) Stop() error {
	if p.up == nil || p.ended == nil {
		return nil
	}
	_ = p.up.Process.Signal(syscall.SIGINT) // it may have gone already
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopPatience):
		_ = p.up.Process.Kill()
		<-p.ended
		return p.Explain(fmt.Errorf("`up` did not stop within %s and was killed", stopPatience))
	}
}

// Close stops `up` and removes the data folder.
func (p *Platform) Close() error { return errors.Join(p.Stop(), os.RemoveAll(p.root)) }

// Root is a temporary folder that Close removes; the data folder is in it.
func (p *Platform) Root() string { return p.root }

// Explain adds to an error what `up` and the last lines of the processes' logs said.
func (p *Platform) Explain(err error) error {
	if err == nil {
		return nil
	}
	said := "up said:\n" + p.said.String()
	for _, process := range []datadir.Process{datadir.ProcessTemporal, datadir.ProcessServer, datadir.ProcessWorker} {
		if log, readErr := os.ReadFile(filepath.Join(p.Dir.Logs(), string(process)+".log")); readErr == nil {
			lines := strings.Split(strings.TrimSpace(string(log)), "\n")
			said += "--- " + string(process) + ".log\n" + strings.Join(lines[max(0, len(lines)-5):], "\n") + "\n"
		}
	}
	return fmt.Errorf("%w\n%s", err, said)
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// output keeps what `up` said and notices when it is ready.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) watch() (<-chan time.Time, io.WriteCloser) {
	reader, writer := io.Pipe()
	ready := make(chan time.Time, 1)
	go func() {
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), readyLine) {
				ready <- time.Now()
			}
			o.mu.Lock()
			fmt.Fprintln(&o.text, lines.Text())
			o.mu.Unlock()
		}
		_, _ = io.Copy(io.Discard, reader) // a line too long must not block `up`
	}()
	return ready, writer
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
