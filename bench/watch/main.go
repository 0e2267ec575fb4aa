//go:build unix

// Command watch measures how long an event of a runner takes to those who watch, by server-sent events and by WebSocket, and
// whether many watchers of one job get every event while the server's memory stays flat:
//
//	go run ./bench/watch [--rate 50] [--seconds 20] [--watchers 1000] [--many-rate 5] [--bin bin/vibeflow]
//
// The server is `vibeflow server` on its own. The runner's part is played by this program: it claims a job as a worker does
// and sends a metrics event at a time to the gateway. Each event carries the time at which it was sent, by the clock of this
// one machine; the latency is what has passed when a watcher has read it: gateway, commit to disk, wake-up, stream. The 99th
// percentile at 50 events a second is held against 50 ms, for one watcher of each kind. Then 1,000 watchers, half of each
// kind, follow the same job from its first event on; what each gets is counted and compared with what was sent, and the
// server's memory (VmRSS, so Linux alone) is read when all have caught up and again at the end: it may grow by a tenth.
package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/vibeflow/vibeflow/bench/internal/benchmark"
)

const (
	latencyLimit = 50.0 // ms
	growthLimit  = 1.1
)

func main() { benchmark.Main("watch", run) }

func run(ctx context.Context) error {
	bin := flag.String("bin", "", "program to measure (default: $VIBEFLOW_BIN, else bin/vibeflow)")
	rate := flag.Int("rate", 50, "events a second")
	seconds := flag.Int("seconds", 20, "how long each part takes")
	many := flag.Int("watchers", 1000, "watchers of one job")
	manyRate := flag.Int("many-rate", 5, "events a second for all of them")
	flag.Parse()
	fmt.Printf("watch: %s\n", benchmark.Machine())
	return benchmark.OnServer(ctx, *bin, fill, func(s *benchmark.Server) error {
		r, err := claim(ctx, s)
		if err != nil {
			return err
		}
		if err := few(ctx, s, r, *rate, *rate**seconds); err != nil {
			return err
		}
		return crowd(ctx, s, r, *many, *manyRate, *manyRate**seconds)
	})
}

// few measures the latency to one watcher of each kind.
func few(ctx context.Context, s *benchmark.Server, r *runner, rate, events int) error {
	watching, err := watch(ctx, s, 2, r.sent)
	if err != nil {
		return err
	}
	if err := watching.connected(ctx); err != nil {
		return err
	}
	if err := r.send(ctx, rate, events); err != nil {
		return err
	}
	seen, err := watching.until(ctx, r.sent)
	if err != nil {
		return err
	}
	for _, w := range seen {
		p99 := float64(w.latency.Quantile(.99)) / 1000
		fmt.Printf("%-9s at %d events/s   p50 %6.1f  p99 %6.1f ms   limit %.0f ms: %s\n", w.kind, rate, float64(w.latency.Quantile(.5))/1000, p99,
			latencyLimit, benchmark.Verdict(p99, latencyLimit))
	}
	return nil
}

// crowd counts what many watchers get.
func crowd(ctx context.Context, s *benchmark.Server, r *runner, watchers, rate, events int) error {
	before, err := s.MemoryMiB()
	if err != nil {
		return err
	}
	watching, err := watch(ctx, s, watchers, r.sent)
	if err != nil {
		return err
	}
	if err := watching.caughtUp(ctx, r.sent); err != nil {
		return err
	}
	joined, err := s.MemoryMiB()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := r.send(ctx, rate, events); err != nil {
		return err
	}
	seen, err := watching.until(ctx, r.sent)
	if err != nil {
		return err
	}
	took := time.Since(began)
	after, err := s.MemoryMiB()
	if err != nil {
		return err
	}
	var all latencies
	for _, w := range seen {
		all.add(w)
	}
	fmt.Printf("%d watchers at %d events/s   %d events each, none missing, none twice, in order; p50 %.0f  p99 %.0f ms; %.0f deliveries/s\n", watchers, rate, r.sent,
		all.p50(), all.p99(), float64(watchers*events)/took.Seconds())
	fmt.Printf("memory: %.0f MiB without them, %.0f with them, %.0f after %d more events   limit %.1f ×: %s\n", before, joined, after, events, growthLimit,
		benchmark.Verdict(after/joined, growthLimit))
	return nil
}
