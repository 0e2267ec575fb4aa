package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/vibeflow/vibeflow/activities/gpu"
	"github.com/vibeflow/vibeflow/contract"
)

// keepUnknown is how long a run that the gateway does not know keeps its folder: the worker may have been pointed at
// another server by mistake.
const keepUnknown = 7 * 24 * time.Hour

// Reconcile looks at every run that has a folder here and does what no activity will: it wipes runs that have ended, has
// runners save that an earlier worker was pausing when it died, and kills those whose run goes on elsewhere. Other runs
// that go on are left to their activity. Its error names the runs that it could not look at.
func (s *Supervisor) Reconcile(ctx context.Context) error {
	runs, err := s.Scratch.Runs()
	if err != nil {
		return err
	}
	var failures []error
	for _, run := range runs {
		if err := s.reconcile(ctx, run); err != nil {
			failures = append(failures, fmt.Errorf("run %s: %w", run, err))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.Join(failures...)
}

// leaving are the statuses in which a runner is to save and leave.
var leaving = []contract.Status{contract.StatusPausing, contract.StatusResuming, contract.StatusPaused, contract.StatusCancelling}

func (s *Supervisor) reconcile(ctx context.Context, run string) error {
	folder, err := s.Scratch.Run(run)
	if err != nil || s.supervises(run) {
		return err
	}
	state, err := s.Gateway.RunState(ctx, run)
	if contract.CodeOf(err) == contract.CodeNotFound {
		return wipeIfOld(folder)
	}
	if err != nil {
		return err
	}
	switch {
	case state.Status.Final():
		return s.clear(ctx, run, folder)
	case slices.Contains(leaving, state.Status):
		_, err := s.Finish(ctx, run, state.Kind)
		return err
	default:
		// Its activity comes back in a moment; until then the runner must not take itself for an orphan.
		if _, alive, err := liveRunner(folder.Epoch(state.Epoch)); err == nil && alive {
			return renewLease(folder.Epoch(state.Epoch), contract.Lease{RunID: run, Epoch: state.Epoch, Worker: s.Worker})
		}
		return s.killSuperseded(folder, state)
	}
}

// killSuperseded ends the runners of launches that a later one has taken the run from: this worker was cut off, and another
// took over. Their writes are refused already; this gives the machine back.
func (s *Supervisor) killSuperseded(folder RunFolder, state contract.RunState) error {
	killed, err := killRunners(folder, func(epoch int64) bool { return epoch < state.Epoch })
	if len(killed) > 0 {
		s.Log.Warn("the run goes on under a later launch, its runner here was killed", "folder", folder, "epochs", killed, "owner", state.Worker, "owned_by", state.Epoch)
	}
	return err
}

// Finish has a live runner of a run save and leave, ships what is left of it, and returns where the run stands. It starts
// nothing.
func (s *Supervisor) Finish(ctx context.Context, run string, kind contract.Kind) (contract.RunOutput, error) {
	pause := make(chan struct{})
	close(pause)
	return s.Run(ctx, gpu.RunRequest{Input: contract.RunInput{RunID: run, Kind: kind}, Pause: pause})
}

func (s *Supervisor) supervises(run string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, busy := s.busy[run]
	return busy
}

// clear ends whatever still runs for a run that has ended, and wipes its folder.
func (s *Supervisor) clear(ctx context.Context, run string, folder RunFolder) error {
	release, err := s.enter(ctx, run)
	if err != nil {
		return err
	}
	defer release()
	return errors.Join(killOthers(folder, 0), folder.Wipe())
}

func wipeIfOld(folder RunFolder) error {
	info, err := os.Stat(string(folder))
	if err != nil || time.Since(info.ModTime()) < keepUnknown {
		return err
	}
	return errors.Join(killOthers(folder, 0), folder.Wipe())
}

// FinishAll has every runner of this folder save and leave: for a worker that is stopped for good, whose activities have
// ended. The runners are told first, whether or not the gateway can be reached; what ctx leaves no time to ship is
// shipped by the next worker.
func (s *Supervisor) FinishAll(ctx context.Context) error {
	runs, err := s.Scratch.Runs()
	if err != nil {
		return err
	}
	var live []string
	for _, run := range runs {
		if s.terminateAll(run) {
			live = append(live, run)
		}
	}
	var failures []error
	for _, run := range live {
		if _, err := s.Finish(ctx, run, ""); err != nil {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// terminateAll asks every live runner of a run to save, and tells whether there was one.
func (s *Supervisor) terminateAll(run string) (any bool) {
	folder, err := s.Scratch.Run(run)
	if err != nil {
		return false
	}
	epochs, err := folder.Epochs()
	if err != nil {
		return false
	}
	for _, epoch := range epochs {
		if process, alive, err := liveRunner(folder.Epoch(epoch)); err == nil && alive {
			process.Terminate()
			any = true
		}
	}
	return any
}
