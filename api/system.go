package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/backup"
	"github.com/vibeflow/vibeflow/internal/hardware"
	"github.com/vibeflow/vibeflow/internal/store"
)

// workerSilence is how long a worker, which reports every 30 s, may be silent before it counts as gone.
const workerSilence = 90 * time.Second

// maxPage is the most that the store gives at once.
const maxPage = 200

// probes serves what load balancers and Prometheus ask for. /metrics wants the owner's token: it names models.
func (s *Server) probes() {
	s.metrics = prometheus.NewRegistry()
	s.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		requests, latency, newStateCollector(s.Store))
	handler := echo.WrapHandler(promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{}))
	s.echo.GET("/metrics", handler, s.requires(always(accessOwner)))
	s.echo.GET("/api/openapi.yaml", func(c *echo.Context) error { return c.Blob(http.StatusOK, "application/yaml", document) })
}

// knownMethods bounds the label: a client may send any word.
var knownMethods = map[string]bool{http.MethodGet: true, http.MethodHead: true, http.MethodPost: true, http.MethodPut: true,
	http.MethodDelete: true, http.MethodPatch: true, http.MethodOptions: true}

func methodLabel(method string) string {
	if knownMethods[method] {
		return method
	}
	return "other"
}

var (
	requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vibeflow_http_requests_total",
		Help: "Requests answered, by route, method and status."}, []string{"route", "method", "status"})
	latency = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "vibeflow_http_request_seconds",
		Help: "Time to answer, by route.", Buckets: prometheus.ExponentialBuckets(0.001, 3, 10)}, []string{"route"})
)

// measured counts requests and logs those that failed on our side.
func (s *Server) measured() echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			started := time.Now()
			err := next(c)
			if err != nil {
				s.echo.HTTPErrorHandler(c, err)
			}
			_, status := echo.ResolveResponseStatus(c.Response(), nil)
			requests.WithLabelValues(c.Path(), methodLabel(c.Request().Method), strconv.Itoa(status)).Inc()
			latency.WithLabelValues(c.Path()).Observe(time.Since(started).Seconds())
			return nil
		}
	}
}

// GetHealth answers as long as the process does.
func (s *Server) GetHealth(c *echo.Context) error {
	return c.JSON(http.StatusOK, apigen.Health{Status: "ok"})
}

// GetReady answers 200 once the database and Temporal answer.
func (s *Server) GetReady(c *echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), 2*time.Second)
	defer cancel()
	checks := map[string]string{"database": said(s.Store.Ping(ctx))}
	if s.TemporalReady != nil {
		checks["temporal"] = said(s.TemporalReady(ctx))
	}
	checks["storage"] = s.storage.said() // reading goes on without it
	health, status := apigen.Health{Status: "ready", Checks: checks}, http.StatusOK
	for name, check := range checks {
		if check != "ok" && name != "storage" {
			health.Status, status = "not ready", http.StatusServiceUnavailable
		}
	}
	return c.JSON(status, health)
}

func said(err error) string {
	if err != nil {
		return "unreachable"
	}
	return "ok"
}

// GetSystem tells of the machines.
func (s *Server) GetSystem(c *echo.Context) error {
	workers, err := s.Store.ListWorkers(c.Request().Context())
	if err != nil {
		return err
	}
	system := apigen.System{Version: s.Version, Workers: []apigen.Worker{}, DiskFreeBytes: int64(hardware.DiskOf(s.DataRoot).Free)}
	if auth.PrincipalOf(c.Request().Context()).Owner() {
		system.DataDir, system.TemporalUI = s.DataRoot, "/temporal"
		s.showBackup(&system)
	}
	if problem := s.storage.problem.Load(); problem != nil {
		system.Storage = problem.Message + ": " + problem.Remedy
	}
	for _, w := range workers {
		system.Workers = append(system.Workers, viewWorker(w))
	}
	return c.JSON(http.StatusOK, system)
}

// showBackup tells how backups go.
func (s *Server) showBackup(system *apigen.System) {
	state, err := backup.ReadState(s.DataRoot)
	switch {
	case err != nil:
		system.BackupFailed = "how backups go is unknown"
	case state.Failed != nil:
		system.BackupFailed = state.Failed.Error.Error()
	}
	if state.Last != nil {
		system.BackupAt = state.Last.At
	}
}

func viewWorker(w store.Worker) apigen.Worker {
	return apigen.Worker{ID: w.ID, Queue: w.Queue, Slots: w.Slots, Version: w.Version, Hardware: object(w.Hardware),
		LastSeen: w.LastSeenAt, Online: time.Since(w.LastSeenAt) < workerSilence}
}

// queueOr is the slot queue that work goes to: the one that the user named, or that of the worker seen last, a GPU's
// first.
func (s *Server) queueOr(ctx context.Context, named string) (string, error) {
	if named != "" {
		return named, nil
	}
	workers, err := s.Store.ListWorkers(ctx)
	if err != nil {
		return "", err
	}
	best := ""
	for _, w := range workers {
		if alive(w) && (best == "" || best == contract.QueueCPU) {
			best = w.Queue
		}
	}
	if best == "" {
		// No worker yet: the job waits for the machine that every installation has.
		return contract.QueueCPU, nil
	}
	return best, nil
}

func alive(w store.Worker) bool { return time.Since(w.LastSeenAt) < workerSilence }

// stateCollector counts resources by status when Prometheus asks.
type stateCollector struct {
	store *store.Store
	jobs  *prometheus.Desc
}

func newStateCollector(s *store.Store) *stateCollector {
	return &stateCollector{store: s, jobs: prometheus.NewDesc("vibeflow_training_jobs", "Unfinished training jobs, by status.", []string{"status"}, nil)}
}

func (c *stateCollector) Describe(out chan<- *prometheus.Desc) { out <- c.jobs }

func (c *stateCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, status := range []contract.Status{contract.StatusQueued, contract.StatusRunning, contract.StatusPausing, contract.StatusResuming, contract.StatusPaused} {
		n, err := c.count(ctx, status)
		if err != nil {
			out <- prometheus.NewInvalidMetric(c.jobs, err)
			return
		}
		out <- prometheus.MustNewConstMetric(c.jobs, prometheus.GaugeValue, float64(n), string(status))
	}
}

func (c *stateCollector) count(ctx context.Context, status contract.Status) (n int, err error) {
	filter := store.Filter{Status: []contract.Status{status}, Limit: maxPage}
	for {
		page, err := c.store.ListJobs(ctx, filter)
		if err != nil {
			return 0, err
		}
		n += len(page.Items)
		if filter.Cursor = page.Next; filter.Cursor == "" {
			return n, nil
		}
	}
}
