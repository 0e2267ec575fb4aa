//go:build unix

// Command ui measures the web app in a browser:
//
//	go run ./bench/ui [--bin bin/vibeflow] [--rounds 7] [--points 100000] [--seconds 10] [--within 10m]
//
// It starts a VibeFlow, trains the tiny model in it, so that pages have something to show, and has measure.mjs drive the
// system's Chromium through the app that is in the binary, with the Playwright of ui/ (needs Node.js and `npm ci` there).
//
// Paint is a first visit of the dashboard, nothing cached, at a CPU slowed to a quarter and a line of 1.6 Mbit/s with
// 150 ms: the median of the rounds is held against 2 s. Stream is the page of a training with so many steps in its
// curve, to which 50 a second are added: frames a second are held against 60, less the one that a run of seconds may
// begin or end within. The curve and its events are made up in the browser, the page that draws them is real. Script is
// what each page loads by itself, gzipped, and held against 200 KB.
//
// What is not done within its time fails, and is named: all of it by --within, each step of the browser's by a minute.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/bench/internal/benchmark"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/platform"
)

const (
	paintLimit  = 2.0 // seconds
	framesLimit = 59.0
	scriptLimit = 200.0 // KB, gzipped
	// endPatience is what the browser may need to end once it is told to.
	endPatience = 10 * time.Second
)

func main() { benchmark.Main("ui", run) }

type options struct {
	rounds, points, seconds int
}

// measured is what measure.mjs prints.
type measured struct {
	Paint []struct {
		LCP   float64 `json:"lcp"` // ms
		FCP   float64 `json:"fcp"`
		Shift float64 `json:"shift"`
		What  string  `json:"what"`
		// Filled is when all of the dashboard's data was there, in ms.
		Filled float64 `json:"filled"`
	} `json:"paint"`
	Stream struct {
		FPS       float64 `json:"fps"`
		P99       float64 `json:"p99"` // ms between frames
		Longest   float64 `json:"longest"`
		LongTasks int     `json:"longTasks"`
		Events    float64 `json:"events"` // a second
		Step      string  `json:"step"`
	} `json:"stream"`
	Script map[string]float64 `json:"script"` // bytes by page
}

func run(ctx context.Context) error {
	bin := flag.String("bin", "", "program to measure (default: $VIBEFLOW_BIN, else bin/vibeflow)")
	var o options
	flag.IntVar(&o.rounds, "rounds", 7, "first visits of the dashboard")
	flag.IntVar(&o.points, "points", 100_000, "steps in the curve")
	flag.IntVar(&o.seconds, "seconds", 10, "how long frames are counted")
	within := flag.Duration("within", 10*time.Minute, "how long all of it may take")
	flag.Parse()
	ctx, cancel := context.WithTimeoutCause(ctx, *within, fmt.Errorf("not done within %s", *within))
	defer cancel()
	return benchmark.On(*bin, func(p *platform.Platform) error {
		fmt.Printf("ui: %s\n", benchmark.Machine())
		if _, err := p.Start(ctx); err != nil {
			return err
		}
		m, err := measure(ctx, p, o)
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		report(m, o)
		return nil
	})
}

// measure fills a VibeFlow and has the browser look at it.
func measure(ctx context.Context, p *platform.Platform, o options) (m measured, err error) {
	ds, err := p.Upload(ctx, "sums.jsonl", []byte(sums()))
	if err != nil {
		return m, fmt.Errorf("the dataset was not made: %w", err)
	}
	job, err := benchmark.Train(ctx, p, apigen.StartTraining{DatasetID: ds.ID, ModelID: catalog.Tiny, Name: "Sums",
		Config: apigen.TrainingOverrides{"max_steps": 20, "batch_size": 4, "max_length": 64}}, nil)
	if err != nil {
		return m, fmt.Errorf("the training that pages show did not end: %w", err)
	}
	ended, err := apiclient.Get[apigen.Job](ctx, p.Client, "/api/training/"+job.ID, nil)
	if err != nil {
		return m, err
	}
	link, err := apiclient.Post[apigen.SignInLink](ctx, p.Client, "/api/auth/link", nil)
	if err != nil {
		return m, err
	}
	address, _, _ := strings.Cut(link.URL, "/signin")
	told, err := browser(ctx, "BENCH_URL="+address, "BENCH_LINK="+link.URL, "BENCH_DATASET="+ds.ID, "BENCH_JOB="+job.ID,
		"BENCH_MODEL="+ended.TunedModelID, "BENCH_ROUNDS="+strconv.Itoa(o.rounds), "BENCH_POINTS="+strconv.Itoa(o.points),
		"BENCH_SECONDS="+strconv.Itoa(o.seconds))
	if err != nil {
		return m, fmt.Errorf("the browser did not do its part, and says above in which step: %w", err)
	}
	return m, json.Unmarshal(told, &m)
}

// browser runs measure.mjs, which says on standard error what it is at, and returns what it prints.
func browser(ctx context.Context, told ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, "node", filepath.Join("bench", "ui", "measure.mjs"))
	c.Env = append(os.Environ(), told...)
	c.Stderr = os.Stderr
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) } // Playwright then ends its browser
	c.WaitDelay = endPatience
	return c.Output()
}

// sums is a few hundred short questions.
func sums() string {
	var text strings.Builder
	for i := range 400 {
		fmt.Fprintf(&text, `{"messages":[{"role":"user","content":"what is %d plus %d?"},{"role":"assistant","content":"It is %d."}]}`+"\n", i, i+1, 2*i+1)
	}
	return text.String()
}

func report(m measured, o options) {
	var lcp, fcp, shift, filled []float64
	for _, round := range m.Paint {
		lcp, fcp, shift, filled = append(lcp, round.LCP/1000), append(fcp, round.FCP/1000), append(shift, round.Shift), append(filled, round.Filled/1000)
	}
	median := benchmark.Median(lcp)
	fmt.Printf("dashboard, largest paint     %6.2f s     limit %.0f s: %s   (%q; median of %d, %.2f to %.2f; first paint %.2f; all data there %.2f; moved %.3f)\n",
		median, paintLimit, benchmark.Verdict(median, paintLimit), m.Paint[0].What, o.rounds, slices.Min(lcp), slices.Max(lcp),
		benchmark.Median(fcp), benchmark.Median(filled), benchmark.Median(shift))
	fmt.Printf("curve of %d steps, live  %6.1f fps   limit 60: %s   (99 of 100 frames within %.0f ms, longest %.0f; %d long tasks; %.0f events/s)\n",
		o.points, m.Stream.FPS, benchmark.Verdict(-m.Stream.FPS, -framesLimit), m.Stream.P99, m.Stream.Longest, m.Stream.LongTasks, m.Stream.Events)
	for _, page := range slices.Sorted(maps.Keys(m.Script)) {
		size := m.Script[page] / 1024
		fmt.Printf("script of %-18s %6.0f KB    limit %.0f KB: %s\n", page, size, scriptLimit, benchmark.Verdict(size, scriptLimit))
	}
}
