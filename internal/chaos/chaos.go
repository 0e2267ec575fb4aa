//go:build unix

package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/platform"
)

// Options say what is proven.
type Options struct {
	Binary string // of VibeFlow; see platform.Binary
	Rounds int    // of each cell; 0 is 1
	// Cells are the ones to prove; nil: all of Matrix.
	Cells []Cell
	// Progress is told of every cell once it is done, and of what is waited for; nil: nobody.
	Progress func(line string)
	// Own is platform.Platform's.
	Own bool
}

const (
	tinyModel = "tiny-llama"
	// roundPatience is for a round, and for the run of one step after it, on a machine that does other things beside.
	roundPatience = 7 * time.Minute
	// leavePatience is how long what has ended may take to leave.
	leavePatience = 20 * time.Second

	trainRows, heldOutRows = 240, 100
	// Batches of 2: an epoch is 120 steps.
	stepsAnEpoch, allSteps = 120, 240
	checkpointSteps        = 30
)

// chaos is one proof under way.
type chaos struct {
	*platform.Platform
	Options
	dataset apigen.Dataset
	model   string // the tuned one that other stages are about
	// machine has the worker, while it is not `up` that has it; other is the one that takes over.
	machine, other *platform.Machine
	machines       int // there were so far
	// references are undisturbed trainings, by precision.
	references map[string]*training
	// What the other stages come to when nothing disturbs them, each made once.
	undisturbed map[Stage]undisturbed
	answer      string
}

// undisturbed is what a stage came to, and how long it was at work.
type undisturbed struct {
	result any
	took   time.Duration
}

// Run proves the cells, one after the other. The error is of the proof itself: what a cell found is in the report.
func Run(ctx context.Context, options Options) (report *Report, err error) {
	began := time.Now()
	p, err := platform.New(options.Binary)
	if err != nil {
		return nil, err
	}
	p.Own = options.Own
	c := &chaos{Platform: p, Options: options.withDefaults(), references: map[string]*training{}, undisturbed: map[Stage]undisturbed{}}
	defer func() { err = errors.Join(err, c.closeMachines(), p.Close()) }()
	report = &Report{Cores: runtime.NumCPU()}
	if options.Cells == nil {
		c.Cells, report.LeftOut = Matrix()
	}
	if err := c.prepare(ctx); err != nil {
		return nil, p.Explain(err)
	}
	for _, cell := range c.Cells {
		if err := c.prove(ctx, &cell); err != nil {
			return nil, p.Explain(err)
		}
		report.Cells = append(report.Cells, cell)
	}
	if err := errors.Join(c.closeMachines(), c.Stop()); err != nil {
		return nil, err
	}
	left, err := c.Processes(ctx)
	report.LeftBehind = len(left)
	report.Seconds = time.Since(began).Seconds()
	return report, err
}

func (o Options) withDefaults() Options {
	if o.Rounds == 0 {
		o.Rounds = 1
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	return o
}

// prepare starts VibeFlow and makes the undisturbed results.
func (c *chaos) prepare(ctx context.Context) (err error) {
	c.Progress("starting VibeFlow on a data folder of its own")
	if _, err := c.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if c.dataset, err = c.Upload(ctx, "sums.jsonl", Rows(trainRows+heldOutRows)); err != nil {
		return err
	}
	c.Progress("making the undisturbed run")
	_, err = c.reference(ctx, precisionAuto)
	return err
}

// reference is the undisturbed training in a precision, made once.
func (c *chaos) reference(ctx context.Context, precision string) (*training, error) {
	if t, made := c.references[precision]; made {
		return t, nil
	}
	t, err := c.startTraining(ctx, config(precision))
	if err != nil {
		return nil, err
	}
	if err := t.follow(ctx, c.Client, t.path()); err != nil {
		return nil, err
	}
	job, err := t.finish(ctx, c.Client)
	if err != nil {
		return nil, err
	}
	c.model, c.references[precision] = cmp.Or(c.model, job.TunedModelID), t
	return t, nil
}

// prove disturbs one cell's stage, round after round. What a round leaves under way is ended, for the next is not to suffer.
func (c *chaos) prove(ctx context.Context, cell *Cell) error {
	act, ok := acts[cell.Stage]
	if !ok {
		return contract.Errorf(contract.CodeInvalid, "there is no stage %q", cell.Stage)
	}
	for round := 1; round <= c.Rounds; round++ {
		cell.Rounds++
		if err := c.place(ctx, cell.Process); err != nil {
			return err
		}
		if err := c.round(ctx, cell, round, act); err != nil {
			return err
		}
	}
	mark := "✓"
	if !cell.Passed() {
		mark = "✗ " + strings.Join(cell.Problems, "; ")
	}
	c.Progress(fmt.Sprintf("%s, %s: %d of %d exact, back after %.1f s %s", cell.Process, cell.Stage, cell.Exact, cell.Rounds, cell.Recovery.Median, mark))
	return nil
}

func (c *chaos) round(ctx context.Context, cell *Cell, number int, act act) error {
	found, err := c.attempt(ctx, cell, act)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		cell.problem(number, err)
		c.Progress(fmt.Sprintf("%s, %s: %v", cell.Process, cell.Stage, err))
		return c.startOver(ctx)
	}
	cell.Finished++
	cell.recovered(found.recovery)
	cell.StepsLost = max(cell.StepsLost, found.stepsLost)
	cell.EventsMissing += found.missing
	cell.EventsTwice += found.twice
	if found.differs == nil {
		cell.Exact++
	} else {
		cell.problem(number, found.differs)
	}
	if most := mostLost(cell.Process); found.stepsLost > most {
		cell.problem(number, fmt.Errorf("%d steps were lost, of at most %d, with a checkpoint every %d", found.stepsLost, most, checkpointSteps))
	}
	return c.tidy(ctx, cell, number)
}

