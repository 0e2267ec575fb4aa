package activities

import (
	"context"

	"github.com/vibeflow/vibeflow/contract"
)

// Orphaned answers a message whose workflow is gone (terminated by hand, or failed before a stop), so that its resource
// does not wait for ever: a cancel or a stop is granted, anything else fails it. A resource that has ended is left alone.
func (c *Control) Orphaned(ctx context.Context, s contract.Signal) error {
	kind, id, ok := contract.SplitWorkflowID(s.WorkflowID)
	if !ok {
		return nil
	}
	row, err := c.lifecycle(ctx, kind, id)
	if contract.CodeOf(err) == contract.CodeNotFound || (err == nil && row.Status.Final()) {
		return nil
	}
	if err != nil {
		return err
	}
	suffix, payload := contract.EventFailed, any(contract.Errorf(contract.CodeInternal, "the workflow that drives this %s is gone", kind).Mend("start a new one"))
	switch s.Name {
	case contract.SignalCancel:
		suffix, payload = contract.EventCancelled, struct{}{}
	case contract.SignalStop:
		suffix, payload = contract.EventStopped, struct{}{}
	}
	_, err = c.tell(ctx, kind, id, suffix, payload, "", 0)
	return err
}
