package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// publicLog is the event log as users may see it: where an engine listens, its token, and a token of the Hub stay in the
// server.
type publicLog struct{ *store.Store }

// EventsAfter implements stream.Log. It fails for a watcher who may not see the stream any more.
func (l publicLog) EventsAfter(ctx context.Context, stream string, after int64, limit int) ([]contract.Event, error) {
	if w, ok := ctx.Value(watcherKey{}).(*watcher); ok {
		if err := w.mayStillWatch(ctx); err != nil {
			return nil, err
		}
	}
	events, err := l.Store.EventsAfter(ctx, stream, after, limit)
	for i, e := range events {
		switch e.Type {
		case contract.EventType(contract.KindDeployment, contract.EventServing):
			events[i].Payload = without(e.Payload, func(s *contract.Serving) { s.URL, s.Token = "", "" })
		case contract.EventType(contract.KindJob, contract.EventCreated):
			events[i].Payload = without(e.Payload, func(j *contract.JobCreated) { j.Model.Token = "" })
		}
	}
	return events, err
}

// watcher is who watches a stream, for longer than a request takes: what they may see is looked up again when an account, a
// session, a key or a membership has changed.
type watcher struct {
	server  *Server
	request *http.Request
	kind    contract.Kind
	id      string
	seen    int64 // the identities' version that was looked at
}

type watcherKey struct{}

// watchedBy is the request, for its stream to look at again.
func (s *Server) watchedBy(r *http.Request, kind contract.Kind, id string) *http.Request {
	w := &watcher{server: s, request: r.Clone(r.Context()), kind: kind, id: id, seen: -1}
	return r.WithContext(context.WithValue(r.Context(), watcherKey{}, w))
}

func (w *watcher) mayStillWatch(ctx context.Context) error {
	version := w.server.Store.IdentityVersion()
	if version == w.seen {
		return nil
	}
	who, err := w.server.principal(w.request.WithContext(ctx))
	if err != nil {
		return err
	}
	if err := w.server.Store.Reaches(store.WithAccess(ctx, reachOf(who, contract.ProjectViewer)), w.kind, w.id); err != nil {
		return err
	}
	w.seen = version
	return nil
}

// without returns a payload less its secrets; of one that cannot be read, nothing.
func without[P any](payload json.RawMessage, forget func(*P)) json.RawMessage {
	var p P
	if err := json.Unmarshal(payload, &p); err != nil {
		return json.RawMessage(`{}`)
	}
	forget(&p)
	data, err := json.Marshal(p)
	if err != nil {
		return json.RawMessage(`{}`)
	}
	return data
}
