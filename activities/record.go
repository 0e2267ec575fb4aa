package activities

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/vibeflow/vibeflow/contract"
)

// RecordEvents appends a workflow's decisions to the log. Errors: CodeNotFound for a resource that is gone.
func (c *Control) RecordEvents(ctx context.Context, in contract.RecordEventsInput) error {
	return failure(c.store.Record(ctx, in.Stream, in.Events...))
}

// tell appends one event of an activity and reports whether the log did not have it yet.
func (c *Control) tell(ctx context.Context, kind contract.Kind, id, suffix string, payload any, source string, seq int64) (bool, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return false, fmt.Errorf("encode %s.%s: %w", kind, suffix, err)
	}
	added, err := c.store.Append(ctx, contract.Stream(kind, id), contract.NewEvent{
		Type: contract.EventType(kind, suffix), Payload: body, Source: source, SourceSeq: seq,
	})
	return len(added) > 0, err
}
