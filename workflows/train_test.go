package workflows_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
)

const job = "job_1"

func (w *world) train() (contract.TrainResult, error) {
	var result contract.TrainResult
	w.env.ExecuteWorkflow(contract.WorkflowTrain, contract.TrainInput{JobID: job, Queue: contract.QueueCPU})
	require.True(w.t, w.env.IsWorkflowCompleted(), "the workflow waits for ever")
	if err := w.env.GetWorkflowError(); err != nil {
		return result, err
	}
	return result, w.env.GetWorkflowResult(&result)
}

func TestTrainFailures(t *testing.T) {
	t.Parallel()
	bad := contract.Errorf(contract.CodeBadData, "row 3 has no answer").Mend("mend the row").On("messages")

	t.Run("a typed error fails the job with its remedy", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan = func(int, string) launch { return fails(time.Second, bad) }
		_, err := w.train()
		require.Equal(t, contract.CodeBadData, code(t, err))
		require.Equal(t, []string{"queued", "failed"}, w.told(contract.KindJob, job))
		require.Equal(t, bad.Remedy, payload[contract.Error](w, contract.KindJob, job, "failed").Remedy)
	})
	t.Run("an untyped error does not show its text", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan = func(int, string) launch { return launch{lasts: time.Second, err: errors.New("/home/x: secret")} }
		_, err := w.train()
		require.Equal(t, contract.CodeInternal, code(t, err))
		require.NotContains(t, payload[contract.Error](w, contract.KindJob, job, "failed").Message, "secret")
	})
	t.Run("a run that ended as something else than completed is no success", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan = func(int, string) launch {
			return launch{lasts: time.Second, out: contract.RunOutput{Outcome: contract.OutcomeSuperseded}}
		}
		_, err := w.train()
		require.Equal(t, contract.CodeInternal, code(t, err))
	})
	t.Run("a model that cannot be registered fails the job", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.control.register = func(contract.RegisterModelInput) (contract.RegisterModelOutput, error) {
			return contract.RegisterModelOutput{}, appError(contract.Errorf(contract.CodeConflict, "no artifact"))
		}
		_, err := w.train()
		require.Equal(t, contract.CodeConflict, code(t, err))
		require.Equal(t, []string{"queued", "failed"}, w.told(contract.KindJob, job))
	})
	t.Run("a full disk pauses, and says so", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan = func(n int, _ string) launch {
			if n == 0 {
				return fails(time.Second, contract.Errorf(contract.CodeDiskFull, "no room"))
			}
			return finishes(time.Second)
		}
		w.signal(time.Hour, contract.SignalResume, contract.ControlRequest{Seq: 1})
		result, err := w.train()
		require.NoError(t, err)
		require.Equal(t, contract.StatusCompleted, result.Status)
		require.Equal(t, []string{"queued", "paused", "queued", "completed"}, w.told(contract.KindJob, job))
		require.Equal(t, contract.CodeDiskFull, payload[contract.Paused](w, contract.KindJob, job, "paused").Error.Code)
	})
	t.Run("a disk too full to register the model pauses a finished job, and loses nothing", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan = func(int, string) launch { return finishes(time.Second) }
		tries := 0
		w.control.register = func(contract.RegisterModelInput) (contract.RegisterModelOutput, error) {
			if tries++; tries == 1 {
				return contract.RegisterModelOutput{}, appError(contract.Errorf(contract.CodeDiskFull, "no room"))
			}
			return contract.RegisterModelOutput{ModelID: "model_1"}, nil
		}
		w.signal(time.Hour, contract.SignalResume, contract.ControlRequest{Seq: 1})
		result, err := w.train()
		require.NoError(t, err)
		require.Equal(t, "model_1", result.ModelID)
		require.Equal(t, []string{"queued", "paused", "queued", "completed"}, w.told(contract.KindJob, job))
		require.Equal(t, contract.CodeDiskFull, payload[contract.Paused](w, contract.KindJob, job, "paused").Error.Code)
	})
	t.Run("a log that is away is waited for", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		tries := 0
		w.control.refuse = func(contract.NewEvent) error {
			if tries++; tries < 4 {
				return errors.New("database is locked")
			}
			return nil
		}
		_, err := w.train()
		require.NoError(t, err)
		require.Equal(t, []string{"queued", "completed"}, w.told(contract.KindJob, job))
	})
	t.Run("a log that refuses for good ends the workflow", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.control.refuse = func(contract.NewEvent) error {
			return appError(contract.Errorf(contract.CodeNotFound, "the job was deleted"))
		}
		_, err := w.train()
		require.Equal(t, contract.CodeNotFound, code(t, err))
		require.Empty(t, w.launches)
	})
}

