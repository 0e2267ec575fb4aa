//go:build unix

// Package platform is a whole VibeFlow for tests and benchmarks: the built binary's `up` on a temporary data folder and an
// address of its own, stopped and removed at the end. They talk to it as a user would, by CLI and API, and kill what they
// like.
package platform

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/loopback"
)

const (
	// readyPatience is for a machine that does other things beside, and for a first start that makes databases.
	readyPatience = 2 * time.Minute
	// stopPatience is what a runner may need to finish its step and save.
	stopPatience = 2 * time.Minute
	// readyLine is what `up` says once every process is ready.
	readyLine = "VibeFlow is ready"
	// logLines is how much of each process's log Said has.
	logLines = 40
)

// Platform is a data folder and the `up` that runs on it, if one does. Own is for a program that handles Ctrl-C itself: one
// at the terminal reaches `up` through it alone, and once. NoWorker has the next Start leave `up`'s worker out.
type Platform struct {
	Dir      *datadir.Dir
	Client   *apiclient.Client
	Own      bool
	NoWorker bool

	root   string
	binary string
	listen string
	up     *exec.Cmd
	ended  chan struct{}
	said   output
}

// Binary is the program to run: the one named, else $VIBEFLOW_BIN, else bin/vibeflow of this checkout.
func Binary(named string) (string, error) {
	path, err := filepath.Abs(cmp.Or(named, os.Getenv("VIBEFLOW_BIN"), filepath.Join(checkout(), "bin", "vibeflow")))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("there is no program to run: %w (`go tool task build` makes it)", err)
	}
	return path, nil
}

// checkout is the folder with go.mod that the working folder lies in: a test's is that of its package.
func checkout() string {
	for folder := "."; ; folder = filepath.Join(folder, "..") {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		if path, err := filepath.Abs(folder); err != nil || filepath.Dir(path) == path {
			return "."
		}
	}
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
	p, err := on(binary, root, dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(root))
	}
	return p, nil
}

// Restored is New for a data folder that fill makes, such as one of a backup.
func Restored(binary string, fill func(folder string) error) (*Platform, error) {
	root, err := os.MkdirTemp("", "vf-")
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(root, "d")
	var dir *datadir.Dir
	if err = fill(folder); err == nil {
		dir, err = datadir.Open(folder)
	}
	var p *Platform
	if err == nil {
		p, err = on(binary, root, dir)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(root))
	}
	return p, nil
}

func on(binary, root string, dir *datadir.Dir) (*Platform, error) {
	token, err := dir.Token(datadir.SecretCLIToken)
	if err != nil {
		return nil, err
	}
	listen, err := loopback.Free()
	if err != nil {
		return nil, err
	}
	return &Platform{Dir: dir, Client: &apiclient.Client{Base: "http://" + listen, Token: token},
		root: root, binary: binary, listen: listen}, nil
}

// Start runs `up`, always on the same address, and returns how long it took until it said that it is ready. When ctx ends,
// `up` is told to stop.
func (p *Platform) Start(ctx context.Context) (time.Duration, error) {
	p.up = exec.CommandContext(ctx, p.binary, "up", "--data", p.Dir.Root(), "--listen", p.listen, fmt.Sprintf("--no-worker=%t", p.NoWorker)) //nolint:gosec // our own binary
	p.up.Cancel = func() error { return p.up.Process.Signal(syscall.SIGINT) }
	p.up.WaitDelay = stopPatience
	p.up.SysProcAttr = &syscall.SysProcAttr{Setpgid: p.Own}
	ready, writer := p.said.watch()
	p.up.Stdout, p.up.Stderr = writer, writer
	began := time.Now()
	if err := p.up.Start(); err != nil {
		return 0, err
	}
	up, ended := p.up, make(chan struct{})
	p.ended = ended
	go func() { _ = up.Wait(); _ = writer.Close(); close(ended) }()
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
	if p.ended == nil {
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

// Said is what `up` and the last lines of the processes' logs say.
func (p *Platform) Said() string {
	said := "up said:\n" + p.said.String()
	for _, process := range []datadir.Process{datadir.ProcessTemporal, datadir.ProcessServer, datadir.ProcessWorker} {
		if log, err := os.ReadFile(filepath.Join(p.Dir.Logs(), string(process)+".log")); err == nil {
			said += "--- " + string(process) + ".log\n" + lastLines(log) + "\n"
		}
	}
	return said
}

// lastLines are the last logLines of a log.
func lastLines(log []byte) string {
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-logLines):], "\n")
}

// Explain adds to an error what the processes said.
func (p *Platform) Explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w\n%s", err, p.Said())
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
