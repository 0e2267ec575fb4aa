package api

import (
	"context"
	"encoding/json"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// publicLog is the event log as users may see it: where an engine listens, its token, and a token of the Hub stay in the
// server.
type publicLog struct{ *store.Store }

// EventsAfter implements stream.Log.
func (l publicLog) EventsAfter(ctx context.Context, stream string, after int64, limit int) ([]contract.Event, error) {
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
