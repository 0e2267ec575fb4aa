package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
)

// changeTurns marks the runs that stay in line until it is their turn. Those that had queued before there was one go on in
// Temporal's own order.
const changeTurns = "waits-for-its-turn"

// changeEarlierTry marks the runs that take a turn for a stay in line which an earlier try had told of, at an earlier time: the
// server died after the log had it and before Temporal did. Those before wait for another one, for ever.
const changeEarlierTry = "turn-of-an-earlier-try"

// turns listens for word that a run's place in line has come.
type turns struct {
	channel workflow.ReceiveChannel
	newest  time.Time // queued_at of the stay in line that the newest turn answers
	since   time.Time // when the newest stay began
}

func newTurns(root workflow.Context) *turns {
	return &turns{channel: workflow.GetSignalChannel(root, contract.SignalTurn)}
}

// queue joins the line, holding nothing, and returns once it is the run's turn; come is false when leave said to go first.
func (t *turns) queue(ctx workflow.Context, log *recorder, queued contract.Queued, leave func() bool) (come bool, err error) {
	since := workflow.Now(ctx).UTC().Truncate(time.Microsecond) // the resolution of the log
	earlier := t.newestStay()
	t.since = since
	if err := log.record(ctx, contract.EventQueued, queued); err != nil {
		return false, err
	}
	if workflow.GetVersion(ctx, changeTurns, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return true, nil
	}
	tries := workflow.GetVersion(ctx, changeEarlierTry, workflow.DefaultVersion, 1) != workflow.DefaultVersion
	mine := func() bool {
		t.take()
		return t.newest.Equal(since) || (tries && t.newest.After(earlier))
	}
	if err := workflow.Await(ctx, func() bool { return mine() || leave() }); err != nil {
		return false, err
	}
	return mine() && !leave(), nil
}

// newestStay is when the newest stay in line began, by the workflow or by the log.
func (t *turns) newestStay() time.Time {
	if t.newest.After(t.since) {
		return t.newest
	}
	return t.since
}

// take receives what has arrived. A turn may be told more than once, and one of an earlier stay in line may come late.
func (t *turns) take() {
	var turn contract.Turn
	for t.channel.ReceiveAsync(&turn) {
		if turn.QueuedAt.After(t.newest) {
			t.newest = turn.QueuedAt
		}
	}
}