func TestTrainMessages(t *testing.T) {
	t.Parallel()
	type message struct {
		at      time.Duration
		name    string
		payload any
	}
	pause := func(at, seq int) message {
		return message{time.Duration(at) * time.Second, contract.SignalPause, contract.ControlRequest{Seq: int64(seq)}}
	}
	resume := func(at, seq int) message {
		return message{time.Duration(at) * time.Second, contract.SignalResume, contract.ControlRequest{Seq: int64(seq)}}
	}
	cancel := func(at int, keep bool) message {
		return message{time.Duration(at) * time.Second, contract.SignalCancel, contract.CancelRequest{Keep: keep}}
	}
	// A launch takes 60 s and needs 5 s to save.
	for name, c := range map[string]struct {
		messages  []message
		told      []string
		launches  int
		cancelled bool
	}{
		"undisturbed":                   {nil, []string{"queued", "completed"}, 1, false},
		"pause and resume":              {[]message{pause(10, 1), resume(100, 2)}, []string{"queued", "paused", "queued", "completed"}, 2, false},
		"pause told twice":              {[]message{pause(10, 1), pause(11, 1), resume(100, 2), resume(101, 2)}, []string{"queued", "paused", "queued", "completed"}, 2, false},
		"an old pause told again":       {[]message{pause(10, 1), resume(20, 2), pause(30, 1)}, []string{"queued", "paused", "queued", "completed"}, 2, false},
		"resume while pausing":          {[]message{pause(10, 1), resume(12, 2)}, []string{"queued", "paused", "queued", "completed"}, 2, false},
		"resume while pausing, twice":   {[]message{pause(10, 1), resume(12, 2), resume(13, 3)}, []string{"queued", "paused", "queued", "completed"}, 2, false},
		"resume, pause while pausing":   {[]message{pause(10, 1), resume(12, 2), pause(13, 3), resume(100, 4)}, []string{"queued", "paused", "queued", "completed"}, 2, false},
		"and resume, all while pausing": {[]message{pause(10, 1), resume(11, 2), pause(12, 3), resume(13, 4)}, []string{"queued", "paused", "queued", "completed"}, 2, false},
		"four at once":                  {[]message{pause(10, 1), resume(10, 2), pause(10, 3), resume(10, 4)}, []string{"queued", "paused", "queued", "completed"}, 2, false},
		"a pause of the second launch":  {[]message{pause(10, 1), resume(12, 2), pause(20, 3), resume(100, 4)}, []string{"queued", "paused", "queued", "paused", "queued", "completed"}, 3, false},
		"cancel amid pause and resume":  {[]message{pause(10, 1), resume(11, 2), cancel(12, false), pause(13, 3), resume(14, 4)}, []string{"queued", "cancelled"}, 1, true},
		"keep amid pause and resume":    {[]message{pause(10, 1), resume(11, 2), cancel(12, true)}, []string{"queued", "stopped"}, 1, false},
		"cancel when it has resumed":    {[]message{pause(10, 1), resume(12, 2), cancel(16, false)}, []string{"queued", "paused", "queued", "cancelled"}, 2, true},
		"pause and resume at once":      {[]message{pause(10, 1), resume(10, 2)}, []string{"queued", "paused", "queued", "completed"}, 2, false},
		"with the first task, pause":    {[]message{pause(0, 1), resume(50, 2)}, []string{"paused", "queued", "completed"}, 1, false},
		"with it, pause, resume":        {[]message{pause(0, 1), resume(0, 2)}, []string{"paused", "queued", "completed"}, 1, false},
		"with it, pause, resume, pause": {[]message{pause(0, 1), resume(0, 2), pause(0, 3), resume(50, 4)}, []string{"paused", "queued", "completed"}, 1, false},
		"with it, cancel and pause":     {[]message{pause(0, 1), cancel(0, false)}, []string{"cancelled"}, 0, true},
		"resume without a pause":        {[]message{resume(10, 1)}, []string{"queued", "completed"}, 1, false},
		"pause after the end":           {[]message{pause(61, 1)}, []string{"queued", "completed"}, 1, false},
		"cancel":                        {[]message{cancel(10, false)}, []string{"queued", "cancelled"}, 1, true},
		"cancel while pausing":          {[]message{pause(10, 1), cancel(12, false)}, []string{"queued", "cancelled"}, 1, true},
		"cancel while paused":           {[]message{pause(10, 1), cancel(100, false)}, []string{"queued", "paused", "cancelled"}, 1, true},
		"cancel a resumed wait":         {[]message{pause(10, 1), resume(100, 2), cancel(100, false)}, []string{"queued", "paused", "queued", "cancelled"}, 1, true},
		"the first cancel counts":       {[]message{cancel(10, false), cancel(11, true)}, []string{"queued", "cancelled"}, 1, true},
		"stop and keep":                 {[]message{cancel(10, true)}, []string{"queued", "stopped"}, 1, false},
		"stop and keep while paused":    {[]message{pause(10, 1), cancel(100, true)}, []string{"queued", "paused", "stopped"}, 1, false},
		"unnumbered pause and resume":   {[]message{pause(10, 0), pause(30, 0), resume(100, 0)}, []string{"queued", "paused", "paused", "queued", "completed"}, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, m := range c.messages {
				w.signal(m.at, m.name, m.payload)
			}
			_, err := w.train()
			if c.cancelled {
				require.True(t, temporal.IsCanceledError(err), "%v", err)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, c.told, w.told(contract.KindJob, job))
			require.Len(t, w.launches, c.launches)
			require.False(t, w.overlap)
		})
	}
}

