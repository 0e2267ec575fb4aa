package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
)

// Priority keys of slot activities: a lower one is handed out first.
const (
	priorityResumed = 1
	priorityNew     = 3
)

// terminal are the codes that no repetition mends. All others (a lost worker, a gateway that is away, a runner that
// crashed) are tried again without a cap: the activity itself gives up with CodeNoProgress.
var terminal = []string{
	string(contract.CodeInvalid),
	string(contract.CodeUnauthenticated),
	string(contract.CodeForbidden),
	string(contract.CodeNotFound),
	string(contract.CodeConflict),
	string(contract.CodeTooLarge),
	string(contract.CodeUnsupported),
	string(contract.CodePrerequisite),
	string(contract.CodeBadData),
	string(contract.CodeAllMasked),
	string(contract.CodeModelUnavailable),
	string(contract.CodeInvalidConfig),
	string(contract.CodeOutOfMemory),
	string(contract.CodeNonFiniteLoss),
	string(contract.CodeDiskFull),
	string(contract.CodeNoProgress),
	string(contract.CodeFingerprint),
	string(contract.CodeParity),
	string(contract.CodeEnvironment),
}

// slotOptions are for what takes a slot of a queue, waits for it as long as it must, and runs for days. The heartbeat
// timeout outlasts a restart of Temporal; quick recovery is the sweep's at start, not the timeout's.
func slotOptions(queue, summary string, priority int) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue:           queue,
		StartToCloseTimeout: 30 * 24 * time.Hour,
		HeartbeatTimeout:    60 * time.Second,
		WaitForCancellation: true,
		RetryPolicy:         retryPolicy(60 * time.Second),
		Priority:            temporal.Priority{PriorityKey: priority},
		Summary:             summary,
	}
}

// serveOptions are for an engine that serves until it is told to stop.
func serveOptions(queue, summary string) workflow.ActivityOptions {
	options := slotOptions(queue, summary, priorityNew)
	options.StartToCloseTimeout = 365 * 24 * time.Hour
	options.HeartbeatTimeout = 30 * time.Second
	options.RetryPolicy = retryPolicy(30 * time.Second)
	return options
}

// controlOptions are for short work beside the database.
func controlOptions(summary string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		StartToCloseTimeout: 10 * time.Minute,
		WaitForCancellation: true,
		RetryPolicy:         retryPolicy(30 * time.Second),
		Summary:             summary,
	}
}

// longControlOptions are for work beside the database that reads whole datasets or waits for somebody, with heartbeats.
func longControlOptions(summary string) workflow.ActivityOptions {
	options := controlOptions(summary)
	options.StartToCloseTimeout = 30 * 24 * time.Hour
	options.HeartbeatTimeout = 60 * time.Second
	return options
}

// roomOptions are for waiting beside a disk, for as long as it takes and through restarts. Without a queue it is the server's.
func roomOptions(queue, summary string) workflow.ActivityOptions {
	options := longControlOptions(summary)
	options.TaskQueue = queue
	options.WaitForCancellation = false
	return options
}

// refusals are the codes with which the log refuses an event for good. A full disk or a locked database is waited for.
var refusals = []string{string(contract.CodeNotFound), string(contract.CodeInvalid), string(contract.CodeConflict)}

func recordOptions() workflow.LocalActivityOptions {
	return workflow.LocalActivityOptions{
		StartToCloseTimeout: 10 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:        100 * time.Millisecond,
			BackoffCoefficient:     2,
			MaximumInterval:        10 * time.Second,
			NonRetryableErrorTypes: refusals,
		},
	}
}

func retryPolicy(longest time.Duration) *temporal.RetryPolicy {
	return &temporal.RetryPolicy{
		InitialInterval:        time.Second,
		BackoffCoefficient:     2,
		MaximumInterval:        longest,
		NonRetryableErrorTypes: terminal,
	}
}
