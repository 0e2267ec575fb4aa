//go:build unix

package platform

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/vibeflow/vibeflow/internal/datadir"
)

// errNotRunning is of a process that there is nothing to kill of.
var errNotRunning = errors.New("it does not run")

// Kill sends kill -9 to a process.
func (p *Platform) Kill(process datadir.Process) error {
	pid, held := p.Dir.Owner(string(process))
	if !held {
		return fmt.Errorf("%s: %w", process, errNotRunning)
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// KillEverything leaves nothing alive, what is detached included, and waits until `up` is gone.
func (p *Platform) KillEverything(ctx context.Context) error {
	detached, err := p.Detached(ctx)
	errs := []error{err}
	for _, process := range []datadir.Process{datadir.ProcessUp, datadir.ProcessWorker, datadir.ProcessServer, datadir.ProcessTemporal} {
		if err := p.Kill(process); !errors.Is(err, errNotRunning) { // one may just have died
			errs = append(errs, err)
		}
	}
	errs = append(errs, KillPIDs(detached.All()...))
	<-p.ended
	return errors.Join(errs...)
}