func TestTrainMessagesBeforeTheFirstSlot(t *testing.T) {
	t.Parallel()
	t.Run("paused before it starts, it takes no slot until it is resumed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.startWith(contract.SignalPause, contract.ControlRequest{Seq: 1})
		w.signal(time.Hour, contract.SignalResume, contract.ControlRequest{Seq: 2})
		_, err := w.train()
		require.NoError(t, err)
		require.Equal(t, []string{"paused", "queued", "completed"}, w.told(contract.KindJob, job))
		require.Equal(t, 3, w.launches[0].Priority.PriorityKey, "it never held a slot, so it does not overtake")
	})
	t.Run("cancelled before it starts, it takes none", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.startWith(contract.SignalCancel, contract.CancelRequest{})
		_, err := w.train()
		require.True(t, temporal.IsCanceledError(err))
		require.Empty(t, w.launches)
		require.Equal(t, []string{"cancelled"}, w.told(contract.KindJob, job))
	})
	t.Run("a paused wait for a slot knows no checkpoint", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan = func(n int, _ string) launch {
			if n == 0 {
				return launch{}
			}
			return finishes(time.Minute)
		}
		w.signal(time.Second, contract.SignalPause, contract.ControlRequest{Seq: 1})
		w.signal(time.Minute, contract.SignalResume, contract.ControlRequest{Seq: 2})
		_, err := w.train()
		require.NoError(t, err)
		require.Zero(t, payload[contract.Paused](w, contract.KindJob, job, "paused"))
		require.Equal(t, 3, w.launches[1].Priority.PriorityKey)
	})
}

// startWith delivers a signal with the workflow's first task.
func (w *world) startWith(signal string, payload any) {
	w.env.RegisterDelayedCallback(func() { w.env.SignalWorkflow(signal, payload) }, 0)
}

func TestTrainResumedGoesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signal(10*time.Second, contract.SignalPause, contract.ControlRequest{Seq: 1})
	w.signal(time.Hour, contract.SignalResume, contract.ControlRequest{Seq: 2})
	_, err := w.train()
	require.NoError(t, err)
	require.Equal(t, 3, w.launches[0].Priority.PriorityKey)
	require.Equal(t, 1, w.launches[1].Priority.PriorityKey)
	require.Equal(t, contract.Paused{Step: 7, Checkpoint: "step-00000007"}, payload[contract.Paused](w, contract.KindJob, job, "paused"))
	require.True(t, payload[contract.Queued](w, contract.KindJob, job, "queued").Priority)
	for _, options := range w.launches {
		require.Equal(t, contract.QueueCPU, options.TaskQueue)
		require.True(t, options.WaitForCancellation)
		require.Zero(t, options.RetryPolicy.MaximumAttempts)
		require.Equal(t, time.Minute, options.HeartbeatTimeout)
	}
}

