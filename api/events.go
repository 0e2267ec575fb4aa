package api

import (
	"context"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/api/stream"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
)

// StreamJobEvents serves a job's events by SSE.
func (s *Server) StreamJobEvents(c *echo.Context, id string, p apigen.StreamJobEventsParams) error {
	return s.sse(c, contract.KindJob, id, p.After)
}

// StreamDatasetEvents serves a dataset's events by SSE.
func (s *Server) StreamDatasetEvents(c *echo.Context, id string, p apigen.StreamDatasetEventsParams) error {
	return s.sse(c, contract.KindDataset, id, p.After)
}

// StreamPipelineEvents serves a pipeline's events by SSE.
func (s *Server) StreamPipelineEvents(c *echo.Context, id string, p apigen.StreamPipelineEventsParams) error {
	return s.sse(c, contract.KindPipeline, id, p.After)
}

// StreamEvaluationEvents serves an evaluation's events by SSE.
func (s *Server) StreamEvaluationEvents(c *echo.Context, id string, p apigen.StreamEvaluationEventsParams) error {
	return s.sse(c, contract.KindEvaluation, id, p.After)
}

// StreamDeploymentEvents serves a deployment's events by SSE.
func (s *Server) StreamDeploymentEvents(c *echo.Context, id string, p apigen.StreamDeploymentEventsParams) error {
	return s.sse(c, contract.KindDeployment, id, p.After)
}

// StreamExportEvents serves an export's events by SSE.
func (s *Server) StreamExportEvents(c *echo.Context, id string, p apigen.StreamExportEventsParams) error {
	return s.sse(c, contract.KindExport, id, p.After)
}

// StreamJob serves a job's events over a WebSocket.
func (s *Server) StreamJob(c *echo.Context, id string, p apigen.StreamJobParams) error {
	after, err := s.startAfter(c, contract.KindJob, id, p.After)
	if err != nil {
		return err
	}
	if !websocket.IsWebSocketUpgrade(c.Request()) {
		return contract.Errorf(contract.CodeInvalid, "this is a WebSocket").Mend("connect with a WebSocket client, or GET /api/training/%s/events", id)
	}
	return s.sockets.Serve(c.Response(), s.watchedBy(c.Request(), contract.KindJob, id), stream.Watch{Name: contract.Stream(contract.KindJob, id), After: after,
		Final: final(contract.KindJob), Until: auth.PrincipalOf(c.Request().Context()).Until})
}

func (s *Server) sse(c *echo.Context, kind contract.Kind, id string, after int64) error {
	after, err := s.startAfter(c, kind, id, after)
	if err != nil {
		return err
	}
	// A stream ends with what it was asked for by; the watcher signs in again, and goes on where it was.
	ctx, cancel := stream.Until(c.Request().Context(), auth.PrincipalOf(c.Request().Context()).Until)
	defer cancel()
	defer context.AfterFunc(s.watching, cancel)()
	return stream.SSE(c.Response(), s.watchedBy(c.Request().WithContext(ctx), kind, id), publicLog{s.Store}, contract.Stream(kind, id), after, final(kind))
}

// startAfter is where a watcher goes on. One that claims to have seen more than there is would wait for ever.
func (s *Server) startAfter(c *echo.Context, kind contract.Kind, id string, after int64) (int64, error) {
	ctx := c.Request().Context()
	if err := s.Store.Reaches(ctx, kind, id); err != nil {
		return 0, err
	}
	last, err := s.Store.LastSeq(ctx, contract.Stream(kind, id))
	return min(after, last), err
}

// finalSuffixes are the events after which nothing happens without a new command; a failed pipeline can be retried,
// but whoever watches it wants to be told to look.
var finalSuffixes = []string{contract.EventCompleted, contract.EventFailed, contract.EventCancelled, contract.EventStopped}

func final(kind contract.Kind) stream.Final {
	ends := map[string]bool{}
	for _, suffix := range finalSuffixes {
		ends[contract.EventType(kind, suffix)] = true
	}
	return func(e contract.Event) bool { return ends[e.Type] }
}
