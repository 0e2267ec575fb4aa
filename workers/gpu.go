package workers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/vibeflow/vibeflow/activities/gpu"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient"
	"github.com/vibeflow/vibeflow/internal/hardware"
	"github.com/vibeflow/vibeflow/internal/pyenv"
	"github.com/vibeflow/vibeflow/workers/engine"
	"github.com/vibeflow/vibeflow/workers/runner"
)

// GPUConfig wires the worker of one slot queue and the serve queue beside it. It reaches Temporal and the gateway, and
// nothing else: no database, no bucket.
type GPUConfig struct {
	Client       client.Client
	GatewayURL   string
	GatewayToken string
	// Scratch is this worker's folder; it is owned by one worker at a time.
	Scratch string
	// Ensure returns the runner's environment, building it if need be: minutes, the first time.
	Ensure func(context.Context) (*pyenv.Env, error)
	// Hardware is asked at each report; nil: hardware.Detect.
	Hardware func(context.Context) hardware.Hardware
	// Queue is the slot queue; empty: by the machine's class.
	Queue string
	// Slots is how many runs go on at a time; 0 is 1.
	Slots int
	// Threads is how many cores a runner may use; 0: all.
	Threads int
	Version string
	// Stopping, when closed, has the runners save and leave, and then ends the worker (Ctrl-C on `up`). The end of
	// RunGPU's context ends the worker as well, but leaves runners and engines to the next one (SIGTERM, an upgrade).
	Stopping <-chan struct{}
	// Ready, if set, is called once the queues are polled.
	Ready  func()
	Logger *slog.Logger // nil: slog.Default

	// start replaces the start of Python processes in tests.
	start func(context.Context, runner.Launch) (runner.Process, error)
}

const (
	reportEvery    = 30 * time.Second
	reconcileEvery = 10 * time.Minute
	// reconcileAgain is after a run that could not be looked at: the gateway was away.
	reconcileAgain = 10 * time.Second
	// stopPatience is how long running activities may take to end once the worker stops: a step and a save.
	stopPatience = 20 * time.Minute
	// finishPatience bounds the shipping of what was saved at the very end; the next worker ships the rest.
	finishPatience = time.Minute
	// serveSlots is no limit in practice: deployments are admitted by memory.
	serveSlots = 64
)

// RunGPU runs until its context ends or Stopping is closed. It reports itself at once, and polls as soon as the runner's
// environment is there. CodeInUse says that another worker has the scratch folder.
func RunGPU(ctx context.Context, config GPUConfig) error {
	host, err := openGPU(ctx, config)
	if err != nil {
		return err
	}
	defer host.close()
	return host.run(ctx)
}

// gpuHost is a GPU worker's one life.
type gpuHost struct {
	GPUConfig
	scratch *runner.Scratch
	gateway *gatewayclient.Client
	self    Identity
	log     *slog.Logger
	// ready and save are told to others while the worker lives.
	ready atomic.Bool
	save  atomic.Bool
	// tasks go on beside the worker until it ends.
	tasks sync.WaitGroup
}

func openGPU(ctx context.Context, config GPUConfig) (*gpuHost, error) {
	config = config.withDefaults(ctx)
	gateway, err := gatewayclient.New(config.GatewayURL, config.GatewayToken)
	if err != nil {
		return nil, err
	}
	scratch, err := runner.OpenScratch(config.Scratch)
	if err != nil {
		return nil, err
	}
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "localhost"
	}
	self := Identity{Host: hostname, Instance: scratch.Instance, Boot: scratch.Boot}
	return &gpuHost{
		GPUConfig: config, scratch: scratch, gateway: gateway, self: self,
		log: config.Logger.With("worker", self.String(), "queue", config.Queue),
	}, nil
}

func (c GPUConfig) withDefaults(ctx context.Context) GPUConfig {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Hardware == nil {
		folder := c.Scratch
		c.Hardware = func(ctx context.Context) hardware.Hardware { return hardware.Detect(ctx, folder) }
	}
	if c.Queue == "" {
		c.Queue = contract.QueueCPU
		if class := c.Hardware(ctx).Class(); class != "cpu" {
			c.Queue = contract.GPUQueue(class)
		}
	}
	if c.Slots == 0 {
		c.Slots = 1
	}
	return c
}

