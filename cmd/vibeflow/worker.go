package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/pyenv"
	"github.com/vibeflow/vibeflow/internal/supervise"
	"github.com/vibeflow/vibeflow/workers"
	"github.com/vibeflow/vibeflow/workers/peft"
)

func (a *app) workerCommand() *cobra.Command {
	w := workerProcess{}
	cmd := &cobra.Command{
		Use: "worker", Short: "Run a worker: it trains, evaluates and serves", Args: cobra.NoArgs,
		Long: `Runs the worker of one queue. SIGTERM (an upgrade) leaves live runners to the next worker; SIGINT has them save first.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			w.dir, w.server, w.log = dir, a.server, logger(datadir.ProcessWorker)
			return w.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&w.instance, "instance", mainInstance, "name of this worker's scratch folder; one worker each")
	f.StringVar(&w.queue, "queue", "", "slot queue (default: by this machine's class, cpu or gpu.<class>)")
	f.IntVar(&w.slots, "slots", 1, "runs at a time")
	f.IntVar(&w.threads, "threads", 0, "cores a runner may use (0: all)")
	return cmd
}

// mainInstance is the worker that `up` runs; further ones on the same data folder need names of their own.
const mainInstance = "main"

type workerProcess struct {
	dir                     *datadir.Dir
	server, instance, queue string
	slots, threads          int
	log                     *slog.Logger
}

// run wires the worker. It knows the server's address, the worker token and Temporal, and nothing of the database.
func (w workerProcess) run(parent context.Context) error {
	ctx, stopping, stop := workerContext(parent)
	defer stop()
	scratch, err := w.dir.WorkerScratch(w.instance)
	if err != nil {
		return err
	}
	if w.instance == mainInstance {
		lock, err := w.dir.Lock(string(datadir.ProcessWorker))
		if err != nil {
			return err
		}
		defer lock.Release()
	}
	waiting, endWaiting := until(ctx, stopping) // there is nothing to save yet
	defer endWaiting()
	url, token, err := w.gateway(waiting)
	if err != nil {
		return ended(waiting, err)
	}
	temporal, err := dialTemporal(waiting, w.dir, w.log, "")
	if err != nil {
		return ended(waiting, err)
	}
	defer temporal.Close()
	if w.instance == mainInstance {
		defer func() { _ = w.dir.Unpublish(datadir.ProcessWorker) }()
	}
	return workers.RunGPU(ctx, workers.GPUConfig{
		Client: temporal, GatewayURL: url, GatewayToken: token, Scratch: scratch, Ensure: w.ensure,
		Queue: w.queue, Slots: w.slots, Threads: w.threads, Version: version(), Stopping: stopping, Ready: w.ready, Logger: w.log,
	})
}

// ended turns the wish to stop while still waiting into a clean end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// until ends with its parent, or when a channel is closed.
func until(parent context.Context, closed <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	go func() {
		select {
		case <-closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// workerContext ends on SIGTERM or when `up` is gone: runners are left to the next worker. stopping is closed on SIGINT:
// runners save first.
func workerContext(parent context.Context) (ctx context.Context, stopping <-chan struct{}, stop func()) {
	// The parent's context ends on SIGINT, which means something gentler here.
	ctx, release := signal.NotifyContext(context.WithoutCancel(parent), syscall.SIGTERM)
	ctx, cancel := context.WithCancel(ctx)
	supervise.WatchParent(cancel)
	interrupts, saved := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(interrupts, os.Interrupt)
	go func() {
		<-interrupts
		close(saved)
	}()
	return ctx, saved, func() { cancel(); release() }
}

func (w workerProcess) gateway(ctx context.Context) (url, token string, err error) {
	if token = os.Getenv("VIBEFLOW_WORKER_TOKEN"); token == "" {
		if token, err = w.dir.Token(datadir.SecretWorkerToken); err != nil {
			return "", "", err
		}
	}
	if w.server != "" {
		return w.server, token, nil
	}
	at, err := w.dir.AwaitPublished(ctx, datadir.ProcessServer)
	return at.Server, token, err
}

// ready tells `up`, which watches the data folder's main worker.
func (w workerProcess) ready() {
	if w.instance != mainInstance {
		return
	}
	if err := w.dir.Publish(datadir.ProcessWorker, datadir.Endpoints{}); err != nil {
		w.log.Warn("readiness could not be published", "error", err)
	}
}

// ensure builds the runner's environment where it is missing, and says how far it is.
func (w workerProcess) ensure(ctx context.Context) (*pyenv.Env, error) {
	var last time.Time
	env, err := pyenv.Ensure(ctx, pythonOptions(), func(p pyenv.Progress) {
		if p.Phase == pyenv.PhaseReady || time.Since(last) < 10*time.Second {
			return
		}
		last = time.Now()
		w.log.Warn("building the runner's Python environment", "phase", p.Phase, "doing", p.Line,
			"size", humanize.IBytes(uint64(p.Bytes)), "seconds", int(p.Elapsed.Seconds()))
	})
	if err != nil && contract.CodeOf(err) == contract.CodeInternal {
		return nil, contract.Errorf(contract.CodeEnvironment, "the runner's environment could not be built: %w", err).Mend("run `vibeflow doctor`")
	}
	return env, err
}

// pythonOptions is what the user may say of the runner's environment.
func pythonOptions() pyenv.Options {
	return pyenv.Options{Files: peft.Files, Python: os.Getenv("VIBEFLOW_PYTHON"), UV: os.Getenv("VIBEFLOW_UV"),
		TorchIndex: os.Getenv("VIBEFLOW_TORCH_INDEX")}
}
