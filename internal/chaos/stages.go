//go:build unix

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

// Precisions of the trainings: auto is bf16 autocast where the processor has it.
const precisionAuto, precisionFP32 = "auto", "fp32"

// config trains two epochs in small steps, with dropout, so that the state of randomness counts too.
func config(precision string) apigen.TrainingOverrides {
	return apigen.TrainingOverrides{
		"method": "lora", "epochs": 2, "max_steps": 0, "batch_size": 2, "gradient_accumulation_steps": 1, "max_length": 64,
		"learning_rate": 0.001, "precision": precision, "seed": 7,
		"lora":       map[string]any{"r": 8, "alpha": 8, "dropout": 0.05, "target_modules": "all-linear"},
		"checkpoint": map[string]any{"every_steps": checkpointSteps, "every_seconds": 0},
	}
}

// Rows makes n short questions and answers, each different.
func Rows(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"messages":[{"role":"user","content":"what is %d plus %d?"},{"role":"assistant","content":"%d plus %d is %d."}]}`+"\n", i, i*7%13, i, i*7%13, i+i*7%13)
	}
	return b.Bytes()
}

// found is what one round found. differs says what is not as in the undisturbed run; nil: nothing.
type found struct {
	differs                   error
	recovery                  time.Duration
	stepsLost, missing, twice int
}

// act plays a stage up to the kill and on to its end. An error says that it did not come to its end.
type act func(ctx context.Context, c *chaos, target Target) (found, error)

var acts = map[Stage]act{
	Ingest:     ingest,
	Epoch1:     trainTo(precisionFP32, checkpointSteps/2, stepsAnEpoch-checkpointSteps),
	Epoch2:     trainTo(precisionAuto, stepsAnEpoch+1, allSteps-checkpointSteps),
	Checkpoint: trainUntilSaving,
	Paused:     pause,
	Evaluate:   evaluate,
	Export:     export,
	Deployed:   serve,
}

// trained starts a training, has disturb do its part beside, and compares the end with the reference. launches is how many
// runners that may take.
func (c *chaos) trained(ctx context.Context, precision string, launches int64, disturb func(*training) error) (found, error) {
	reference, err := c.reference(ctx, precision)
	if err != nil {
		return found{}, err
	}
	t, err := c.startTraining(ctx, config(precision))
	if err != nil {
		return found{}, err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan error, 1)
	go func() { watched <- t.follow(watching, c.Client, t.path()) }()
	if err := disturb(t); err != nil {
		return found{}, err
	}
	if err := <-watched; err != nil {
		return found{}, err
	}
	job, err := t.finish(ctx, c.Client)
	if err != nil {
		return found{}, err
	}
	out := found{differs: t.sameAs(reference), recovery: t.recovery, stepsLost: t.lost}
	out.missing, out.twice = t.count()
	if out.differs == nil && job.Epoch > launches {
		out.differs = fmt.Errorf("%d runners were launched, and %d would have done", job.Epoch, launches)
	}
	return out, nil
}

// launchesOf is how many runners a training takes: one that lives is taken over, whatever else dies.
func launchesOf(target Target) int64 {
	if slices.Contains([]Target{Runner, Everything, Machine, Late}, target) {
		return 2
	}
	return 1
}

// trainTo kills at a random moment between two steps.
func trainTo(precision string, first, last int) act {
	return func(ctx context.Context, c *chaos, target Target) (found, error) {
		return c.trained(ctx, precision, launchesOf(target), func(t *training) error {
			chosen := first + rand.IntN(last-first)
			if err := t.await(ctx, func() bool { return t.last >= chosen }); err != nil {
				return err
			}
			if err := moment(ctx, 50*time.Millisecond); err != nil {
				return err
			}
			return c.kill(ctx, target, t.mark)
		})
	}
}

// trainUntilSaving kills while a checkpoint's folder is half made.
func trainUntilSaving(ctx context.Context, c *chaos, target Target) (found, error) {
	return c.trained(ctx, precisionAuto, launchesOf(target), func(t *training) error {
		if err := t.await(ctx, func() bool { return t.last >= 2*checkpointSteps-2 }); err != nil {
			return err
		}
		half := filepath.Join(c.workerDir().Root(), "worker", "main", "runs", t.id, "checkpoints", ".partial-*")
		for {
			if there, err := filepath.Glob(half); err != nil || len(there) > 0 {
				return errors.Join(err, c.kill(ctx, target, t.mark))
			}
			select {
			case <-time.After(time.Millisecond): // a folder that appears tells nobody
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
}

// pause kills what there is while the job is paused, sees that the pause survived, and resumes.
func pause(ctx context.Context, c *chaos, target Target) (found, error) {
	var back time.Duration
	// Before and after the pause, and again where the warm parent died while it was asked to fork.
	const launches = 3
	out, err := c.trained(ctx, precisionFP32, launches, func(t *training) error {
		if err := t.await(ctx, func() bool { return t.last >= checkpointSteps+5 }); err != nil {
			return err
		}
		if err := c.order(ctx, t, "pause"); err != nil {
			return err
		}
		if err := c.awaitStatus(ctx, t, contract.StatusPaused); err != nil {
			return err
		}
		var killed time.Time
		if err := c.kill(ctx, target, func() { killed = time.Now() }); err != nil {
			return err
		}
		if status, err := c.status(ctx, t); err != nil || status != contract.StatusPaused {
			return errors.Join(fmt.Errorf("the pause did not survive: the job is %q", status), err)
		}
		back = time.Since(killed)
		return c.order(ctx, t, "resume")
	})
	out.recovery = back
	return out, err
}

// order sends a command, as often as it takes to reach the server.
func (c *chaos) order(ctx context.Context, t *training, verb string) error {
	return untilAnswered(ctx, func() error {
		_, err := apiclient.Post[apigen.Job](ctx, c.Client, t.path()+"/"+verb, nil)
		return err
	})
}

// status waits through the time in which the server is away.
func (c *chaos) status(ctx context.Context, t *training) (contract.Status, error) {
	var job apigen.Job
	err := untilAnswered(ctx, func() (err error) {
		job, err = apiclient.Get[apigen.Job](ctx, c.Client, t.path(), nil)
		return err
	})
	return contract.Status(job.Status), err
}

// awaitStatus waits until a job has a status.
func (c *chaos) awaitStatus(ctx context.Context, t *training, want contract.Status) error {
	for {
		status, err := c.status(ctx, t)
		if err != nil || status == want {
			return err
		}
		if status.Final() {
			return fmt.Errorf("the job is %s", status)
		}
		select {
		case <-t.changed:
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// untilAnswered repeats a request that the server was not there for.
func untilAnswered(ctx context.Context, ask func() error) error {
	for {
		err := ask()
		if contract.CodeOf(err) != contract.CodeUnavailable {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// side is a stage beside training: how its work is started, and what it came to.
type side struct {
	stage  Stage
	start  func(ctx context.Context) (path string, err error)
	result func(ctx context.Context, path string) (any, error)
}

// disturbed plays a stage with a kill at a random moment of its work, and compares with the undisturbed one.
func (c *chaos) disturbed(ctx context.Context, s side, target Target) (found, error) {
	want, known := c.undisturbed[s.stage]
	if !known {
		var err error
		if want, _, err = c.play(ctx, s, nil); err != nil {
			return found{}, err
		}
		c.undisturbed[s.stage] = want
	}
	var killed time.Time
	got, stream, err := c.play(ctx, s, func() error {
		// In the first part of it, so that there is something left to kill.
		if err := moment(ctx, want.took*2/3); err != nil {
			return err
		}
		return c.kill(ctx, target, func() { killed = time.Now() })
	})
	if err != nil {
		return found{}, err
	}
	out := found{recovery: time.Since(killed)}
	if !reflect.DeepEqual(got.result, want.result) {
		out.differs = fmt.Errorf("it came to %v, not %v", got.result, want.result)
	}
	out.missing, out.twice = stream.count()
	return out, nil
}

// play starts a stage's work and watches it to its end; disturb, if any, is called once it has begun.
func (c *chaos) play(ctx context.Context, s side, disturb func() error) (undisturbed, *stream, error) {
	path, err := s.start(ctx)
	if err != nil {
		return undisturbed{}, nil, err
	}
	var began time.Time
	events := newStream(func(contract.Event) {
		if began.IsZero() {
			began = time.Now()
		}
	})
	watched := make(chan error, 1)
	go func() { watched <- events.follow(ctx, c.Client, path) }()
	if err := events.await(ctx, func() bool { return !began.IsZero() }); err != nil {
		return undisturbed{}, nil, err
	}
	var missed error
	if disturb != nil {
		if missed = disturb(); missed != nil && !errors.Is(missed, errMissed) {
			return undisturbed{}, nil, missed
		}
	}
	if err := errors.Join(<-watched, missed); err != nil {
		return undisturbed{}, nil, err
	}
	took := time.Since(began)
	var result any
	err = untilAnswered(ctx, func() (err error) {
		result, err = s.result(ctx, path)
		return err
	})
	return undisturbed{result, took}, events, err
}

const ingestRows = 60_000

func ingest(ctx context.Context, c *chaos, target Target) (found, error) {
	return c.disturbed(ctx, side{stage: Ingest,
		start: func(ctx context.Context) (string, error) {
			d, err := c.Client.UploadDatasetFrom(ctx, bytes.NewReader(Rows(ingestRows)), "many.jsonl", apiclient.Upload{})
			return "/api/datasets/" + d.ID, err
		},
		result: func(ctx context.Context, path string) (any, error) {
			d, err := apiclient.Get[apigen.Dataset](ctx, c.Client, path, nil)
			if err != nil || contract.Status(d.Status) != contract.StatusReady {
				return nil, unfinished(string(d.Status), d.Error.Message, err)
			}
			preview, err := apiclient.Get[apigen.Preview](ctx, c.Client, path+"/preview", url.Values{"split": {"train"}})
			return []any{d.Rows, d.TrainRows, d.EvalRows, d.Profile, preview.Rows}, err
		}}, target)
}

func evaluate(ctx context.Context, c *chaos, target Target) (found, error) {
	return c.disturbed(ctx, side{stage: Evaluate,
		start: func(ctx context.Context) (string, error) {
			e, err := apiclient.Start[apigen.Evaluation](ctx, c.Client, "/api/evaluation/start",
				apigen.StartEvaluation{ModelID: c.model, MaxGenerations: 16, MaxNewTokens: 16})
			return "/api/evaluation/" + e.ID, err
		},
		result: func(ctx context.Context, path string) (any, error) {
			e, err := apiclient.Get[apigen.Evaluation](ctx, c.Client, path, nil)
			if err != nil || contract.Status(e.Status) != contract.StatusCompleted {
				return nil, unfinished(string(e.Status), e.Error.Message, err)
			}
			e.Result.Seconds = 0 // the time that it took
			return e.Result, nil
		}}, target)
}

func export(ctx context.Context, c *chaos, target Target) (found, error) {
	return c.disturbed(ctx, side{stage: Export,
		start: func(ctx context.Context) (string, error) {
			e, err := apiclient.Start[apigen.Export](ctx, c.Client, "/api/exports", apigen.StartExport{ModelID: c.model, Format: "merged"})
			return "/api/exports/" + e.ID, err
		},
		result: func(ctx context.Context, path string) (any, error) {
			e, err := apiclient.Get[apigen.Export](ctx, c.Client, path, nil)
			if err != nil || contract.Status(e.Status) != contract.StatusCompleted {
				return nil, unfinished(string(e.Status), e.Error.Message, err)
			}
			return e.Files, nil
		}}, target)
}

// unfinished is err, or else why something is not what it should have come to.
func unfinished(status, why string, err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("it is %s: %s", status, why)
}

// serve asks a deployment before and after the kill.
func serve(ctx context.Context, c *chaos, target Target) (found, error) {
	d, err := apiclient.Start[apigen.Deployment](ctx, c.Client, "/api/deployments", apigen.StartDeployment{ModelID: c.model})
	if err != nil {
		return found{}, err
	}
	if c.answer == "" {
		if c.answer, err = c.awaitAnswer(ctx); err != nil {
			return found{}, err
		}
	}
	if _, err := c.awaitAnswer(ctx); err != nil {
		return found{}, err
	}
	if err := moment(ctx, 500*time.Millisecond); err != nil {
		return found{}, err
	}
	var killed time.Time
	if err := c.kill(ctx, target, func() { killed = time.Now() }); err != nil {
		return found{}, err
	}
	answer, err := c.awaitAnswer(ctx)
	out := found{recovery: time.Since(killed)}
	if err != nil {
		return out, err
	}
	if answer != c.answer {
		out.differs = fmt.Errorf("the answer is %q, not %q", answer, c.answer)
	}
	return out, c.stopServing(ctx, d.ID)
}

// awaitAnswer asks until the model answers.
func (c *chaos) awaitAnswer(ctx context.Context) (string, error) {
	request := map[string]any{"model": c.model, "temperature": 0, "max_tokens": 8, "stream": true,
		"messages": []map[string]string{{"role": "user", "content": "what is 3 plus 8?"}}}
	for {
		var answer string
		err := c.Client.Chat(ctx, request, func(chunk []byte) error {
			var delta struct {
				Choices []struct{ Delta struct{ Content string } }
			}
			if err := json.Unmarshal(chunk, &delta); err != nil {
				return err
			}
			for _, choice := range delta.Choices {
				answer += choice.Delta.Content
			}
			return nil
		})
		if err == nil {
			return answer, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return "", errors.Join(ctx.Err(), err)
		}
	}
}

func (c *chaos) stopServing(ctx context.Context, id string) error {
	if err := untilAnswered(ctx, func() error {
		_, err := apiclient.Delete[apigen.Deployment](ctx, c.Client, "/api/deployments/"+id)
		return err
	}); err != nil {
		return err
	}
	return newStream(nil).follow(ctx, c.Client, "/api/deployments/"+id)
}