func (h *gpuHost) close() {
	h.gateway.Close()
	if err := h.scratch.Close(); err != nil {
		h.log.Warn("scratch folder not given back", "error", err)
	}
}

func (h *gpuHost) run(ctx context.Context) error {
	life, end := context.WithCancel(ctx)
	defer h.tasks.Wait()
	defer end()
	h.beside(func() { h.heedStopping(life, end) })
	refused := make(chan error, 1)
	h.beside(func() { h.report(life, func(err error) { refused <- err; end() }) })

	err := h.prepareAndWork(life)
	select {
	case refusal := <-refused:
		return refusal
	default:
		return err
	}
}

func (h *gpuHost) prepareAndWork(life context.Context) error {
	env, err := h.Ensure(life)
	if life.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	return h.work(life, env)
}

// beside runs a task that ends with the worker's life.
func (h *gpuHost) beside(task func()) { h.tasks.Go(task) }

// heedStopping ends the life with the wish to save.
func (h *gpuHost) heedStopping(life context.Context, end context.CancelFunc) {
	select {
	case <-h.Stopping:
		h.save.Store(true)
		end()
	case <-life.Done():
	}
}

// report tells the gateway what this worker is, at once and every 30 s. A gateway that does not take the worker's token
// will not take anything else: that ends the worker, before it takes work that it cannot do.
func (h *gpuHost) report(life context.Context, giveUp func(error)) {
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	for {
		err := h.reportOnce(life)
		if contract.CodeOf(err) == contract.CodeUnauthenticated {
			giveUp(contract.Errorf(contract.CodeUnauthenticated, "the gateway does not take this worker's token: %w", err).
				Mend("give the worker the token of the server's data folder"))
			return
		}
		if err != nil && life.Err() == nil {
			h.log.Warn("report not taken", "error", err)
		}
		select {
		case <-ticker.C:
		case <-life.Done():
			return
		}
	}
}

func (h *gpuHost) reportOnce(life context.Context) error {
	machine, err := json.Marshal(h.Hardware(life))
	if err != nil {
		return fmt.Errorf("encode hardware: %w", err)
	}
	state := contract.WorkerPreparing
	if h.ready.Load() {
		state = contract.WorkerReady
	}
	return h.gateway.Report(life, contract.WorkerReport{
		ID: h.self.Host + "/" + h.self.Instance, Boot: h.self.Boot, Queue: h.Queue, Slots: h.Slots,
		Version: h.Version, Hardware: machine, State: state,
	})
}

// work takes over what an earlier life left, polls until the life ends, and then lets go or has everything save.
func (h *gpuHost) work(life context.Context, env *pyenv.Env) error {
	python := runner.Python{Path: env.Python, Source: env.SrcDir, Key: env.Lock + " " + env.SrcDir}
	starter := &runner.Starter{Python: python, Log: h.log}
	if env.Kind != pyenv.KindCUDA && h.start == nil {
		// A process that holds a CUDA context must not be forked, and one that could get it must not either.
		starter.Warm = runner.NewWarm(h.scratch, python, h.log)
		h.beside(func() { starter.Warm.Keep(life) })
	}
	start := starter.Start
	if h.start != nil {
		start = h.start
	}
	supervisor := runner.New(runner.Config{
		Scratch: h.scratch, Gateway: h.gateway, Worker: h.self.String(), Start: start, Threads: h.Threads, Log: h.log,
	})
	engines := engine.New(engine.Config{
		Scratch: h.scratch, Gateway: h.gateway, Worker: h.self.String(), Start: start, Hardware: h.Hardware, Log: h.log,
	})
	h.beside(func() { h.reconcile(life, supervisor) })
	h.beside(func() { engines.Keep(life) })
	h.takeOver(life, supervisor)

	tokenizer := &runner.Tokenizer{Python: python, Scratch: h.scratch, Gateway: h.gateway, Log: h.log}
	if err := h.poll(life, &gpu.Activities{Runner: supervisor, Engines: engines, Tokenizer: tokenizer, Room: supervisor, SaveOnStop: h.save.Load}); err != nil {
		return err
	}
	if h.save.Load() {
		return h.saveAll(supervisor, engines, starter.Warm)
	}
	return nil
}

