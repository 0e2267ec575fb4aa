package api

import (
	"context"
	"net/http"
	"sync"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/api/problem"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/store"
)

// audited writes down whoever asks for a change, and how it went. Reading is not written down, by whatever method.
func (s *Server) audited(validate *validator) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			err := next(c)
			if r := c.Request(); r.Method != http.MethodGet && r.Method != http.MethodHead {
				s.audit(c, validate, err)
			}
			return err
		}
	}
}

// resourceKey holds what an operation was about, where its path does not say.
const resourceKey = "audit.resource"

// subject is what a request is about, as its project's activity tells it.
type subject struct{ project, resource, name string }

// about notes what a request has changed: it becomes the project's activity.
func about(c *echo.Context, project, resource, name string) {
	c.Set(resourceKey, subject{project, resource, name})
}

// looked says that a request which could have changed something was to change nothing.
type looked struct{}

// onlyLooks notes that a request asks what would happen.
func onlyLooks(c *echo.Context) { c.Set(resourceKey, looked{}) }

// aboutEmail notes whose account a request is about; what is no address is not kept: it may be a password in the wrong field.
func aboutEmail(c *echo.Context, email string) {
	if normal, err := auth.NormalEmail(email); err == nil {
		c.Set(resourceKey, normal)
	}
}

func (s *Server) audit(c *echo.Context, validate *validator, failed error) {
	r := c.Request()
	found := validate.find(c)
	if found.err != nil {
		return // no operation: nothing can have happened
	}
	who := auth.PrincipalOf(r.Context())
	reach, _ := store.AccessOf(r.Context())
	need := accessOf(r.Method, found.route.Operation)
	switch {
	case need == accessRead:
		return // it only calculates
	case who.By == "" && need != accessPublic:
		return // a stranger who was turned away at the door: there is nobody to name, and no end to it
	}
	event := store.AuditEvent{ActorKind: who.ID(), ActorID: who.ID(), Actor: who.Name, Action: found.route.Operation.OperationID, Resource: found.params["id"] + found.params["name"],
		Project: reach.ProjectID, Address: c.RealIP(), RequestID: c.Response().Header().Get(echo.HeaderXRequestID)}
	switch about := c.Get(resourceKey).(type) {
	case looked:
		return
	case string:
		event.Resource = about
	case subject:
		event.Project, event.Resource, event.Subject = about.project, about.resource, about.name
	}
	if who.By != "" {
		event.ActorKind = string(who.By)
	}
	if failed != nil {
		refusal := problem.From(failed)
		if who.By == "" && refusal.Status == http.StatusTooManyRequests {
			return
		}
		event.Status, event.Code = refusal.Status, string(refusal.Code)
	} else {
		_, event.Status = echo.ResolveResponseStatus(c.Response(), nil)
	}
	// The client may have left: what was done is written down all the same.
	if err := s.Store.AddAudit(context.WithoutCancel(r.Context()), event); err != nil {
		s.Logger.Error("an audit event could not be written", "action", event.Action, "actor", event.ActorID, "status", event.Status, "error", err)
	}
}

// ListAudit lists the audit log.
func (s *Server) ListAudit(c *echo.Context, p apigen.ListAuditParams) error {
	filter := store.AuditFilter{ActorID: p.ActorID, Action: p.Action, Project: p.ProjectID, Since: p.Since, Until: p.Until, Limit: p.Limit, Cursor: p.Cursor}
	if p.Outcome != "" {
		refused := p.Outcome == "refused"
		filter.Refused = &refused
	}
	page, err := s.Store.ListAudit(c.Request().Context(), filter)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, apigen.AuditPage{Items: mapped(page.Items, viewAudit), NextCursor: page.Next})
}

// saying is what the document calls an operation in the audit log (x-audit): "start a training", "started a training".
type saying struct{ do, did string }

// sayings are those of all operations, by operationId.
var sayings = sync.OnceValues(func() (map[string]saying, error) {
	doc, err := described()
	if err != nil {
		return nil, err
	}
	all := map[string]saying{}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			if said, ok := op.Extensions["x-audit"].(map[string]any); ok {
				do, _ := said["do"].(string)
				did, _ := said["did"].(string)
				all[op.OperationID] = saying{do, did}
			}
		}
	}
	return all, nil
})

// auditText says what was done, or tried. An operation that is no more is told by its name.
func auditText(action string, status int) string {
	known, _ := sayings() // the server has not started without the document
	said, ok := known[action]
	switch {
	case !ok:
		return action
	case status >= http.StatusBadRequest:
		return "tried to " + said.do
	default:
		return said.did
	}
}

func viewAudit(e store.AuditEvent) apigen.AuditEvent {
	return apigen.AuditEvent{Text: auditText(e.Action, e.Status), ResourceName: e.Subject,
		ID: e.ID, At: e.At, Actor: apigen.AuditActor{Kind: apigen.AuditActorKind(e.ActorKind), ID: e.ActorID, Name: e.Actor},
		Action: e.Action, Resource: e.Resource, ProjectID: e.Project, Address: e.Address, Status: e.Status, Code: e.Code, RequestID: e.RequestID}
}
