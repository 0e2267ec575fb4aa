//go:build unix

// Command api measures requests a second and the 99th percentile of the time to answer, of the ten commonest calls, with
// many connections and a database of many jobs; and beside them three of these calls on a FastAPI + SQLAlchemy service
// that reads the same database file. While ours is measured, a project is changed ten times a second (--writes), which is as
// if some trainings told of their steps: what is remembered of answers is then made anew.
//
//	go run ./bench/api [--jobs 100000] [--connections 64,256] [--seconds 5] [--bin bin/vibeflow] [--no-rival]
//
// The server is `vibeflow server` on its own. Both services run on the same machine as the clients, one after the other;
// each connection sends its next request when the last was answered. A second of warm-up is not counted. The rival (rival.py)
// is uvicorn with uvloop and httptools, one process a core, as its documentation advises; its packages are installed from
// rival.lock, once, into the user's cache folder, with the Python of $VIBEFLOW_PYTHON ("python3" if that is not set). Both
// check a bearer token and give the same fields of the same rows. The ratio is of requests a second, wanted at least 10.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/bench/internal/benchmark"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/store"
)

const wantedRatio = 10

// call is a request, and the path by which the rival has it too.
type call struct {
	name, path, rival string
	withKey           bool
}

var calls = []call{
	{name: "health", path: "/healthz"},
	{name: "who am I", path: "/api/me"},
	{name: "jobs, 50 newest", path: "/api/training?limit=50", rival: "/api/training?limit=50"},
	{name: "jobs that run", path: "/api/training?status=running&limit=50"},
	{name: "jobs by name", path: "/api/training?sort=name&limit=50"},
	{name: "one job", path: "/api/training/" + watchedJob, rival: "/api/training/" + watchedJob},
	{name: "its curve, 300 points", path: "/api/training/" + watchedJob + "/metrics?max_points=300", rival: "/api/training/" + watchedJob + "/metrics?max_points=300"},
	{name: "datasets, 50 newest", path: "/api/datasets?limit=50"},
	{name: "models", path: "/api/models?limit=50"},
	{name: "/v1/models by key", path: "/v1/models", withKey: true},
	{name: "the same, not metered", path: "/v1/models"}, // beside the tenth: what metering costs
}

func main() { benchmark.Main("api", run) }

func run(ctx context.Context) error {
	bin := flag.String("bin", "", "program to measure (default: $VIBEFLOW_BIN, else bin/vibeflow)")
	jobs := flag.Int("jobs", 100_000, "training jobs in the database")
	levels := flag.String("connections", "64,256", "connections at the same time, several with commas")
	writes := flag.Int("writes", 10, "changes of the database a second while ours is measured; answers are kept until one (docs/adr/0017)")
	seconds := flag.Float64("seconds", 5, "how long each call is measured")
	noRival := flag.Bool("no-rival", false, "leave the FastAPI service out")
	flag.Parse()
	connections, err := numbers(*levels)
	if err != nil {
		return err
	}
	long := time.Duration(*seconds * float64(time.Second))
	var key string
	var ours map[string][]load
	fmt.Printf("api: %s, %d jobs\n", benchmark.Machine(), *jobs)
	return benchmark.OnServer(ctx, *bin, func(dir *datadir.Dir) (err error) {
		began := time.Now()
		key, err = fill(ctx, dir, *jobs)
		fmt.Printf("database filled in %.1f s\n", time.Since(began).Seconds())
		return err
	}, func(s *benchmark.Server) error {
		token, err := s.Dir.Token(datadir.SecretCLIToken)
		if err != nil {
			return err
		}
		stopWriting := write(ctx, s.Address, token, *writes)
		ours, err = measureAll(ctx, s.Address, token, key, connections, long, func(c call) string { return c.path })
		stopWriting()
		if err != nil {
			return err
		}
		if mib, err := s.MemoryMiB(); err == nil {
			fmt.Printf("memory of the server afterwards   %.0f MiB\n", mib)
		}
		if *noRival {
			return nil
		}
		return beside(ctx, s.Dir, token, ours, connections, long)
	})
}

// write changes a project so many times a second until it is stopped.
func write(ctx context.Context, address, token string, perSecond int) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if perSecond <= 0 {
			return
		}
		client := &apiclient.Client{Base: "http://" + address, Token: token}
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second / time.Duration(perSecond)):
			}
			_, err := apiclient.Put[apigen.Project](ctx, client, "/api/projects/"+store.DefaultProject, "*", apigen.ProjectInput{Name: "default", Description: strconv.Itoa(n)})
			if err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "a change failed:", err)
			}
		}
	}()
	return func() { cancel(); <-done }
}

func numbers(text string) (out []int, err error) {
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is no number of connections", part)
		}
		out = append(out, n)
	}
	return out, nil
}

// measureAll measures each call that has a path, at each number of connections.
func measureAll(ctx context.Context, address, token, key string, connections []int, long time.Duration, path func(call) string) (map[string][]load, error) {
	all := map[string][]load{}
	for _, c := range calls {
		if path(c) == "" {
			continue
		}
		credential := token
		if c.withKey {
			credential = key
		}
		line := fmt.Sprintf("  %-24s", c.name)
		for _, n := range connections {
			l, err := measure(ctx, target{address: address, path: path(c), token: credential, connections: n, long: long})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			all[c.name] = append(all[c.name], l)
			line += fmt.Sprintf("   %4d: %8.0f/s  p50 %6.1f  p99 %6.1f ms", n, l.perSecond, l.p50, l.p99)
		}
		fmt.Println(line)
	}
	return all, nil
}

// beside measures the rival on the same file, and prints ratios.
func beside(ctx context.Context, dir *datadir.Dir, token string, ours map[string][]load, connections []int, long time.Duration) error {
	address, said, stop, err := startRival(ctx, dir.AppDB(), token)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Println("FastAPI + SQLAlchemy + SQLite:")
	theirs, err := measureAll(ctx, address, token, "", connections, long, func(c call) string { return c.rival })
	if err != nil {
		return fmt.Errorf("%w\n%s", err, said())
	}
	fmt.Println("requests a second, ours ÷ theirs:")
	for _, c := range calls {
		for i := range theirs[c.name] {
			ratio := ours[c.name][i].perSecond / theirs[c.name][i].perSecond
			verdict := "kept"
			if ratio < wantedRatio {
				verdict = "MISSED"
			}
			fmt.Printf("  %-24s   %4d connections   %5.1f ×   wanted %d ×: %s\n", c.name, connections[i], ratio, wantedRatio, verdict)
		}
	}
	return nil
}