// poll starts both workers, and stops them when the life ends. Stopping waits for the activities: each asks SaveOnStop
// what to do.
func (h *gpuHost) poll(life context.Context, activities *gpu.Activities) error {
	fatal := make(chan error, 2)
	slots := h.worker(h.Queue, h.Slots, fatal)
	slots.RegisterActivityWithOptions(activities.RunTraining, activity.RegisterOptions{Name: contract.ActivityTrain})
	slots.RegisterActivityWithOptions(activities.RunEvaluation, activity.RegisterOptions{Name: contract.ActivityEvaluate})
	slots.RegisterActivityWithOptions(activities.RunExport, activity.RegisterOptions{Name: contract.ActivityExport})
	serve := h.worker(contract.ServeQueue(h.Queue), serveSlots, fatal)
	serve.RegisterActivityWithOptions(activities.Serve, activity.RegisterOptions{Name: contract.ActivityServe})
	serve.RegisterActivityWithOptions(activities.ShowTokens, activity.RegisterOptions{Name: contract.ActivityTokens})
	serve.RegisterActivityWithOptions(activities.AwaitRoom, activity.RegisterOptions{Name: contract.ActivityAwaitRoom})

	for _, w := range []worker.Worker{slots, serve} {
		if err := w.Start(); err != nil {
			return fmt.Errorf("start the GPU worker: %w", err)
		}
	}
	h.announceReady(life)
	var err error
	select {
	case err = <-fatal:
		err = fmt.Errorf("the GPU worker gave up: %w", err)
	case <-life.Done():
	}
	var stops sync.WaitGroup
	stops.Go(slots.Stop)
	stops.Go(serve.Stop)
	stops.Wait()
	return err
}

func (h *gpuHost) worker(queue string, slots int, fatal chan<- error) worker.Worker {
	return worker.New(h.Client, queue, worker.Options{
		Identity:                           h.self.String(),
		DisableWorkflowWorker:              true,
		MaxConcurrentActivityExecutionSize: slots,
		MaxHeartbeatThrottleInterval:       heartbeatThrottle,
		DefaultHeartbeatThrottleInterval:   heartbeatThrottle,
		WorkerStopTimeout:                  stopPatience,
		OnFatalError: func(err error) {
			select {
			case fatal <- err:
			default:
			}
		},
	})
}

func (h *gpuHost) announceReady(life context.Context) {
	h.ready.Store(true)
	if err := h.reportOnce(life); err != nil && life.Err() == nil {
		h.log.Warn("report not taken", "error", err)
	}
	h.log.Info("GPU worker polls", "slots", h.Slots)
	if h.Ready != nil {
		h.Ready()
	}
}

// reconcile wipes what ended runs left, at start, when a run was let go, and now and then.
func (h *gpuHost) reconcile(life context.Context, supervisor *runner.Supervisor) {
	for {
		next := reconcileEvery
		if err := supervisor.Reconcile(life); err != nil && life.Err() == nil {
			h.log.Warn("scratch folder not reconciled", "error", err)
			next = reconcileAgain
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-supervisor.LetGo():
		case <-life.Done():
		}
		timer.Stop()
		if life.Err() != nil {
			return
		}
	}
}

// saveAll ends what still runs here after the activities have ended: a runner whose activity was waiting for its next
// attempt, the engines, the warm parent.
func (h *gpuHost) saveAll(supervisor *runner.Supervisor, engines *engine.Manager, warm *runner.Warm) error {
	ctx, cancel := context.WithTimeout(context.Background(), finishPatience)
	defer cancel()
	err := errors.Join(supervisor.FinishAll(ctx), engines.StopAll())
	if warm != nil {
		err = errors.Join(err, warm.Stop())
	}
	return err
}
