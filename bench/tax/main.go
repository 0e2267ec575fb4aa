//go:build unix

// Command tax measures what orchestration costs: the training stage through VibeFlow beside the same training as a bare
// TRL script (bare.py):
//
//	go run ./bench/tax [--bin bin/vibeflow] [--model ID] [--data FILE] [--rows N] [--steps 20] [--config JSON] [--rounds 2] [--tiny]
//
// By default it is the bundled model on the sample set; --tiny shows in a minute that the benchmark itself works, its
// ratio says nothing. A job of one step comes first: it imports the model, waits for the warm parent, and shows the spec
// that the bare script then trains from, so that both have the same model, rows, recipe, seed, threads and loss. Rounds
// alternate, and for each part the medians are compared. The losses of every step must be equal, or it fails.
//
// Training stage: from the claim of a slot (job.started) to the runner's end (runner.finished), beside the script from
// its start to its exit. VibeFlow's warm parent has paid the imports before, so a stricter ratio leaves out the script's
// imports and the interpreter's start and end. The limit of 1.05 is held against both. A third ratio is what a user waits
// beside the whole script: from the request to job.completed.
// VibeFlow stays up, idle, while the script runs.
package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/bench/internal/benchmark"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/platform"
	"github.com/vibeflow/vibeflow/internal/pyenv"
	"github.com/vibeflow/vibeflow/internal/sample"
	"github.com/vibeflow/vibeflow/workers/peft"
)

const limit = 1.05

//go:embed bare.py
var bareScript string

func main() { benchmark.Main("tax", run) }

// options is what the command line says.
type options struct {
	bin, model, data, config string
	rows, steps, rounds      int
	tiny                     bool
}

func parse() options {
	var o options
	flag.StringVar(&o.bin, "bin", "", "program to measure (default: $VIBEFLOW_BIN, else bin/vibeflow)")
	flag.StringVar(&o.model, "model", catalog.Bundled, "base model")
	flag.StringVar(&o.data, "data", "", "file to train on (default: the sample set)")
	flag.StringVar(&o.config, "config", "{}", "training configuration as JSON; what is absent is the recommender's")
	flag.IntVar(&o.rows, "rows", 0, "only the first lines of the file, which must be JSONL then (0: all)")
	flag.IntVar(&o.steps, "steps", 20, "optimizer steps")
	flag.IntVar(&o.rounds, "rounds", 2, "rounds, one run of each side")
	flag.BoolVar(&o.tiny, "tiny", false, "the tiny model, one round")
	flag.Parse()
	if o.tiny {
		o.model, o.rounds = catalog.Tiny, 1
	}
	o.rounds = max(o.rounds, 1)
	return o
}

// bench is one call of the program.
type bench struct {
	options
	p       *platform.Platform
	dataset string
	env     *pyenv.Env
	spec    string // path of the spec that the bare script reads
	loss    string // labelled or stock
	machine string // before the first round: the load after it is our own
}

func run(ctx context.Context) (err error) {
	b := bench{options: parse()}
	if b.env, err = pyenv.Ensure(ctx, pyenv.Options{Files: peft.Files, Python: os.Getenv("VIBEFLOW_PYTHON"), UV: os.Getenv("VIBEFLOW_UV")}, nil); err != nil {
		return err
	}
	return benchmark.On(b.bin, func(p *platform.Platform) error {
		b.p = p
		if err := b.prepare(ctx); err != nil {
			return err
		}
		return b.compare(ctx)
	})
}

// prepare uploads the rows and runs the job of one step.
func (b *bench) prepare(ctx context.Context) error {
	b.machine = benchmark.Machine()
	name, content, err := b.content()
	if err != nil {
		return err
	}
	if _, err := b.p.Start(ctx); err != nil {
		return err
	}
	ds, err := b.p.Upload(ctx, name, content)
	if err != nil {
		return err
	}
	b.dataset = ds.ID
	var keepErr error
	job, err := b.train(ctx, 1, func(e contract.Event) error {
		if e.Type == contract.EventType(contract.KindJob, contract.EventStarted) {
			keepErr = b.keepSpec(ctx)
		}
		return keepErr
	})
	if err = cmp.Or(keepErr, err); err != nil {
		return err
	}
	started, err := benchmark.All[struct {
		LossPath string `json:"loss_path"`
	}](job, contract.RunnerStarted)
	if err != nil || len(started) == 0 {
		return errors.Join(err, b.p.Explain(errors.New("the runner told nothing of its start")))
	}
	b.loss = started[0].LossPath
	return nil
}

func (b *bench) content() (name string, content []byte, err error) {
	name, content = sample.Name+".jsonl", sample.Support()
	if b.data != "" {
		name = filepath.Base(b.data)
		if content, err = os.ReadFile(b.data); err != nil {
			return "", nil, err
		}
	}
	if b.rows > 0 {
		lines := bytes.SplitAfterN(content, []byte("\n"), b.rows+1)
		content = bytes.Join(lines[:min(b.rows, len(lines))], nil)
	}
	return name, content, nil
}

