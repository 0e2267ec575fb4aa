//go:build unix

// Command history counts the events in Temporal's history of a short and a long training run, which must be as many:
//
//	go run ./bench/history [--bin bin/vibeflow] [--short 50] [--long 5000]
//
// Both train the tiny model on the same rows through VibeFlow; the histories are read from the embedded Temporal with the
// data folder's token. Beside it stands how many events VibeFlow's own log has, where a step's metrics belong. It prints
// the ratio long ÷ short and the types of the history's events, and fails if a number differs. Checkpoints are made as
// the recommender sets them, so the long run has some: they must not show in the history either.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/bench/internal/benchmark"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/platform"
	"github.com/vibeflow/vibeflow/internal/temporalclient"
)

const rows = 64

func main() { benchmark.Main("history", run) }

// measured is what a run left in both logs.
type measured struct {
	steps, told, checkpoints int
	seconds                  float64
	types                    map[string]int // of Temporal's events
}

func (m measured) events() (total int) {
	for n := range maps.Values(m.types) {
		total += n
	}
	return total
}

func run(ctx context.Context) error {
	bin := flag.String("bin", "", "program to measure (default: $VIBEFLOW_BIN, else bin/vibeflow)")
	short := flag.Int("short", 50, "steps of the short run")
	long := flag.Int("long", 5000, "steps of the long run")
	flag.Parse()
	return benchmark.On(*bin, func(p *platform.Platform) error { return compare(ctx, p, *short, *long) })
}

func compare(ctx context.Context, p *platform.Platform, short, long int) error {
	if _, err := p.Start(ctx); err != nil {
		return err
	}
	ds, err := p.Upload(ctx, "rows.jsonl", []byte(content()))
	if err != nil {
		return err
	}
	few, err := measure(ctx, p, ds.ID, short)
	if err != nil {
		return err
	}
	many, err := measure(ctx, p, ds.ID, long)
	if err != nil {
		return err
	}
	return report(few, many)
}

// content is short questions, so that a step takes milliseconds.
func content() string {
	var text strings.Builder
	for i := range rows {
		fmt.Fprintf(&text, `{"messages":[{"role":"user","content":"%d+%d?"},{"role":"assistant","content":"%d"}]}`+"\n", i, i+1, 2*i+1)
	}
	return text.String()
}

func measure(ctx context.Context, p *platform.Platform, datasetID string, steps int) (measured, error) {
	began := time.Now()
	job, err := benchmark.Train(ctx, p, apigen.StartTraining{DatasetID: datasetID, ModelID: catalog.Tiny, Config: apigen.TrainingOverrides{
		"max_steps": steps, "batch_size": 1, "gradient_accumulation_steps": 1, "max_length": 64,
	}}, nil)
	if err != nil {
		return measured{}, err
	}
	m := measured{told: len(job.Events), seconds: time.Since(began).Seconds()}
	for _, e := range job.Events {
		switch e.Type {
		case contract.RunnerMetrics:
			m.steps++
		case contract.RunnerCheckpoint:
			m.checkpoints++
		}
	}
	if m.steps != steps {
		return m, fmt.Errorf("%d steps were asked for and %d told", steps, m.steps)
	}
	m.types, err = history(ctx, p, contract.WorkflowID(contract.KindJob, job.ID))
	return m, err
}

// history counts a workflow's events by type.
func history(ctx context.Context, p *platform.Platform, workflowID string) (map[string]int, error) {
	temporal, err := dial(ctx, p.Dir)
	if err != nil {
		return nil, err
	}
	defer temporal.Close()
	if err := temporal.GetWorkflow(ctx, workflowID, "").Get(ctx, nil); err != nil { // its last event follows the job's
		return nil, err
	}
	types := map[string]int{}
	events := temporal.GetWorkflowHistory(ctx, workflowID, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return nil, err
		}
		types[e.GetEventType().String()]++
	}
	return types, nil
}

func dial(ctx context.Context, dir *datadir.Dir) (client.Client, error) {
	at, err := dir.AwaitPublished(ctx, datadir.ProcessTemporal)
	if err != nil {
		return nil, err
	}
	token, err := dir.Token(datadir.SecretTemporalToken)
	if err != nil {
		return nil, err
	}
	return temporalclient.Dial(ctx, temporalclient.Options{Address: at.TemporalAddress, Token: token})
}

func report(few, many measured) error {
	fmt.Printf("history: %s\n", benchmark.Machine())
	fmt.Printf("%8s %18s %12s %14s %10s\n", "steps", "Temporal's events", "own events", "checkpoints", "seconds")
	for _, m := range []measured{few, many} {
		fmt.Printf("%8d %18d %12d %14d %10.1f\n", m.steps, m.events(), m.told, m.checkpoints, m.seconds)
	}
	ratio := float64(many.events()) / float64(few.events())
	fmt.Printf("ratio of Temporal's events: %.2f   wanted 1\n", ratio)
	types, err := json.Marshal(many.types)
	if err != nil {
		return err
	}
	fmt.Printf("of the long run: %s\n", types)
	if !maps.Equal(few.types, many.types) {
		for _, name := range slices.Sorted(maps.Keys(many.types)) {
			if few.types[name] != many.types[name] {
				fmt.Printf("  %s: %d and %d\n", name, few.types[name], many.types[name])
			}
		}
		return fmt.Errorf("the histories differ")
	}
	return nil
}