func TestTrainAWorkerThatDiesWhileItSaves(t *testing.T) {
	t.Parallel()
	for name, death := range map[string]error{
		"found by the sweep":   temporal.NewApplicationError("gone", "WorkerLost"),
		"found by the timeout": temporal.NewHeartbeatTimeoutError(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.plan = func(n int, _ string) launch {
				if n == 0 {
					return launch{dies: death}
				}
				return finishes(time.Minute)
			}
			w.signal(10*time.Second, contract.SignalPause, contract.ControlRequest{Seq: 1})
			w.signal(time.Hour, contract.SignalResume, contract.ControlRequest{Seq: 2})
			_, err := w.train()
			require.NoError(t, err)
			require.Equal(t, []string{"queued", "paused", "queued", "completed"}, w.told(contract.KindJob, job))
			require.Equal(t, 1, w.launches[1].Priority.PriorityKey)
		})
	}
	t.Run("a bad row found meanwhile is still a failure", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan = func(int, string) launch {
			return launch{dies: appError(contract.Errorf(contract.CodeBadData, "row 3"))}
		}
		w.signal(10*time.Second, contract.SignalPause, contract.ControlRequest{Seq: 1})
		_, err := w.train()
		require.Equal(t, contract.CodeBadData, code(t, err))
	})
}

func TestTrainAStrayResumeUndoesNoLaterPause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signal(5*time.Second, contract.SignalResume, contract.ControlRequest{Seq: 1})
	w.signal(10*time.Second, contract.SignalPause, contract.ControlRequest{Seq: 2})
	w.signal(time.Hour, contract.SignalResume, contract.ControlRequest{Seq: 3})
	_, err := w.train()
	require.NoError(t, err)
	require.GreaterOrEqual(t, w.begun[1], time.Hour)
}

func TestTrainAFullDiskWaitsForItsOwnResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plan = func(n int, _ string) launch {
		if n == 1 {
			return fails(time.Second, contract.Errorf(contract.CodeDiskFull, "no room"))
		}
		return finishes(time.Minute)
	}
	w.signal(10*time.Second, contract.SignalPause, contract.ControlRequest{Seq: 1})
	w.signal(time.Minute, contract.SignalResume, contract.ControlRequest{Seq: 2})
	w.signal(time.Hour, contract.SignalResume, contract.ControlRequest{Seq: 3})
	_, err := w.train()
	require.NoError(t, err)
	require.Equal(t, []string{"queued", "paused", "queued", "paused", "queued", "completed"}, w.told(contract.KindJob, job))
	require.GreaterOrEqual(t, w.begun[2], time.Hour)
}

// TestTrainEndsByItselfWhileItIsAskedToEnd: the runner was at its last step, or failed, when the message came.
func TestTrainEndsByItselfWhileItIsAskedToEnd(t *testing.T) {
	t.Parallel()
	wins := finishes(0)
	wins.wins = true
	broken := launch{dies: appError(contract.Errorf(contract.CodeBadData, "row 3"))}
	for name, c := range map[string]struct {
		launch  launch
		signal  string
		payload any
		told    string
	}{
		"finished, asked to pause":       {wins, contract.SignalPause, contract.ControlRequest{Seq: 1}, "completed"},
		"finished, asked to keep":        {wins, contract.SignalCancel, contract.CancelRequest{Keep: true}, "completed"},
		"finished, asked to cancel":      {wins, contract.SignalCancel, contract.CancelRequest{}, "cancelled"},
		"failed, asked to cancel":        {broken, contract.SignalCancel, contract.CancelRequest{}, "cancelled"},
		"failed, asked to stop and keep": {broken, contract.SignalCancel, contract.CancelRequest{Keep: true}, "stopped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.plan = func(int, string) launch { return c.launch }
			w.signal(time.Second, c.signal, c.payload)
			_, _ = w.train() // how it ended is what was told
			require.Equal(t, []string{"queued", c.told}, w.told(contract.KindJob, job))
		})
	}
}