func (b *bench) train(ctx context.Context, steps int, see func(contract.Event) error) (benchmark.Job, error) {
	config := apigen.TrainingOverrides{}
	if err := json.Unmarshal([]byte(b.config), &config); err != nil {
		return benchmark.Job{}, fmt.Errorf("--config: %w", err)
	}
	config["max_steps"] = steps
	return benchmark.Train(ctx, b.p, apigen.StartTraining{DatasetID: b.dataset, ModelID: b.model, Config: config}, see)
}

// keepSpec copies the spec and rows of the run that has just claimed its slot: its folder is wiped when it ends.
func (b *bench) keepSpec(ctx context.Context) error {
	scratch, err := b.p.Dir.WorkerScratch("main")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		if found, _ := filepath.Glob(filepath.Join(scratch, "runs", "*", "e*", "spec.json")); len(found) == 1 {
			return b.adopt(found[0])
		}
		time.Sleep(10 * time.Millisecond) // it is written by another process
	}
	return b.p.Explain(errors.New("the run's spec.json did not appear"))
}

func (b *bench) adopt(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var spec contract.RunSpec
	if err := json.Unmarshal(data, &spec); err != nil {
		return err
	}
	folder := filepath.Join(b.p.Root(), "bare")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	for name, input := range map[string]*contract.Input{"train.jsonl": &spec.Dataset.Train, "eval.jsonl": &spec.Dataset.Eval} {
		if input.Path == "" {
			continue
		}
		rows, err := os.ReadFile(input.Path)
		if err != nil {
			return err
		}
		if input.Path = filepath.Join(folder, name); os.WriteFile(input.Path, rows, 0o600) != nil {
			return fmt.Errorf("%s cannot be written", input.Path)
		}
	}
	spec.Training.MaxSteps = b.steps
	spec.LeaseFile, spec.CheckpointsDir, spec.OutputDir = "", filepath.Join(folder, "checkpoints"), filepath.Join(folder, "out")
	if data, err = json.Marshal(spec); err != nil {
		return err
	}
	b.spec = filepath.Join(folder, "spec.json")
	return os.WriteFile(b.spec, data, 0o600)
}

// compare runs the rounds and reports their medians.
func (b *bench) compare(ctx context.Context) error {
	ours, theirs := samples{}, samples{}
	for round := range b.rounds {
		mine, err := b.ours(ctx)
		if err != nil {
			return err
		}
		bare, err := b.bare(ctx)
		if err != nil {
			return err
		}
		if !slices.Equal(mine.losses, bare.losses) {
			return fmt.Errorf("not the same training: the losses are %v through VibeFlow and %v bare", mine.losses, bare.losses)
		}
		ours.add(mine.seconds)
		theirs.add(bare.seconds)
		fmt.Fprintf(os.Stderr, "round %d: stage %.1f s, bare %.1f s\n", round+1, mine.seconds[stage], bare.seconds[stage])
	}
	b.report(ours, theirs)
	return nil
}

// The parts of a run, in order. What one side does not have is zero.
const (
	queue       = "queue"
	imports     = "import"
	launching   = "fetch, fork, loss proof"
	loading     = "data and model"
	rehearsal   = "preflight"
	stepping    = "steps"
	saving      = "checkpoints"
	finishing   = "held-out loss, adapter"
	registering = "upload, register"
	stage       = "training stage"
	whole       = "request to completed"
)

var parts = []string{queue, imports, launching, loading, rehearsal, stepping, saving, finishing, registering}

// result is one run.
type result struct {
	seconds map[string]float64
	losses  []float64
}

type samples map[string][]float64

func (s samples) add(seconds map[string]float64) {
	for name, value := range seconds {
		s[name] = append(s[name], value)
	}
}

func (s samples) median(name string) float64 {
	if len(s[name]) == 0 {
		return 0
	}
	return benchmark.Median(s[name])
}

