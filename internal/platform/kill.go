//go:build unix

package platform

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
)

// Kill sends kill -9 to a process.
func (p *Platform) Kill(process datadir.Process) error {
	pid, held := p.Dir.Owner(string(process))
	if !held {
		return fmt.Errorf("%s does not run", process)
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// KillEverything leaves nothing alive, the runner of a run included, and waits until `up` is gone.
func (p *Platform) KillEverything(run string) error {
	runner, alive := p.Runner(run)
	var errs []error
	for _, process := range []datadir.Process{datadir.ProcessUp, datadir.ProcessWorker, datadir.ProcessServer, datadir.ProcessTemporal} {
		errs = append(errs, p.Kill(process))
	}
	if alive {
		errs = append(errs, syscall.Kill(runner, syscall.SIGKILL))
	}
	<-p.ended
	return errors.Join(errs...)
}

// Runner is the pid of a run's newest runner that lives.
func (p *Platform) Runner(run string) (pid int, alive bool) {
	leases, _ := filepath.Glob(filepath.Join(p.Dir.Root(), "worker", "main", "runs", run, "e*", "lease.json")) // the pattern is well formed
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
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z")
}
