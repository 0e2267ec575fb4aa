package api

import (
	"context"
	"encoding/json"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// publicLog is the event log as users may see it: where an engine listens, and its token, stay in the server.
type publicLog struct{ *store.Store }

// EventsAfter implements stream.Log.
func (l publicLog) EventsAfter(ctx context.Context, stream string, after int64, limit int) ([]contract.Event, error) {
	events, err := l.Store.EventsAfter(ctx, stream, after, limit)
	for i := range events {
		if events[i].Type == contract.EventType(contract.KindDeployment, contract.EventServing) {
			events[i].Payload = withoutSecrets(events[i].Payload)
		}
	}
	return events, err
}

func withoutSecrets(payload json.RawMessage) json.RawMessage {
	var serving contract.Serving
	if err := json.Unmarshal(payload, &serving); err != nil {
		return json.RawMessage(`{}`)
	}
	serving.URL, serving.Token = "", ""
	data, err := json.Marshal(serving)
	if err != nil {
		return json.RawMessage(`{}`)
	}
	return data
}
