package runner

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/vibeflow/vibeflow/activities/gpu"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient"
)

const (
	// defaultMinFree is what a launch leaves room for besides its inputs: checkpoints, logs, artifacts.
	defaultMinFree = 1 << 30
	// defaultPauseGrace is how long a runner may take from SIGTERM to its end: one step and one save, on a slow machine.
	defaultPauseGrace = 15 * time.Minute
	// killPatience is how long a process may take to vanish after SIGKILL.
	killPatience = 30 * time.Second
	// deathsAllowed is how many crashes in a row, without a step or a checkpoint gained, end a run.
	deathsAllowed = 3
	// killsAllowed is the same where nothing says that the run itself is at fault: somebody or something killed the runner.
	killsAllowed = 10
	// defaultRelaunchPause is the pause after the second death in a row; it doubles up to longestRelaunchPause.
	defaultRelaunchPause = time.Second
	longestRelaunchPause = 30 * time.Second
)

// Config is what a Supervisor needs. Scratch, Gateway, Worker and Start must be set.
type Config struct {
	Scratch *Scratch
	Gateway *gatewayclient.Client
	// Worker is this start's identity, "host/instance/boot".
	Worker string
	// Start starts a Python process: (*Starter).Start.
	Start func(context.Context, Launch) (Process, error)
	// Threads is how many cores a runner may use; 0 leaves it to the spec.
	Threads int
	// MinFree is the free space in bytes that a launch needs besides its inputs; 0 is 1 GiB.
	MinFree int64
	// PauseGrace is how long a runner may take to save and leave before it is killed; 0 is 15 minutes.
	PauseGrace time.Duration
	// RelaunchPause is how long a run that has died twice in a row waits for its next launch; it doubles with each further
	// death. 0 is a second.
	RelaunchPause time.Duration
	Log           *slog.Logger
}

// Supervisor sees runs through. It implements gpu.Runner and is safe for concurrent use.
type Supervisor struct {
	Config
	mu   sync.Mutex
	busy map[string]chan struct{} // runs being supervised; closed when let go
	// letGo has room for one: a run was let go while its runner lived.
	letGo chan struct{}
}

// New returns a Supervisor.
func New(config Config) *Supervisor {
	if config.MinFree == 0 {
		config.MinFree = defaultMinFree
	}
	if config.PauseGrace == 0 {
		config.PauseGrace = defaultPauseGrace
	}
	if config.RelaunchPause == 0 {
		config.RelaunchPause = defaultRelaunchPause
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	return &Supervisor{Config: config, busy: map[string]chan struct{}{}, letGo: make(chan struct{}, 1)}
}

// Run implements gpu.Runner: it carries on from whatever the scratch folder and the gateway say, and stays until the
// run has completed, has paused or has failed. A runner that dies is started again here, under a new epoch.
func (s *Supervisor) Run(ctx context.Context, request gpu.RunRequest) (contract.RunOutput, error) {
	folder, err := s.Scratch.Run(request.Input.RunID)
	if err != nil {
		return contract.RunOutput{}, err
	}
	release, err := s.enter(ctx, request.Input.RunID)
	if err != nil {
		return contract.RunOutput{}, err
	}
	defer release()
	a := &attempt{
		s: s, id: request.Input.RunID, folder: folder, request: request,
		log:      s.Log.With("run", request.Input.RunID),
		unusable: map[string]string{},
	}
	out, err := a.run(ctx)
	if ctx.Err() != nil && err != nil {
		s.tellLetGo()
		return contract.RunOutput{}, gpu.ErrDetached
	}
	return out, err
}

// LetGo tells that a run was let go: Temporal has given its attempt to somebody else, or will. Reconcile then sees to a
// runner that lives on here for a launch that is over.
func (s *Supervisor) LetGo() <-chan struct{} { return s.letGo }

func (s *Supervisor) tellLetGo() {
	select {
	case s.letGo <- struct{}{}:
	default:
	}
}

// enter waits until no other attempt of this process supervises the run: an attempt that Temporal gave up may still be
// letting go.
func (s *Supervisor) enter(ctx context.Context, run string) (release func(), err error) {
	for {
		s.mu.Lock()
		held, taken := s.busy[run]
		if !taken {
			mine := make(chan struct{})
			s.busy[run] = mine
			s.mu.Unlock()
			return func() { s.leave(run, mine) }, nil
		}
		s.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return nil, gpu.ErrDetached
		}
	}
}

