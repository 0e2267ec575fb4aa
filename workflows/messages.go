package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
)

// ending listens for the wish that a run ends: its signal, or a cancel request from Temporal's UI or a parent. The first
// wish counts; repetitions change nothing.
type ending struct {
	root    workflow.Context // the workflow's own context, which Temporal cancels
	channel workflow.ReceiveChannel
	wanted  bool
	keep    bool
	heard   bool // the root's cancellation, which stays, has been taken
}

func newEnding(root workflow.Context, signal string) *ending {
	return &ending{root: root, channel: workflow.GetSignalChannel(root, signal)}
}

// detach returns the context that a workflow works on: cancellation reaches it as a message only.
func detach(root workflow.Context) workflow.Context {
	ctx, _ := workflow.NewDisconnectedContext(root)
	return ctx
}

// asked takes what has arrived and tells whether the run is to end.
func (e *ending) asked() bool {
	var request contract.CancelRequest
	for e.channel.ReceiveAsync(&request) {
		e.want(request.Keep)
		request = contract.CancelRequest{}
	}
	if e.root.Err() != nil && !e.heard {
		e.heard = true
		e.want(false)
	}
	return e.wanted
}

// forget drops a wish that cannot be granted now; it counts again when it is told again.
func (e *ending) forget() { e.wanted, e.keep = false, false }

func (e *ending) want(keep bool) {
	if !e.wanted {
		e.wanted, e.keep = true, keep
	}
}

// controls listens for pause, resume and cancel in any order and at any time.
//
// Signals of different names reach a workflow through channels of their own, so the order of a pause and a resume that
// arrive together is lost; the sequence number that they carry restores it. Every pause is acted on, even when its
// resume is already there: the log tells "paused" and then "queued", whatever the timing.
type controls struct {
	*ending
	pauses  workflow.ReceiveChannel
	resumes workflow.ReceiveChannel
	order   order
	pause   bool // a pause that has not been recorded yet
	resume  bool // the pause, recorded or not, is over
}

func newControls(root workflow.Context) *controls {
	return &controls{
		ending:  newEnding(root, contract.SignalCancel),
		pauses:  workflow.GetSignalChannel(root, contract.SignalPause),
		resumes: workflow.GetSignalChannel(root, contract.SignalResume),
	}
}

// take drains the channels: pauses first, for of a pair sent together without numbers the resume is the later.
func (c *controls) take() {
	c.asked()
	for request, ok := receive(c.pauses); ok; request, ok = receive(c.pauses) {
		if c.order.newer(request) {
			c.pause, c.resume = true, false
		}
	}
	for request, ok := receive(c.resumes); ok; request, ok = receive(c.resumes) {
		if c.order.newer(request) {
			c.resume = true
		}
	}
}

// interrupts tells whether a run in progress has to stop.
func (c *controls) interrupts() bool {
	c.take()
	return c.wanted || c.pause
}

// wakes tells whether something has happened to a paused run.
func (c *controls) wakes() bool {
	c.take()
	return c.wanted || c.pause || c.resume
}

// rested closes a pause that has been recorded; a resume that is already there still counts.
func (c *controls) rested() { c.pause = false }

// woken forgets the pause and its resume.
func (c *controls) woken() { c.pause, c.resume = false, false }

// order is the sequence number of the newest command taken.
type order int64

// newer tells a command from a repetition or an overtaken one. Commands without a number are always new.
func (o *order) newer(request contract.ControlRequest) bool {
	if request.Seq == 0 {
		return true
	}
	if request.Seq <= int64(*o) {
		return false
	}
	*o = order(request.Seq)
	return true
}

func receive(channel workflow.ReceiveChannel) (request contract.ControlRequest, ok bool) {
	ok = channel.ReceiveAsync(&request)
	return request, ok
}

// interruptible runs an activity until it ends by itself, or until leave says to cancel it and it has wound up.
func interruptible(ctx workflow.Context, leave func() bool, out any, start func(workflow.Context) workflow.Future) error {
	work, cancel := workflow.WithCancel(ctx)
	defer cancel()
	future := start(work)
	if err := workflow.Await(ctx, func() bool { return future.IsReady() || leave() }); err != nil {
		return err
	}
	if !future.IsReady() {
		cancel()
	}
	return future.Get(ctx, out)
}
