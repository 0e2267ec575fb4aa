package engine

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/vibeflow/vibeflow/activities/gpu"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient"
	"github.com/vibeflow/vibeflow/internal/hardware"
	"github.com/vibeflow/vibeflow/workers/runner"
)

const (
	// defaultIdle is how long an engine without deployments is kept warm.
	defaultIdle = time.Minute
	// keepEvery is how often leases are renewed and idle engines looked for.
	keepEvery = 5 * time.Second
)

// Config is what a Manager needs. Scratch, Gateway, Worker and Start must be set.
type Config struct {
	Scratch *runner.Scratch
	Gateway *gatewayclient.Client
	// Worker is this start's identity, "host/instance/boot".
	Worker string
	// Start starts a Python process.
	Start func(context.Context, runner.Launch) (runner.Process, error)
	// Hardware tells how much memory is free; nil: hardware.Detect.
	Hardware func(context.Context) hardware.Hardware
	// Need estimates the memory in bytes that a base model takes; nil: by the size of its weights.
	Need func(contract.ModelRef) int64
	// Idle is how long an engine without deployments is kept; 0 is a minute.
	Idle time.Duration
	// Every is how often leases are renewed and idle engines looked for; 0 is 5 s.
	Every time.Duration
	Log   *slog.Logger
}

// Manager owns the engines of one worker. It implements gpu.Engines and is safe for concurrent use.
type Manager struct {
	Config
	born    time.Time
	mu      sync.Mutex
	engines map[string]*engine // by key
}

// New returns a Manager; Keep must run beside it.
func New(config Config) *Manager {
	if config.Idle == 0 {
		config.Idle = defaultIdle
	}
	if config.Every == 0 {
		config.Every = keepEvery
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Hardware == nil {
		config.Hardware = func(ctx context.Context) hardware.Hardware { return hardware.Detect(ctx, config.Scratch.Root) }
	}
	if config.Need == nil {
		config.Need = func(base contract.ModelRef) int64 { return needOf(base, config.Scratch.Models()) }
	}
	return &Manager{Config: config, born: time.Now(), engines: map[string]*engine{}}
}

var deploymentPattern = regexp.MustCompile(`^[a-z]{1,12}_[0-9A-Za-z]{1,64}$`)

// Serve implements gpu.Engines.
func (m *Manager) Serve(ctx context.Context, request gpu.ServeRequest) error {
	if !deploymentPattern.MatchString(request.DeploymentID) {
		return contract.Errorf(contract.CodeInvalid, "%q is not the id of a deployment", request.DeploymentID)
	}
	// Being taken down ends whatever Serve waits for, as does being let go of; which of both it was is told apart below.
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-request.Stop:
			cancel(errStopped)
		case <-work.Done():
		}
	}()
	err := m.serve(work, request.DeploymentID)
	switch {
	case errors.Is(context.Cause(work), errStopped):
		return nil
	case ctx.Err() != nil:
		return gpu.ErrDetached
	default:
		return err
	}
}

var errStopped = errors.New("the deployment is taken down")

func (m *Manager) serve(ctx context.Context, id string) error {
	log := m.Log.With("deployment", id)
	var spec contract.DeploymentSpec
	err := gatewayclient.Patiently(ctx, log, "read deployment", func(ctx context.Context) (err error) {
		spec, err = m.Gateway.Deployment(ctx, id)
		return err
	})
	if err != nil {
		return err
	}
	e, err := m.engineOf(spec.Base)
	if err != nil {
		return err
	}
	d := &deployment{m: m, e: e, id: id, name: baseName, spec: spec, log: log}
	if spec.Weights != nil {
		d.name = id
	}
	e.claim(d.name)
	defer d.leave(ctx)
	return d.patient(d.run(ctx))
}

// engineOf returns the engine of a base model, started or not.
func (m *Manager) engineOf(base contract.ModelRef) (*engine, error) {
	key := contract.DerivedID("engine_", base.Source, base.Revision, dtype)
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.engines[key]; e != nil {
		return e, nil
	}
	e, err := m.open(key, base)
	if err == nil {
		m.engines[key] = e
	}
	return e, err
}

func (m *Manager) open(key string, base contract.ModelRef) (*engine, error) {
	folder := filepath.Join(m.Scratch.Engines(), key)
	if err := os.MkdirAll(filepath.Join(folder, adaptersFolder), 0o700); err != nil {
		return nil, err
	}
	return newEngine(m, key, folder, base), nil
}

// Keep renews the engines' leases, stops those that nobody uses, and takes over those of an earlier worker, until ctx
// ends; then it leaves them to the next worker.
func (m *Manager) Keep(ctx context.Context) {
	m.findEarlier()
	ticker := time.NewTicker(m.Every)
	defer ticker.Stop()
	for {
		for _, e := range m.all() {
			e.keep(ctx)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// findEarlier knows the engines that an earlier worker left, so that those without a deployment are stopped.
func (m *Manager) findEarlier() {
	entries, err := os.ReadDir(m.Scratch.Engines())
	if err != nil {
		m.Log.Warn("engines of an earlier start not found", "error", err)
		return
	}
	for _, entry := range entries {
		record, err := readRecord(filepath.Join(m.Scratch.Engines(), entry.Name()))
		if err != nil {
			continue // never started, or not an engine's folder
		}
		if _, err := m.engineOf(record.Base); err != nil {
			m.Log.Warn("engine of an earlier start not taken over", "engine", entry.Name(), "error", err)
		}
	}
}

func (m *Manager) all() []*engine {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]*engine, 0, len(m.engines))
	for _, e := range m.engines {
		list = append(list, e)
	}
	return list
}

// StopAll ends every engine of this folder: for a worker that is stopped for good.
func (m *Manager) StopAll() error {
	m.findEarlier()
	var failures []error
	for _, e := range m.all() {
		failures = append(failures, e.stop())
	}
	return errors.Join(failures...)
}