func TestTrainStopAndKeep(t *testing.T) {
	t.Parallel()
	keep := contract.CancelRequest{Keep: true}

	t.Run("registers from the checkpoint that it heard of", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		var asked contract.RegisterModelInput
		w.control.register = func(in contract.RegisterModelInput) (contract.RegisterModelOutput, error) {
			asked = in
			return contract.RegisterModelOutput{ModelID: "model_kept", Step: 7}, nil
		}
		w.signal(time.Second, contract.SignalCancel, keep)
		result, err := w.train()
		require.NoError(t, err)
		require.Equal(t, contract.TrainResult{ModelID: "model_kept", Status: contract.StatusStopped, Step: 7}, result)
		require.Equal(t, contract.RegisterModelInput{JobID: job, Checkpoint: "step-00000007", Keep: true}, asked)
	})
	t.Run("where there is no room to keep the model the job pauses, and can be kept later", func(t *testing.T) {
		t.Parallel()
		for name, c := range map[string]struct {
			then    string
			payload any
			told    []string
		}{
			"keep again": {contract.SignalCancel, keep, []string{"queued", "paused", "paused", "stopped"}},
			"resume":     {contract.SignalResume, contract.ControlRequest{Seq: 2}, []string{"queued", "paused", "paused", "queued", "completed"}},
			"cancel":     {contract.SignalCancel, contract.CancelRequest{}, []string{"queued", "paused", "paused", "cancelled"}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				full := true
				w.control.register = func(contract.RegisterModelInput) (contract.RegisterModelOutput, error) {
					if full {
						full = false
						return contract.RegisterModelOutput{}, appError(contract.Errorf(contract.CodeDiskFull, "no room"))
					}
					return contract.RegisterModelOutput{ModelID: "model_kept", Step: 7}, nil
				}
				w.plan = func(n int, _ string) launch {
					if n == 0 {
						return fails(time.Second, contract.Errorf(contract.CodeDiskFull, "no room"))
					}
					return finishes(time.Minute)
				}
				w.signal(time.Minute, contract.SignalCancel, keep)
				w.signal(time.Hour, c.then, c.payload)
				_, _ = w.train() // how it ended is what was told
				require.Equal(t, c.told, w.told(contract.KindJob, job))
				require.Contains(t, payload[contract.Paused](w, contract.KindJob, job, "paused").Error.Remedy, "nothing is lost")
			})
		}
	})
	t.Run("a cancelled pipeline does not throw away what is to be kept", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		tries := 0
		w.control.register = func(contract.RegisterModelInput) (contract.RegisterModelOutput, error) {
			if tries++; tries == 1 {
				return contract.RegisterModelOutput{}, appError(contract.Errorf(contract.CodeDiskFull, "no room"))
			}
			return contract.RegisterModelOutput{ModelID: "model_kept", Step: 7}, nil
		}
		w.signal(time.Second, contract.SignalCancel, keep)
		w.env.RegisterDelayedCallback(w.env.CancelWorkflow, 2*time.Second) // while it saves
		w.signal(time.Hour, contract.SignalCancel, keep)
		_, err := w.train()
		require.NoError(t, err)
		require.Equal(t, []string{"queued", "paused", "stopped"}, w.told(contract.KindJob, job))
	})
	t.Run("without any checkpoint there is nothing to keep", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan = func(int, string) launch { return launch{} }
		w.control.register = func(contract.RegisterModelInput) (contract.RegisterModelOutput, error) {
			return contract.RegisterModelOutput{}, appError(contract.Errorf(contract.CodeNotFound, "no checkpoint"))
		}
		w.signal(time.Second, contract.SignalCancel, keep)
		_, err := w.train()
		require.True(t, temporal.IsCanceledError(err))
		require.Equal(t, []string{"queued", "cancelled"}, w.told(contract.KindJob, job))
	})
}

func TestTrainCancelRequestFromTemporal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.RegisterDelayedCallback(w.env.CancelWorkflow, 10*time.Second)
	_, err := w.train()
	require.True(t, temporal.IsCanceledError(err))
	require.Equal(t, []string{"queued", "cancelled"}, w.told(contract.KindJob, job))
}

