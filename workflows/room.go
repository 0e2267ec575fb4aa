package workflows

import (
	"cmp"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
)

// changeGoesOn marks the runs that go on by themselves once a full disk has room; earlier ones waited for the user.
const changeGoesOn = "goes-on-when-there-is-room"

// Between two tries that the disk fills up again, a job waits longer and longer, whatever the disk says: what it needs may
// be more than anybody can tell. A try that lasted is no such repetition.
const (
	roomPause   = time.Minute
	roomLongest = 30 * time.Minute
	roomLasted  = time.Hour
)

// room remembers the tries that a full disk has cost.
type room struct {
	tries int
	last  time.Time
}

// pause is how long to wait before the next try, besides for room. The first one costs no time.
func (r *room) pause(now time.Time) time.Duration {
	if r.tries > 0 && now.Sub(r.last) > roomLasted {
		r.tries = 0
	}
	r.tries++
	if r.tries == 1 {
		return 0
	}
	return min(roomPause<<min(r.tries-2, 10), roomLongest)
}

// restForRoom waits, holding no slot, until the disks of server and worker have room again, or until the user resumes,
// pauses or cancels the job. A pause of the user's makes a rest of its own of it, which only a resume ends.
func (t *training) restForRoom(ctx workflow.Context, problem *contract.Error) error {
	pause := t.room.pause(workflow.Now(ctx))
	told := *problem
	told.Remedy = cmp.Or(told.Remedy, "make room") + "; it goes on by itself once there is room"
	if err := t.paused(ctx, contract.Paused{Error: &told, GoesOn: true}); err != nil {
		return err
	}
	if err := t.awaitRoom(ctx, pause); err != nil {
		return err
	}
	t.room.last = workflow.Now(ctx)
	if t.messages.pause && !t.messages.wanted && !t.messages.resume {
		return t.rest(ctx, nil)
	}
	t.messages.woken()
	return nil
}

// awaitRoom returns once there is room on both sides and the pause is over, or when a message came. An activity that cannot
// tell (a worker of before, a disk that cannot be asked) leaves it to the user.
func (t *training) awaitRoom(ctx workflow.Context, pause time.Duration) error {
	waiting, cancel := workflow.WithCancel(ctx)
	defer cancel()
	input := contract.RunInput{RunID: t.in.JobID, Kind: contract.KindJob}
	control := workflow.WithActivityOptions(waiting, roomOptions("", "wait for room on the server's disk"))
	worker := workflow.WithActivityOptions(waiting, roomOptions(contract.ServeQueue(t.in.Queue), "wait for room on the worker's disk"))
	signs := []workflow.Future{
		workflow.NewTimer(waiting, pause),
		workflow.ExecuteActivity(control, contract.ActivityAwaitStore, input),
		workflow.ExecuteActivity(worker, contract.ActivityAwaitRoom, input),
	}
	return workflow.Await(ctx, func() bool { return t.messages.wakes() || succeeded(ctx, signs) })
}

func succeeded(ctx workflow.Context, all []workflow.Future) bool {
	for _, future := range all {
		if !future.IsReady() || future.Get(ctx, nil) != nil {
			return false
		}
	}
	return true
}
