package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

const (
	// leaseSeconds without a renewal, and a runner saves and leaves.
	leaseSeconds = 600
	// renewEvery is far below that, so that a worker's restart is never taken for its end.
	renewEvery = 5 * time.Second
)

// readLease returns whose a launch's runner is; nil without an error when nobody wrote a lease.
func readLease(folder EpochFolder) (*contract.Lease, error) {
	var lease contract.Lease
	err := readJSON(folder.path(leaseFile), &lease)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // documented
	}
	if err != nil {
		return nil, err
	}
	return &lease, nil
}

// liveRunner returns the process of a launch if it still runs.
func liveRunner(folder EpochFolder) (Process, bool, error) {
	lease, err := readLease(folder)
	if err != nil || lease == nil {
		return Process{}, false, err
	}
	process := Process{PID: lease.PID, Start: lease.PIDStart}
	return process, process.Alive(), nil
}

// renewLease tells the runner that somebody cares.
func renewLease(folder EpochFolder, lease contract.Lease) error {
	now := time.Now()
	err := os.Chtimes(folder.path(leaseFile), now, now)
	if errors.Is(err, fs.ErrNotExist) {
		lease.At = now
		return writeJSON(folder.path(leaseFile), lease)
	}
	return err
}

// fence writes epoch into the leases of older launches. A runner that nobody knows of any more (its worker died between
// the start and the lease) reads there that it is superseded, and leaves without saving.
func fence(folder RunFolder, run, worker string, epoch int64) error {
	epochs, err := folder.Epochs()
	if err != nil {
		return err
	}
	for _, old := range epochs {
		if old >= epoch {
			continue
		}
		lease := contract.Lease{RunID: run, Epoch: epoch, Worker: worker, At: time.Now()}
		if err := writeJSON(folder.Epoch(old).path(leaseFile), lease); err != nil {
			return fmt.Errorf("fence launch %d: %w", old, err)
		}
	}
	return nil
}

// killOthers kills runners of launches that do not own the run: those before epoch and, where a server was restored from
// a backup, those after it.
func killOthers(folder RunFolder, epoch int64) error {
	_, err := killRunners(folder, func(other int64) bool { return other != epoch })
	return err
}

// killRunners kills the live runners of some of a run's launches, and names those.
func killRunners(folder RunFolder, doomed func(epoch int64) bool) (killed []int64, err error) {
	epochs, err := folder.Epochs()
	if err != nil {
		return nil, err
	}
	for _, epoch := range slices.DeleteFunc(epochs, func(epoch int64) bool { return !doomed(epoch) }) {
		process, alive, err := liveRunner(folder.Epoch(epoch))
		if err != nil || !alive {
			continue // an unreadable lease names nobody; the fence stops its runner
		}
		if err := process.killAndWait(killPatience); err != nil {
			return killed, fmt.Errorf("launch %d: %w", epoch, err)
		}
		killed = append(killed, epoch)
	}
	return killed, nil
}