func TestTrainGoesOnByItselfOnceTheDiskHasRoom(t *testing.T) {
	t.Parallel()
	full := func(fulls int) func(int, string) launch {
		return func(n int, _ string) launch {
			if n < fulls {
				return fails(time.Second, contract.Errorf(contract.CodeDiskFull, "no room"))
			}
			return finishes(time.Minute)
		}
	}
	at := func(after time.Duration) func(int) time.Duration { return func(int) time.Duration { return after } }

	t.Run("when there is room on both sides", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan, w.room = full(1), at(10*time.Minute)
		result, err := w.train()
		require.NoError(t, err)
		require.Equal(t, contract.StatusCompleted, result.Status)
		require.Equal(t, []string{"queued", "paused", "queued", "completed"}, w.told(contract.KindJob, job))
		require.Equal(t, map[string]int{contract.ActivityAwaitStore: 1, contract.ActivityAwaitRoom: 1}, w.looked)
		require.InDelta(t, 10*time.Minute, w.begun[1], float64(5*time.Second))
		require.Equal(t, 1, w.launches[1].Priority.PriorityKey, "first in line")
		paused := payload[contract.Paused](w, contract.KindJob, job, "paused")
		require.True(t, paused.GoesOn)
	})
	t.Run("a disk that fills up again and again is tried less and less often", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan, w.room = full(5), at(time.Second)
		_, err := w.train()
		require.NoError(t, err)
		var gaps []time.Duration
		for i := 1; i < len(w.begun); i++ {
			gaps = append(gaps, (w.begun[i] - w.begun[i-1]).Round(time.Minute))
		}
		require.Equal(t, []time.Duration{0, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute}, gaps)
	})
	t.Run("the user need not wait", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan = full(1)
		w.signal(time.Minute, contract.SignalResume, contract.ControlRequest{Seq: 1})
		_, err := w.train()
		require.NoError(t, err)
		require.InDelta(t, time.Minute, w.begun[1], float64(5*time.Second))
	})
	t.Run("a cancel ends the waiting", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.plan = full(1)
		w.signal(time.Minute, contract.SignalCancel, contract.CancelRequest{})
		_, err := w.train()
		require.True(t, temporal.IsCanceledError(err))
		require.Equal(t, []string{"queued", "paused", "cancelled"}, w.told(contract.KindJob, job))
	})
	t.Run("a pause of the user's is not undone", func(t *testing.T) {
		t.Parallel()
		for name, pauseAt := range map[string]time.Duration{"before the disk was full": 500 * time.Millisecond, "while it waits": time.Minute} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.room = at(10 * time.Minute)
				w.plan = func(n int, _ string) launch {
					if n == 0 {
						return launch{lasts: time.Second, dies: appError(contract.Errorf(contract.CodeDiskFull, "no room")), err: appError(contract.Errorf(contract.CodeDiskFull, "no room"))}
					}
					return finishes(time.Minute)
				}
				w.signal(pauseAt, contract.SignalPause, contract.ControlRequest{Seq: 1})
				w.signal(5*time.Hour, contract.SignalResume, contract.ControlRequest{Seq: 2})
				_, err := w.train()
				require.NoError(t, err)
				require.GreaterOrEqual(t, w.begun[1], 5*time.Hour)
			})
		}
	})
}

// TestTrainHandsOnALongHistory: Temporal ends a workflow of some ten thousands of events. A job of so many pauses goes on in a
// new run of it, which knows all that the one before did.
func TestTrainHandsOnALongHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plan = func(int, string) launch {
		return launch{saving: time.Second, ref: contract.CheckpointRef{Name: "step-00000030", Step: 30}}
	}
	w.env.SetContinueAsNewSuggested(true)
	w.signal(time.Minute, contract.SignalPause, contract.ControlRequest{Seq: 7})
	w.signal(time.Hour, contract.SignalResume, contract.ControlRequest{Seq: 8})
	_, err := w.train()
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, err, &next)
	require.Equal(t, contract.WorkflowTrain, next.WorkflowType.Name)
	require.Equal(t, []string{"queued", "paused"}, w.told(contract.KindJob, job))
	var in contract.TrainInput
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(next.Input, &in))
	require.Equal(t, 30, in.Before.Checkpoint.Step)

	again := newWorld(t)
	again.signal(time.Second, contract.SignalPause, contract.ControlRequest{Seq: 7}) // a repetition
	again.env.ExecuteWorkflow(contract.WorkflowTrain, in)
	require.NoError(t, again.env.GetWorkflowError())
	require.Equal(t, []string{"queued", "completed"}, again.told(contract.KindJob, job))
	require.Equal(t, 1, again.launches[0].Priority.PriorityKey, "it has held a slot before")
}
