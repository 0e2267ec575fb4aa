//go:build unix

package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/platform"
)

const (
	// outage is how long a line is cut and how long a machine sleeps: longer than the heartbeat timeout of a run
	// (workflows/options.go), so that Temporal has given it up.
	outage = 75 * time.Second
	// fencePatience is how long a machine that is back may take to end a runner that was superseded.
	fencePatience = time.Minute
)

// takeAways are the targets that are more than one process. Each tells when its target is gone; of what comes back, when
// it is back.
var takeAways = map[Target]func(c *chaos, ctx context.Context, gone func()) error{
	Everything: (*chaos).killEverything,
	Network:    (*chaos).cut,
	Machine:    (*chaos).lose,
	Late:       (*chaos).comeLate,
	Sleep:      (*chaos).sleep,
}

func (c *chaos) killEverything(ctx context.Context, gone func()) error {
	err := c.KillEverything(ctx)
	gone()
	return errors.Join(err, c.restart(ctx))
}

// cut parts the worker from server and Temporal for a while.
func (c *chaos) cut(ctx context.Context, gone func()) error {
	c.machine.Cut()
	err := c.held(ctx, func() error { return wait(ctx, outage) })
	gone()
	c.machine.Mend()
	return err
}

// held lets the machine's runners go on for a moment, and then has them stand still while something lasts: the tiny model
// would be done before it is over, and what is to be seen is that a live runner is taken over, or ended.
func (c *chaos) held(ctx context.Context, while func() error) error {
	if err := wait(ctx, time.Second); err != nil {
		return err
	}
	pids, err := c.machine.Runners(ctx)
	if err != nil {
		return err
	}
	err = errors.Join(signal(syscall.SIGSTOP, pids...), while())
	return errors.Join(err, signal(syscall.SIGCONT, pids...))
}

func signal(s syscall.Signal, pids ...int) (errs error) {
	for _, pid := range pids {
		if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

// lose has the worker's machine vanish, and puts another one there.
func (c *chaos) lose(ctx context.Context, gone func()) (err error) {
	if err := c.machine.Lose(ctx); err != nil {
		return err
	}
	gone()
	c.other, err = c.newMachine(ctx)
	return err
}

// comeLate cuts the worker's machine off until another one has taken over, and sees that its runner is ended once it is
// back: what that one would write is refused, and nobody needs it.
func (c *chaos) comeLate(ctx context.Context, gone func()) (err error) {
	c.machine.Cut()
	gone()
	err = c.held(ctx, func() (err error) {
		if c.other, err = c.newMachine(ctx); err != nil {
			return err
		}
		return c.awaitTakeOver(ctx)
	})
	if err != nil {
		return err
	}
	alive, err := c.machine.Runners(ctx)
	if err != nil || len(alive) == 0 {
		return errors.Join(err, fmt.Errorf("the runner that was cut off: %w", errMissed))
	}
	c.machine.Mend()
	for deadline := time.Now().Add(fencePatience); len(alive) > 0; {
		if time.Now().After(deadline) {
			return c.machine.Explain(fmt.Errorf("a runner that was superseded was still there %s after its machine was back", fencePatience))
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil { // a process that leaves tells nobody
			return err
		}
		if alive, err = c.machine.Runners(ctx); err != nil {
			return err
		}
	}
	return nil
}

// awaitTakeOver waits until the newest job is at its second launch.
func (c *chaos) awaitTakeOver(ctx context.Context) error {
	for {
		var page apigen.JobPage
		err := untilAnswered(ctx, func() (err error) {
			page, err = apiclient.Get[apigen.JobPage](ctx, c.Client, "/api/training", nil)
			return err
		})
		if err != nil {
			return err
		}
		if len(page.Items) > 0 && page.Items[0].Epoch > 1 {
			return nil
		}
		if len(page.Items) == 0 || contract.Status(page.Items[0].Status).Final() {
			return errors.New("the run ended where nobody could reach it")
		}
		if err := wait(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
}

// sleep has all processes of the data folder stand still, as a laptop's do whose lid is closed, and go on.
func (c *chaos) sleep(ctx context.Context, gone func()) error {
	living, err := c.Processes(ctx)
	if err != nil {
		return err
	}
	pids := slices.Collect(maps.Keys(living))
	err = errors.Join(signal(syscall.SIGSTOP, pids...), wait(ctx, outage))
	gone()
	return errors.Join(err, signal(syscall.SIGCONT, pids...))
}

// place has the worker where the target wants it: on a machine of its own, or with `up`.
func (c *chaos) place(ctx context.Context, target Target) (err error) {
	if !target.elsewhere() && !c.NoWorker {
		return nil
	}
	if err := c.closeMachines(); err != nil {
		return err
	}
	if target.elsewhere() != c.NoWorker {
		if err := c.Stop(); err != nil {
			return err
		}
		c.NoWorker = target.elsewhere()
		if err := c.restart(ctx); err != nil {
			return err
		}
	}
	if c.NoWorker {
		c.machine, err = c.newMachine(ctx)
	}
	return err
}

func (c *chaos) newMachine(ctx context.Context) (*platform.Machine, error) {
	c.machines++
	return c.NewMachine(ctx, fmt.Sprintf("m%d", c.machines))
}

func (c *chaos) closeMachines() (err error) {
	for _, m := range []*platform.Machine{c.machine, c.other} {
		if m != nil {
			err = errors.Join(err, m.Close())
		}
	}
	c.machine, c.other = nil, nil
	return err
}

// workerDir is the data folder of the worker.
func (c *chaos) workerDir() *datadir.Dir {
	if c.machine != nil {
		return c.machine.Dir
	}
	return c.Dir
}

// runners are the pids of all that live, on any machine.
func (c *chaos) runners(ctx context.Context) ([]int, error) {
	found, err := c.Detached(ctx)
	pids := slices.Clone(found.Runners)
	for _, m := range []*platform.Machine{c.machine, c.other} {
		if m == nil {
			continue
		}
		more, moreErr := m.Runners(ctx)
		pids, err = append(pids, more...), errors.Join(err, moreErr)
	}
	return pids, err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
