package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/labstack/echo/v5"
	"golang.org/x/sync/singleflight"

	"github.com/vibeflow/vibeflow/internal/store"
)

// pureReads are the operations whose answer follows from the database, the request and what its caller reaches, and from
// nothing else: no clock, no engine, nobody's session.
var pureReads = map[string]bool{
	"listJobs": true, "getJob": true, "getJobMetrics": true, "listJobCheckpoints": true, "compareJobs": true,
	"listDatasets": true, "getDataset": true, "listModels": true, "getModel": true, "listEvaluations": true, "getEvaluation": true,
	"compareEvaluation": true, "listExports": true, "getExport": true, "listPipelines": true, "getPipeline": true,
	"listProjects": true, "getProject": true, "listMembers": true, "listActivity": true,
}

const (
	// mostRemembered bounds what all remembered answers hold, in bytes; mostOfOne what one may.
	mostRemembered = 32 << 20
	mostOfOne      = 1 << 20
)

// answers are those to pure reads, for as long as nothing is written to the database: dashboards ask for the same again and
// again. Several who ask for the same at once wait for one answer. This process alone writes the database (design §2), so
// that a version that has not moved means that nothing has.
type answers struct {
	making singleflight.Group

	mu      sync.Mutex
	version int64
	kept    map[string]*remembered
	bytes   int
}

// remembered is an answer: what its handler has added to the headers, and its body. The status was 200.
type remembered struct {
	header http.Header
	body   []byte
}

// remembers answers pure reads from memory.
func (s *Server) remembers(validate *validator) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			r := c.Request()
			reach, limited := store.AccessOf(r.Context())
			found := validate.find(c)
			if r.Method != http.MethodGet || !limited || found.err != nil || !pureReads[found.route.Operation.OperationID] || r.Header.Get("If-None-Match") != "" {
				return next(c)
			}
			version := s.Store.Version() // before the rows are read: what is written meanwhile makes the answer old
			key := fmt.Sprintf("%d\x00%+v\x00%s", version, reach, r.URL.RequestURI())
			if answer := s.answers.get(version, key); answer != nil {
				return answer.send(c)
			}
			made, err, _ := s.answers.making.Do(key, func() (any, error) { return record(c, next, s.Logger) })
			if err != nil {
				return err
			}
			answer := made.(*remembered)
			s.answers.keep(version, key, answer)
			return answer.send(c)
		}
	}
}

// record has a handler answer into memory. Others may wait for it: its client may leave.
func record(c *echo.Context, next echo.HandlerFunc, log *slog.Logger) (*remembered, error) {
	asked, response := c.Request().Context(), c.Response()
	defer func() { setContext(c, asked); c.SetResponse(response) }()
	setContext(c, context.WithoutCancel(asked))
	answer := &remembered{header: http.Header{}}
	c.SetResponse(echo.NewResponse(answer, log))
	return answer, next(c)
}

// Header implements http.ResponseWriter.
func (a *remembered) Header() http.Header { return a.header }

// Write implements http.ResponseWriter.
func (a *remembered) Write(p []byte) (int, error) {
	a.body = append(a.body, p...)
	return len(p), nil
}

// WriteHeader implements http.ResponseWriter: a handler that refuses returns an error instead.
func (a *remembered) WriteHeader(int) {}

func (a *remembered) send(c *echo.Context) error {
	for name, values := range a.header {
		c.Response().Header()[name] = values
	}
	c.Response().WriteHeader(http.StatusOK)
	_, _ = c.Response().Write(a.body) // else the client has left
	return nil
}

func (a *answers) get(version int64, key string) *remembered {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.version != version {
		return nil
	}
	return a.kept[key]
}

// keep forgets the answers of other versions, and all of them when they are too many.
func (a *answers) keep(version int64, key string, answer *remembered) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if version < a.version || len(answer.body) > mostOfOne {
		return
	}
	if version > a.version || a.bytes > mostRemembered || a.kept == nil {
		a.version, a.bytes, a.kept = version, 0, map[string]*remembered{}
	}
	if a.kept[key] == nil {
		a.kept[key], a.bytes = answer, a.bytes+len(answer.body)+len(key)
	}
}