func (s *Supervisor) leave(run string, mine chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, run)
	close(mine)
}

// attempt is one call of Run: any number of launches, one after the other.
type attempt struct {
	s       *Supervisor
	id      string
	folder  RunFolder
	request gpu.RunRequest
	log     *slog.Logger
	// unusable names committed checkpoints that turned out damaged, and says how.
	unusable map[string]string
	// next is what the next launch does otherwise.
	next remedy
	// settled is the last launch that has ended and of which all has been shipped.
	settled int64
}

func (a *attempt) run(ctx context.Context) (contract.RunOutput, error) {
	for {
		state, err := a.state(ctx)
		if err != nil {
			return contract.RunOutput{}, err
		}
		if done := state.Result; done != nil && done.Outcome == contract.OutcomeCompleted {
			a.wipe() // an earlier life handed it in and died before it could say so
			return a.outputOf(*done), nil
		}
		l, err := a.take(ctx, state)
		if errors.Is(err, errAgain) {
			continue
		}
		if errors.Is(err, errPausedBeforeLaunch) {
			return pausedAt(state.Checkpoint), nil
		}
		if err != nil {
			return contract.RunOutput{}, err
		}
		end, err := l.watch(ctx)
		if err != nil {
			return contract.RunOutput{}, l.abandon(ctx, err)
		}
		out, again, err := l.settle(ctx, end)
		if !again {
			return out, err
		}
		a.settled = l.epoch
	}
}

// errAgain asks for another look at the run's state.
var errAgain = errors.New("look again")

// errPausedBeforeLaunch says that there is no runner to ask.
var errPausedBeforeLaunch = errors.New("paused before a runner was started")

// take gets hold of the run: the launch that the scratch folder has of the current epoch, or a new one.
func (a *attempt) take(ctx context.Context, state contract.RunState) (*launch, error) {
	if err := killOthers(a.folder, state.Epoch); err != nil {
		return nil, err
	}
	l, err := a.inherit(ctx, state)
	if l != nil || err != nil {
		return l, err
	}
	if a.pausing() {
		return nil, errPausedBeforeLaunch
	}
	return a.launch(ctx, state)
}

func (a *attempt) pausing() bool {
	select {
	case <-a.request.Pause:
		return true
	default:
		return false
	}
}

// wipe clears what the run left here. What it cannot remove the next sweep will.
func (a *attempt) wipe() {
	if err := a.folder.Wipe(); err != nil {
		a.log.Warn("scratch not wiped", "error", err)
	}
}

// state asks the gateway for as long as it takes.
func (a *attempt) state(ctx context.Context) (state contract.RunState, err error) {
	err = a.patiently(ctx, "read run state", func(ctx context.Context) (err error) {
		state, err = a.s.Gateway.RunState(ctx, a.id)
		return err
	})
	return state, err
}

func (a *attempt) patiently(ctx context.Context, what string, try func(context.Context) error) error {
	return gatewayclient.Patiently(ctx, a.log, what, try)
}

// outputOf is what a workflow reads of a result.
func (a *attempt) outputOf(result contract.RunResult) contract.RunOutput {
	return contract.RunOutput{
		Outcome: result.Outcome, Step: result.Step, TotalSteps: result.TotalSteps,
		Checkpoint: result.Checkpoint, Metrics: withoutSamples(result.Metrics),
	}
}

func pausedAt(checkpoint *contract.Manifest) contract.RunOutput {
	out := contract.RunOutput{Outcome: contract.OutcomePaused}
	if checkpoint != nil {
		out.Checkpoint, out.Step = checkpoint.Name, checkpoint.Step
	}
	return out
}