// mostLost is how many steps may have to be trained again: those since the last checkpoint. With a machine a checkpoint is
// gone that was still on its way to the server.
func mostLost(target Target) int {
	if target.elsewhere() {
		return 2 * checkpointSteps
	}
	return checkpointSteps
}

// errMissed says that the target was not there at the moment that was drawn.
var errMissed = errors.New("it was not there to be killed")

// attempt plays a round; a moment at which there was nothing to kill proves nothing, and another is drawn.
func (c *chaos) attempt(ctx context.Context, cell *Cell, act act) (out found, err error) {
	const most = 10
	for range most {
		limited, cancel := context.WithTimeout(ctx, roundPatience)
		out, err = act(limited, c, cell.Process)
		cancel()
		if !errors.Is(err, errMissed) {
			break
		}
	}
	return out, err
}

// tidy looks for what is left behind, and whether a run still gets a slot.
func (c *chaos) tidy(ctx context.Context, cell *Cell, number int) error {
	left, err := c.awaitNoRunners(ctx)
	if err != nil {
		return err
	}
	cell.Orphans += left
	limited, cancel := context.WithTimeout(ctx, roundPatience)
	defer cancel()
	if err := c.probe(limited); err != nil {
		cell.SlotsLeaked = 1
		cell.problem(number, fmt.Errorf("no run can start any more: %w", err))
		return c.startOver(ctx)
	}
	return nil
}

func (c *chaos) awaitNoRunners(ctx context.Context) (left int, err error) {
	for deadline := time.Now().Add(leavePatience); ; {
		found, err := c.runners(ctx)
		if err != nil || len(found) == 0 || time.Now().After(deadline) {
			return len(found), err
		}
		time.Sleep(100 * time.Millisecond) // a process that leaves tells nobody
	}
}

// probe trains one step.
func (c *chaos) probe(ctx context.Context) error {
	t, err := c.startTraining(ctx, apigen.TrainingOverrides{"max_steps": 1, "max_length": 64, "batch_size": 1, "gradient_accumulation_steps": 1})
	if err != nil {
		return err
	}
	if err := t.follow(ctx, c.Client, t.path()); err != nil {
		return err
	}
	_, err = t.finish(ctx, c.Client)
	return err
}

// startOver ends what a failed round left under way.
func (c *chaos) startOver(ctx context.Context) error {
	page, err := apiclient.Get[apigen.JobPage](ctx, c.Client, "/api/training", nil)
	if err == nil {
		for _, job := range page.Items {
			if !contract.Status(job.Status).Final() {
				_, _ = apiclient.Post[apigen.Job](ctx, c.Client, "/api/training/"+job.ID+"/cancel", nil) // it may have ended by now
			}
		}
	}
	return errors.Join(c.KillEverything(ctx), c.restart(ctx))
}

// restart is what systemd would do.
func (c *chaos) restart(ctx context.Context) error {
	_, err := c.Start(context.WithoutCancel(ctx))
	return err
}

// kill ends a target at once, tells that it is dead, and restarts only what nothing in VibeFlow would.
func (c *chaos) kill(ctx context.Context, target Target, dead func()) error {
	if take, ok := takeAways[target]; ok {
		return take(c, ctx, dead)
	}
	defer dead()
	if process, ok := map[Target]datadir.Process{Server: datadir.ProcessServer, Temporal: datadir.ProcessTemporal, Worker: datadir.ProcessWorker}[target]; ok {
		return c.Kill(process)
	}
	found, err := c.Detached(ctx)
	if err != nil {
		return err
	}
	pids := map[Target][]int{Runner: found.Runners, Engine: found.Engines, WarmParent: {found.WarmParent}}[target]
	if len(pids) == 0 || pids[0] == 0 {
		return fmt.Errorf("%s: %w", target, errMissed)
	}
	return platform.KillPIDs(pids...)
}

// moment waits a random part of a while: the point of it is that nobody chose it.
func moment(ctx context.Context, most time.Duration) error {
	return wait(ctx, time.Duration(rand.Int64N(int64(most))))
}