// ours trains through VibeFlow and takes the run apart by its events.
func (b *bench) ours(ctx context.Context) (result, error) {
	job, err := b.train(ctx, b.steps, nil)
	if err != nil {
		return result{}, err
	}
	told, err := timeline(job)
	if err != nil {
		return result{}, b.p.Explain(err)
	}
	type started struct {
		Timings struct {
			Import float64 `json:"import_s"`
			Data   float64 `json:"data_s"`
			Model  float64 `json:"model_s"`
		} `json:"timings"`
	}
	type checkpoint struct {
		Seconds float64 `json:"seconds"`
		Step    int     `json:"step"`
	}
	type metrics struct {
		Loss float64 `json:"loss"`
	}
	starts, err := benchmark.All[started](job, contract.RunnerStarted)
	checkpoints, err2 := benchmark.All[checkpoint](job, contract.RunnerCheckpoint)
	steps, err3 := benchmark.All[metrics](job, contract.RunnerMetrics)
	if err := errors.Join(err, err2, err3); err != nil {
		return result{}, err
	}
	if len(starts) != 1 || len(steps) != b.steps {
		return result{}, fmt.Errorf("%d launches and %d steps were told, 1 and %d expected", len(starts), len(steps), b.steps)
	}
	t, within := starts[0].Timings, 0.0 // within: checkpoints before the last step, so not in what follows it
	out := result{seconds: map[string]float64{}}
	for _, c := range checkpoints {
		out.seconds[saving] += c.Seconds
		if c.Step < b.steps {
			within += c.Seconds
		}
	}
	for _, s := range steps {
		out.losses = append(out.losses, s.Loss)
	}
	out.seconds[queue] = told.claimed.Sub(job.Requested).Seconds()
	out.seconds[imports] = t.Import
	out.seconds[loading] = t.Data + t.Model
	// What lies between the claim and the runner's `started` that the runner does not time itself.
	out.seconds[launching] = told.started.Sub(told.claimed).Seconds() - t.Import - t.Data - t.Model
	out.seconds[rehearsal] = told.rehearsed.Sub(told.started).Seconds()
	out.seconds[stepping] = told.trained.Sub(told.rehearsed).Seconds() - within
	out.seconds[finishing] = told.finished.Sub(told.trained).Seconds() - (out.seconds[saving] - within)
	out.seconds[registering] = told.completed.Sub(told.finished).Seconds()
	out.seconds[stage] = told.finished.Sub(told.claimed).Seconds()
	out.seconds[whole] = told.completed.Sub(job.Requested).Seconds()
	return out, nil
}

// moments are those between which a run's parts lie. All processes run on this machine, so their clock is one.
type moments struct{ claimed, started, rehearsed, trained, finished, completed time.Time }

func timeline(job benchmark.Job) (moments, error) {
	var m moments
	var missing error
	for kind, at := range map[string]*time.Time{
		contract.EventType(contract.KindJob, contract.EventStarted): &m.claimed,
		contract.RunnerStarted:   &m.started,
		contract.RunnerPreflight: &m.rehearsed,
		contract.RunnerFinished:  &m.finished,
		contract.EventType(contract.KindJob, contract.EventCompleted): &m.completed,
	} {
		e, err := job.Find(kind)
		missing, *at = errors.Join(missing, err), e.At
	}
	for _, e := range job.Events {
		if e.Type == contract.RunnerMetrics {
			m.trained = e.At
		}
	}
	return m, missing
}

// bare runs the script in the environment and with the threads that a runner gets.
func (b *bench) bare(ctx context.Context) (result, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, b.env.Python, "-c", bareScript, b.spec, b.loss)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+b.env.SrcDir, "PYTHONDONTWRITEBYTECODE=1", "PYTHONNOUSERSITE=1",
		fmt.Sprintf("OMP_NUM_THREADS=%d", runtime.NumCPU()))
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ended by ctx alone
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return result{}, fmt.Errorf("bare.py: %w\n%s", err, stderr.String())
	}
	took := time.Since(began).Seconds()
	var said struct {
		Seconds struct {
			Import   float64 `json:"import"`
			Data     float64 `json:"data"`
			Model    float64 `json:"model"`
			Steps    float64 `json:"steps"`
			Evaluate float64 `json:"evaluate"`
			Save     float64 `json:"save"`
		} `json:"seconds"`
		Losses []float64 `json:"losses"`
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &said); err != nil {
		return result{}, fmt.Errorf("bare.py printed %q: %w", stdout.String(), err)
	}
	s := said.Seconds
	return result{losses: said.Losses, seconds: map[string]float64{
		imports: s.Import, loading: s.Data + s.Model, stepping: s.Steps, finishing: s.Evaluate + s.Save,
		launching: took - s.Import - s.Data - s.Model - s.Steps - s.Evaluate - s.Save, // the interpreter's start and end
		stage:     took, whole: took,
	}}, nil
}

func (b *bench) report(ours, theirs samples) {
	fmt.Printf("tax: %s, %d steps (%s loss, equal on both sides at every step), median of %d; %s\n", b.model, b.steps, b.loss, b.rounds, b.machine)
	fmt.Printf("%-26s %10s %10s %12s\n", "seconds", "VibeFlow", "bare", "difference")
	for _, name := range append(slices.Clone(parts), stage, whole) {
		mine, bare := ours.median(name), theirs.median(name)
		fmt.Printf("%-26s %10.2f %10.2f %+12.2f\n", name, mine, bare, mine-bare)
	}
	ratio := ours.median(stage) / theirs.median(stage)
	fmt.Printf("ratio of the training stage: %.3f   limit %.2f: %s\n", ratio, limit, benchmark.Verdict(ratio, limit))
	strict := (ours.median(stage) - ours.median(imports)) / (theirs.median(stage) - theirs.median(imports) - theirs.median(launching))
	fmt.Printf("the same, the script's start and imports left out: %.3f   limit %.2f: %s\n", strict, limit, benchmark.Verdict(strict, limit))
	fmt.Printf("of the steps alone: %.3f\n", ours.median(stepping)/theirs.median(stepping))
	fmt.Printf("request to completed: %.3f\n", ours.median(whole)/theirs.median(stage))
}
