package workers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"golang.org/x/sync/errgroup"

	"github.com/vibeflow/vibeflow/activities"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/workflows"
)

// ControlConfig wires the control worker: it runs all workflows and the activities beside the database, gives turns to runs
// that wait for a slot, and delivers the outbox. Only the server process has one.
type ControlConfig struct {
	Client client.Client
	Outbox Outbox // internal/store
	Line   Line   // the same
	// Ledger says what workflows should be under way; nil: nobody compares.
	Ledger Ledger
	// Restored says that the databases were made of a backup.
	Restored bool
	// Closing is how long after a restore workflows may take to see that what they drive has ended; 0: a minute.
	Closing time.Duration
	// Activities are those of the control queue, with what they depend on.
	Activities *activities.Control
	Logger     *slog.Logger // nil: slog.Default
	// Queue is contract.QueueControl unless tests share a Temporal.
	Queue string
	// Instance tells servers of one host apart that share a Temporal; empty: "control".
	Instance string
	// Ready, if set, is called once workflows and activities are polled for.
	Ready func()
}

const (
	controlStop       = 10 * time.Second
	controlActivities = 1000 // most of them wait: AwaitStatus
	controlPollers    = 5    // with more than the SDK's two, the slowest starts under load come much sooner
	sweepPatience     = 15 * time.Second
	comparePatience   = 30 * time.Second
	heartbeatThrottle = time.Second
	deadlockPatience  = 10 * time.Second // machines that train are busy
)

// RunControl runs until ctx ends, and then stops polling and waits for what is under way. It first takes over what
// earlier starts of this server left behind.
func RunControl(ctx context.Context, config ControlConfig) error {
	config = config.withDefaults()
	self := config.identity()
	sweepCtx, cancel := context.WithTimeout(ctx, sweepPatience)
	defer cancel()
	if err := sweep(sweepCtx, config.Client, config.Logger, self, true); err != nil && ctx.Err() == nil {
		config.Logger.Warn("could not look for what an earlier start left behind; timeouts will", "error", err)
	}
	config.compare(ctx)
	return config.run(ctx, self)
}

// compare looks for what Temporal does not know before anything is sent there: a message to a workflow that is gone would end
// what it drove.
func (c ControlConfig) compare(ctx context.Context) {
	if c.Ledger == nil {
		return
	}
	patient, cancel := context.WithTimeout(ctx, comparePatience)
	defer cancel()
	if err := c.reconciler().compare(patient); err != nil && ctx.Err() == nil {
		c.Logger.Error("what is under way could not be compared with Temporal; the next start does", "error", err)
	}
}

func (c ControlConfig) reconciler() *reconciler {
	return &reconciler{client: c.Client, ledger: c.Ledger, log: c.Logger, orphaned: c.Activities.Orphaned, lifecycle: c.Activities.Status,
		closing: cmp.Or(c.Closing, closing)}
}

func (c ControlConfig) withDefaults() ControlConfig {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Queue == "" {
		c.Queue = contract.QueueControl
	}
	if c.Instance == "" {
		c.Instance = "control"
	}
	return c
}

func (c ControlConfig) identity() Identity {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return Identity{Host: host, Instance: c.Instance, Boot: contract.NewID("")}
}

func (c ControlConfig) run(ctx context.Context, self Identity) error {
	group, ctx := errgroup.WithContext(ctx)
	fatal := make(chan error, 1)
	w := worker.New(c.Client, c.Queue, worker.Options{
		Identity:                           self.String(),
		MaxConcurrentActivityExecutionSize: controlActivities,
		MaxConcurrentActivityTaskPollers:   controlPollers,
		MaxConcurrentWorkflowTaskPollers:   controlPollers,
		MaxHeartbeatThrottleInterval:       heartbeatThrottle,
		DefaultHeartbeatThrottleInterval:   heartbeatThrottle,
		WorkerStopTimeout:                  controlStop,
		DeadlockDetectionTimeout:           deadlockPatience,
		OnFatalError:                       func(err error) { fatal <- err },
	})
	workflows.Register(w)
	c.Activities.Register(w)
	if err := w.Start(); err != nil {
		return fmt.Errorf("start the control worker: %w", err)
	}
	defer w.Stop()
	if c.Ready != nil {
		c.Ready()
	}
	c.Logger.Debug("control worker polls", "queue", c.Queue, "identity", self.String())
	d := &dispatcher{client: c.Client, outbox: c.Outbox, log: c.Logger, queue: c.Queue, orphaned: c.Activities.Orphaned}
	group.Go(func() error { return d.run(ctx) })
	group.Go(func() error { giveTurns(ctx, c.Line, c.Logger); return nil })
	if c.Restored && c.Ledger != nil {
		group.Go(func() error {
			if err := c.reconciler().closeEnded(ctx); err != nil && ctx.Err() == nil {
				c.Logger.Error("workflows of what has ended could not be closed", "error", err)
			}
			return nil
		})
	}
	group.Go(func() error {
		select {
		case err := <-fatal:
			return fmt.Errorf("the control worker gave up: %w", err)
		case <-ctx.Done():
			return nil
		}
	})
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
