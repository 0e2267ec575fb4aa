//go:build unix

package platform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vibeflow/vibeflow/internal/datadir"
)

// Machine stands for another machine: a worker with a data folder of its own, which reaches server and Temporal by two
// lines that can be cut.
type Machine struct {
	Dir *datadir.Dir

	server, temporal *Line
	worker           *exec.Cmd
	ended            chan struct{}
}

// NewMachine starts a worker beside a platform that runs. Its folder is another one, so that nothing can be found by path.
func (p *Platform) NewMachine(ctx context.Context, name string) (*Machine, error) {
	dir, err := datadir.Open(filepath.Join(p.root, name))
	if err != nil {
		return nil, err
	}
	at, err := p.Dir.Endpoints()
	if err != nil {
		return nil, err
	}
	m := &Machine{Dir: dir}
	if m.server, err = NewLine(p.listen); err != nil {
		return nil, err
	}
	if m.temporal, err = NewLine(at.TemporalAddress); err != nil {
		return nil, errors.Join(err, m.server.Close())
	}
	if err := p.startWorker(ctx, m); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (p *Platform) startWorker(ctx context.Context, m *Machine) error {
	workerToken, err := p.Dir.Token(datadir.SecretWorkerToken)
	if err != nil {
		return err
	}
	temporalToken, err := p.Dir.Token(datadir.SecretTemporalToken)
	if err != nil {
		return err
	}
	log, err := os.Create(m.logPath())
	if err != nil {
		return err
	}
	defer log.Close()
	m.worker = exec.Command(p.binary, "worker", "--data", m.Dir.Root(), "--server", "http://"+m.server.Address()) //nolint:gosec // our own binary
	m.worker.Env = append(os.Environ(), "VIBEFLOW_WORKER_TOKEN="+workerToken, "VIBEFLOW_TEMPORAL_TOKEN="+temporalToken, "VIBEFLOW_TEMPORAL="+m.temporal.Address())
	m.worker.Stdout, m.worker.Stderr = log, log
	if err := m.worker.Start(); err != nil {
		return err
	}
	worker, ended := m.worker, make(chan struct{})
	m.ended = ended
	go func() { _ = worker.Wait(); close(ended) }()
	return m.awaitReady(ctx)
}

// awaitReady waits until the worker polls.
func (m *Machine) awaitReady(ctx context.Context) error {
	ready, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	go func() {
		select {
		case <-m.ended:
			cancel()
		case <-ready.Done():
		}
	}()
	if _, err := m.Dir.AwaitPublished(ready, datadir.ProcessWorker); err != nil {
		return m.Explain(fmt.Errorf("the worker of %s does not poll: %w", m.Dir.Root(), err))
	}
	return nil
}

// Cut parts the machine from server and Temporal, Mend joins it again.
func (m *Machine) Cut() { m.server.Cut(); m.temporal.Cut() }

// Mend ends what Cut began.
func (m *Machine) Mend() { m.server.Mend(); m.temporal.Mend() }

// Runners are the pids of the Python processes of the machine that live, the warm parent left out.
func (m *Machine) Runners(ctx context.Context) ([]int, error) {
	found, err := detached(ctx, m.Dir)
	return found.Runners, err
}

// Lose has the machine vanish with all that it had: its line, its processes, its disk.
func (m *Machine) Lose(ctx context.Context) error {
	m.Cut()
	err := m.kill(ctx)
	return errors.Join(err, os.RemoveAll(m.Dir.Root()))
}

func (m *Machine) kill(ctx context.Context) error {
	_ = m.worker.Process.Kill() // it may have gone already
	<-m.ended
	found, err := detached(ctx, m.Dir)
	return errors.Join(err, KillPIDs(found.All()...))
}

// Close stops the worker, leaves nothing of it running, and ends its lines.
func (m *Machine) Close() error {
	m.Mend()
	var errs []error
	if m.worker != nil && m.worker.Process != nil {
		_ = m.worker.Process.Signal(syscall.SIGINT) // it may have gone already
		select {
		case <-m.ended:
		case <-time.After(stopPatience):
		}
		errs = append(errs, m.kill(context.Background()))
	}
	return errors.Join(append(errs, m.server.Close(), m.temporal.Close())...)
}

// Explain adds the end of the worker's log to an error.
func (m *Machine) Explain(err error) error {
	log, readErr := os.ReadFile(m.logPath())
	if err == nil || readErr != nil {
		return err
	}
	return fmt.Errorf("%w\n--- %s\n%s", err, m.logPath(), lastLines(log))
}

func (m *Machine) logPath() string { return m.Dir.Root() + ".log" }
