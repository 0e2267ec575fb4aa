//go:build unix

package benchmark

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/loopback"
	"github.com/vibeflow/vibeflow/internal/platform"
)

// Server is `vibeflow server` on its own, without Temporal and workers, on a temporary data folder.
type Server struct {
	Dir     *datadir.Dir
	Address string // HOST:PORT

	command *exec.Cmd
	said    bytes.Buffer
}

const serverPatience = time.Minute

// OnServer runs a benchmark on a server of its own; prepare fills the data folder before it starts.
func OnServer(ctx context.Context, bin string, prepare func(*datadir.Dir) error, run func(*Server) error) (err error) {
	binary, err := platform.Binary(bin)
	if err != nil {
		return err
	}
	root, err := os.MkdirTemp("", "vf-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	s := &Server{}
	if s.Dir, err = datadir.Open(filepath.Join(root, "d")); err != nil {
		return err
	}
	if err := prepare(s.Dir); err != nil {
		return err
	}
	if s.Address, err = loopback.Free(); err != nil {
		return err
	}
	if err := s.start(ctx, binary); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	return run(s)
}

func (s *Server) start(ctx context.Context, binary string) error {
	s.command = exec.Command(binary, "server", "--data", s.Dir.Root(), "--listen", s.Address, "--rate-limit", "0")
	s.command.Stdout, s.command.Stderr = &s.said, &s.said
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Main hears Ctrl-C
	if err := s.command.Start(); err != nil {
		return err
	}
	return Await(ctx, serverPatience, "http://"+s.Address+"/healthz")
}

// Await asks a URL until it answers 200.
func Await(ctx context.Context, patience time.Duration, url string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not answer within %s", url, patience)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *Server) stop() error {
	_ = s.command.Process.Signal(syscall.SIGINT)
	if err := s.command.Wait(); err != nil {
		return fmt.Errorf("the server ended with %w\n%s", err, s.said.Bytes())
	}
	return nil
}

// MemoryMiB is what the server has in memory now.
func (s *Server) MemoryMiB() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.command.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("memory is read from /proc, which is Linux's: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" { // "VmRSS:   12345 kB"
			kib, err := strconv.ParseFloat(fields[1], 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("/proc tells no memory")
}
