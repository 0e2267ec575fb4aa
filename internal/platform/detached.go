//go:build unix

package platform

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/vibeflow/vibeflow/internal/datadir"
)

// Detached are the Python processes of the data folder that live, by what they are. They outlive the worker that started
// them.
type Detached struct {
	WarmParent int // 0: none
	Engines    []int
	// Runners are all others: each is forked from the warm parent, or started cold.
	Runners []int
}

// All are the pids of all of them.
func (d Detached) All() []int {
	all := append(slices.Clone(d.Engines), d.Runners...)
	if d.WarmParent != 0 {
		all = append(all, d.WarmParent)
	}
	return all
}

// Detached looks for them: by command line, for one whose record is lost is what somebody looks for here.
func (p *Platform) Detached(ctx context.Context) (Detached, error) { return detached(ctx, p.Dir) }

func detached(ctx context.Context, dir *datadir.Dir) (Detached, error) {
	living, err := processes(ctx, dir)
	if err != nil {
		return Detached{}, err
	}
	scratch := filepath.Join(dir.Root(), "worker", "main")
	warm := recordedPIDs(filepath.Join(scratch, "warm.json"))
	engines := recordedPIDs(filepath.Join(scratch, "engines", "*", "engine.json"))
	var found Detached
	for pid, command := range living {
		switch {
		case !strings.Contains(command, "vibeflow_peft"):
		case slices.Contains(warm, pid):
			found.WarmParent = pid
		case slices.Contains(engines, pid):
			found.Engines = append(found.Engines, pid)
		default:
			found.Runners = append(found.Runners, pid)
		}
	}
	return found, nil
}

// Processes are all that live and name the data folder on their command line, by pid.
func (p *Platform) Processes(ctx context.Context) (map[int]string, error) {
	return processes(ctx, p.Dir)
}

func processes(ctx context.Context, dir *datadir.Dir) (map[int]string, error) {
	list, err := exec.CommandContext(ctx, "ps", "-axww", "-o", "pid=,stat=,command=").Output()
	if err != nil {
		return nil, err
	}
	living := map[int]string{}
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 || strings.HasPrefix(fields[1], "Z") || !strings.Contains(lines.Text(), dir.Root()) {
			continue
		}
		pid, err := strconv.Atoi(fields[0])
		if err != nil {
			return nil, err
		}
		living[pid] = lines.Text()
	}
	return living, nil
}

// recordedPIDs are those that a worker's records name.
func recordedPIDs(pattern string) (pids []int) {
	records, _ := filepath.Glob(pattern) // the pattern is well formed
	for _, path := range records {
		var record struct{ PID int }
		if data, err := os.ReadFile(path); err == nil && json.Unmarshal(data, &record) == nil {
			pids = append(pids, record.PID)
		}
	}
	return pids
}

// KillPIDs sends kill -9 to processes; one that is gone already is no error.
func KillPIDs(pids ...int) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH { //nolint:errorlint // an Errno
			return err
		}
	}
	return nil
}
