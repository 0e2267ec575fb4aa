package store

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/vibeflow/vibeflow/contract"
)

func TestAJobsStory(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindJob, "job_1", contract.JobCreated{ProjectID: "p", Queue: "cpu", Config: contract.Training{Method: "lora"}})
	const stream = "job/job_1"
	status := func(want contract.Status) *Job {
		t.Helper()
		job, err := s.GetJob(t.Context(), "job_1")
		require.NoError(t, err)
		require.Equal(t, want, job.Status)
		return job
	}
	require.Equal(t, "lora", status(contract.StatusQueued).Config.Method)
	add(t, s, stream, ev("job.queued", contract.Queued{Queue: "gpu.h200"}))
	require.Equal(t, "gpu.h200", status(contract.StatusQueued).Queue)
	add(t, s, stream, ev("job.started", contract.Claimed{Epoch: 1, Worker: "w"}),
		ev("runner.started", map[string]any{"device": "cpu", "precision": "bf16", "loss_path": "labelled", "total_steps": 40}),
		ev("runner.metrics", map[string]any{"step": 7, "epoch": 0.5, "loss": 2.5, "learning_rate": 1e-4, "eta_seconds": 30, "memory_bytes": 1000}),
		ev("runner.eval_metrics", map[string]any{"step": 7, "eval_loss": 2.0}),
		ev("runner.eval_metrics", map[string]any{"step": 8, "eval_loss": 2.2}))
	job := status(contract.StatusRunning)
	require.Equal(t, []any{7, 40, 0.5, "cpu", "bf16", "labelled"}, []any{job.Step, job.TotalSteps, job.DataEpoch, job.Device, job.Precision, job.LossPath})
	require.InDelta(t, 2.2, *job.EvalLoss, 0)
	require.InDelta(t, 2.0, *job.BestEvalLoss, 0)

	add(t, s, stream, ev("job.pause_requested", struct{}{}))
	status(contract.StatusPausing)
	add(t, s, stream, ev("job.started", contract.Claimed{Epoch: 2, Worker: "w2"}))
	require.Equal(t, "w2", status(contract.StatusPausing).Worker, "a launch does not undo a request to pause")
	full := contract.Errorf(contract.CodeDiskFull, "full")
	add(t, s, stream, ev("job.paused", contract.Paused{Step: 7, Checkpoint: "step-00000007", Error: full}))
	job = status(contract.StatusPaused)
	require.Equal(t, contract.CodeDiskFull, job.Error.Code)
	add(t, s, stream, ev("job.resume_requested", struct{}{}), ev("job.queued", contract.Queued{Priority: true}))
	job = status(contract.StatusQueued)
	require.Nil(t, job.Error)
	require.True(t, job.Priority)
	add(t, s, stream, ev("job.cancel_requested", contract.CancelRequest{Keep: true}))
	status(contract.StatusStopping)
	add(t, s, stream, ev("job.stopped", contract.JobCompleted{ModelID: "model_1", Step: 9}))
	job = status(contract.StatusStopped)
	require.Equal(t, []any{"model_1", 9}, []any{job.TunedModelID, job.Step})
	require.False(t, job.CompletedAt.IsZero())
	add(t, s, stream, ev("job.failed", full), ev("job.started", contract.Claimed{Epoch: 3}))
	require.Nil(t, status(contract.StatusStopped).Error, "what has ended stays as it ended")
}

func TestWhatIsLeftOfAJob(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindJob, "job_1", contract.JobCreated{})
	left := func(evs ...contract.NewEvent) []float64 {
		t.Helper()
		add(t, s, "job/job_1", evs...)
		job, err := s.GetJob(t.Context(), "job_1")
		require.NoError(t, err)
		var all []float64
		for _, v := range []*float64{job.ETASeconds, job.ETALowSeconds, job.ETAHighSeconds} {
			if v != nil {
				all = append(all, *v)
			}
		}
		return all
	}
	metrics := func(step int, seconds, low, high any) contract.NewEvent {
		return ev("runner.metrics", map[string]any{"step": step, "eta_seconds": seconds, "eta_low_seconds": low, "eta_high_seconds": high})
	}
	launch := ev("job.started", contract.Claimed{Epoch: 1})
	require.Empty(t, left(launch, metrics(1, nil, nil, nil)), "nobody knows yet")
	require.Equal(t, []float64{30, 25, 40}, left(metrics(5, 30, 25, 40)))
	require.Equal(t, []float64{8, 7, 9}, left(ev("runner.progress", contract.Progress{Phase: contract.PhaseHeldOutLoss, ETA: 8, ETALow: 7, ETAHigh: 9})))
	require.Equal(t, []float64{8, 7, 9}, left(ev("job.pause_requested", struct{}{}), ev("job.paused", contract.Paused{Step: 5})), "a paused job's stands still")
	require.Equal(t, []float64{8, 7, 9}, left(ev("job.resume_requested", struct{}{}), ev("job.queued", contract.Queued{})))
	require.Empty(t, left(ev("job.started", contract.Claimed{Epoch: 2, Step: 5})), "a new launch looks for itself")
	require.Equal(t, []float64{30}, left(ev("runner.metrics", map[string]any{"step": 6, "eta_seconds": 30})), "a runner of before told no range")
	require.Equal(t, []float64{20, 18, 22}, left(metrics(7, 20, 18, 22)))
	require.Equal(t, []float64{10}, left(ev("runner.metrics", map[string]any{"step": 8, "eta_seconds": 10})), "nor keeps another's")
	require.Empty(t, left(ev("job.completed", contract.JobCompleted{Step: 8})))
	require.Empty(t, left(metrics(9, 3, 2, 4)), "over is over")
}

func TestAJobsHeldOutLossShowsItsProgress(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindJob, "job_1", contract.JobCreated{})
	progress := func() *contract.Progress {
		t.Helper()
		job, err := s.GetJob(t.Context(), "job_1")
		require.NoError(t, err)
		return job.Progress
	}
	add(t, s, "job/job_1", ev("job.started", contract.Claimed{Epoch: 1}), ev("runner.metrics", map[string]any{"step": 40, "loss": 2}))
	require.Nil(t, progress())
	add(t, s, "job/job_1", ev("runner.progress", contract.Progress{Phase: contract.PhaseHeldOutLoss, Done: 40, Total: 100}))
	require.Equal(t, &contract.Progress{Phase: contract.PhaseHeldOutLoss, Done: 40, Total: 100}, progress())
	add(t, s, "job/job_1", ev("runner.eval_metrics", map[string]any{"step": 40, "eval_loss": 2}))
	require.Nil(t, progress(), "it has been measured")
}

// TestAJobThatIsResumedWhileItPauses: the status is what the last command asked for, until the workflow has done it.
func TestAJobThatIsResumedWhileItPauses(t *testing.T) {
	const pause, resume, cancel, keep, paused, full, waits, queued, started = "p", "r", "c", "k", "P", "F", "W", "Q", "S"
	events := map[string]contract.NewEvent{
		pause: ev("job.pause_requested", struct{}{}), resume: ev("job.resume_requested", struct{}{}),
		cancel: ev("job.cancel_requested", contract.CancelRequest{}), keep: ev("job.cancel_requested", contract.CancelRequest{Keep: true}),
		paused: ev("job.paused", contract.Paused{Step: 7}), queued: ev("job.queued", contract.Queued{Queue: "cpu", Priority: true}),
		full:    ev("job.paused", contract.Paused{Step: 7, Error: contract.Errorf(contract.CodeDiskFull, "full")}),
		waits:   ev("job.paused", contract.Paused{Step: 7, Error: contract.Errorf(contract.CodeDiskFull, "full"), GoesOn: true}),
		started: ev("job.started", contract.Claimed{Epoch: 1, Worker: "w"}),
	}
	for story, want := range map[string][]contract.Status{
		"S p r P Q S":   {"running", "pausing", "resuming", "resuming", "queued", "running"},
		"S p r p P":     {"running", "pausing", "resuming", "pausing", "paused"},
		"S p r p r P Q": {"running", "pausing", "resuming", "pausing", "resuming", "resuming", "queued"},
		"S p r S P Q":   {"running", "pausing", "resuming", "resuming", "resuming", "queued"},
		"S p r c P Q":   {"running", "pausing", "resuming", "cancelling", "cancelling", "cancelling"},
		"S p r F Q":     {"running", "pausing", "resuming", "resuming", "queued"},
		"S k F r Q":     {"running", "stopping", "paused", "queued", "queued"},
		"S c F":         {"running", "cancelling", "cancelling"},
		"S W Q S":       {"running", "paused", "queued", "running"},
		"S W p P r Q":   {"running", "paused", "pausing", "paused", "queued", "queued"},
		"S W p Q P":     {"running", "paused", "pausing", "pausing", "paused"},
		"S p W P":       {"running", "pausing", "paused", "paused"},
	} {
		t.Run(story, func(t *testing.T) {
			s := open(t)
			create(t, s, contract.KindJob, "job_1", contract.JobCreated{Queue: "cpu"})
			for i, event := range strings.Fields(story) {
				add(t, s, "job/job_1", events[event])
				job, err := s.GetJob(t.Context(), "job_1")
				require.NoError(t, err)
				require.Equal(t, want[i], job.Status, "after %s", strings.Join(strings.Fields(story)[:i+1], " "))
				if job.Status == contract.StatusQueued {
					require.Nil(t, job.Error, "what is over is not shown")
				}
				require.Equal(t, event == waits, job.GoesOn, "after %s", strings.Join(strings.Fields(story)[:i+1], " "))
				if event == paused && job.Status == contract.StatusPaused {
					require.Nil(t, job.Error, "a pause of the user's has no error")
				}
			}
		})
	}
}

func TestADatasetsStory(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindDataset, "ds_1", contract.DatasetCreated{Name: "d", ObjectID: "o", Size: 9})
	const stream = "dataset/ds_1"
	add(t, s, stream, ev("dataset.started", struct{}{}), ev("dataset.progress", contract.Progress{Phase: "read", Done: 1, Total: 2}),
		ev("dataset.profiled", map[string]any{"format": "alpaca", "rows": 12, "columns": []map[string]any{{"name": "x"}}, "train": "a field of its own"}))
	d, err := s.GetDataset(t.Context(), "ds_1")
	require.NoError(t, err)
	require.Equal(t, contract.StatusRunning, d.Status)
	require.Equal(t, "read", d.Progress.Phase)
	require.EqualValues(t, 12, d.Rows)
	require.Contains(t, string(d.Profile), "a field of its own")
	add(t, s, stream, ev("dataset.processed", contract.DatasetProcessed{Canonical: "chat", TrainRows: 10, EvalRows: 2, Train: &contract.ObjectRef{ObjectID: "t"}}),
		ev("dataset.completed", contract.DatasetOutput{Format: "alpaca", Rows: 12, TrainRows: 10, EvalRows: 2}))
	d, err = s.GetDataset(t.Context(), "ds_1")
	require.NoError(t, err)
	require.Equal(t, []any{contract.StatusReady, "alpaca", "chat", "t"}, []any{d.Status, d.Format, d.Canonical, d.Train.ObjectID})
	require.Nil(t, d.Progress)
	add(t, s, stream, ev("dataset.queued", struct{}{}))
	d, err = s.GetDataset(t.Context(), "ds_1")
	require.NoError(t, err)
	require.Equal(t, contract.StatusQueued, d.Status, "a ready dataset can be processed anew")
}

func TestADatasetKeepsTheOptionsOfItsSplits(t *testing.T) {
	s := open(t)
	options := func(evs ...contract.NewEvent) *contract.ProcessOptions {
		t.Helper()
		add(t, s, "dataset/ds_1", evs...)
		d, err := s.GetDataset(t.Context(), "ds_1")
		require.NoError(t, err)
		return d.Options
	}
	with := func(seed int64) *contract.ProcessOptions { return &contract.ProcessOptions{Seed: seed} }
	queued := func(seed int64) contract.NewEvent {
		return ev("dataset.queued", contract.DatasetQueued{Queued: contract.Queued{Queue: "control"}, Options: with(seed)})
	}
	failed := ev("dataset.failed", contract.Errorf(contract.CodeInvalid, "the mapping names a column that is not there"))
	processed := func(seed int64) contract.NewEvent {
		return ev("dataset.processed", contract.DatasetProcessed{Train: &contract.ObjectRef{ObjectID: "t"}, Options: with(seed)})
	}
	create(t, s, contract.KindDataset, "ds_1", contract.DatasetCreated{Options: with(1)})
	require.Equal(t, with(1), options(failed), "a file that was not understood is tried again with one thing changed")
	require.Equal(t, with(2), options(queued(2), failed))
	require.Equal(t, with(3), options(queued(3), processed(3), ev("dataset.completed", contract.DatasetOutput{})))
	require.Equal(t, with(3), options(queued(4), failed), "a try in vain leaves the splits, and with what they were made")
	require.Equal(t, with(5), options(queued(5), processed(5)))
}

func TestADatasetCountsWhatWasLeftOutOfItsSplits(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindDataset, "ds_1", contract.DatasetCreated{})
	dropped := func(evs ...contract.NewEvent) map[string]int64 {
		t.Helper()
		add(t, s, "dataset/ds_1", evs...)
		d, err := s.GetDataset(t.Context(), "ds_1")
		require.NoError(t, err)
		return d.Dropped
	}
	first := ev("dataset.processed", contract.DatasetProcessed{Dropped: map[string]int64{"duplicate": 3}})
	done := ev("dataset.completed", contract.DatasetOutput{Rows: 9})
	require.Equal(t, map[string]int64{"duplicate": 3}, dropped(first, done))
	require.Empty(t, dropped(ev("dataset.processed", contract.DatasetProcessed{}), done), "counted anew")
}

func TestAPipelineWhoseTrainingWasCancelledWaits(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindPipeline, "pipe_1", contract.PipelineCreated{})
	cancelled := contract.Errorf(contract.CodeConflict, "its training was cancelled")
	add(t, s, "pipeline/pipe_1", ev("pipeline.stage", contract.StageChanged{Stage: "train", Status: contract.StatusCancelled, Error: cancelled}),
		ev("pipeline.stopped", cancelled))
	p, err := s.GetPipeline(t.Context(), "pipe_1")
	require.NoError(t, err)
	require.Equal(t, contract.StatusStopped, p.Status)
	require.Equal(t, "its training was cancelled", p.Error.Message)
	require.Equal(t, []string{"cancel", "retry"}, Possible(contract.KindPipeline, p.Status))
	_, err = s.Delete(t.Context(), contract.KindPipeline, "pipe_1", 0, true)
	require.Equal(t, contract.CodeInUse, contract.CodeOf(err), "its workflow waits")

	add(t, s, "pipeline/pipe_1", ev("pipeline.retry_requested", contract.ControlRequest{}))
	p, err = s.GetPipeline(t.Context(), "pipe_1")
	require.NoError(t, err)
	require.Equal(t, contract.StatusRunning, p.Status)
	require.Nil(t, p.Error)
}

func TestAFailedPipelineThatIsCancelledIsCancelling(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindPipeline, "pipe_1", contract.PipelineCreated{})
	for _, step := range []struct {
		event contract.NewEvent
		want  contract.Status
	}{
		{ev("pipeline.stage", contract.StageChanged{Stage: "train", Status: "running"}), contract.StatusRunning},
		{ev("pipeline.failed", contract.Errorf(contract.CodeModelUnavailable, "no network")), contract.StatusFailed},
		{ev("pipeline.cancel_requested", contract.CancelRequest{}), contract.StatusCancelling},
		{ev("pipeline.cancelled", struct{}{}), contract.StatusCancelled},
	} {
		add(t, s, "pipeline/pipe_1", step.event)
		p, err := s.GetPipeline(t.Context(), "pipe_1")
		require.NoError(t, err)
		require.Equal(t, step.want, p.Status)
		require.Equal(t, step.want == contract.StatusFailed, p.Error != nil)
	}
}

func TestADeploymentsStory(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindDeployment, "dep_1", contract.DeploymentCreated{ModelID: "m"})
	status := func(want contract.Status, evs ...contract.NewEvent) {
		t.Helper()
		add(t, s, "deployment/dep_1", evs...)
		d, err := s.GetDeployment(t.Context(), "dep_1")
		require.NoError(t, err)
		require.Equal(t, want, d.Status)
		require.Equal(t, want == contract.StatusServing, d.Serving != nil)
	}
	serving := ev("deployment.serving", contract.Serving{URL: "http://127.0.0.1:1"})
	status(contract.StatusServing, serving)
	status(contract.StatusFailed, ev("deployment.failed", contract.Errorf(contract.CodeOutOfMemory, "no memory")))
	status(contract.StatusQueued, ev("deployment.queued", contract.Queued{}))
	status(contract.StatusServing, serving)
	status(contract.StatusStopped, ev("deployment.stop_requested", struct{}{}), ev("deployment.stopped", struct{}{}))
	status(contract.StatusStopped, serving)
}

func TestAPipelinesStory(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindPipeline, "pipe_1", contract.PipelineCreated{Name: "p"})
	stage := func(name string, status contract.Status, id string, seconds float64) contract.NewEvent {
		return ev("pipeline.stage", contract.StageChanged{Stage: name, Status: status, ID: id, Seconds: seconds})
	}
	get := func() *Pipeline {
		p, err := s.GetPipeline(t.Context(), "pipe_1")
		require.NoError(t, err)
		return p
	}
	add(t, s, "pipeline/pipe_1", stage("analyze", contract.StatusRunning, "", 0), stage("analyze", contract.StatusCompleted, "", 1.5),
		ev("pipeline.proposed", contract.Recommendation{ModelID: "m"}))
	require.Equal(t, contract.StatusAwaiting, get().Status)
	require.Equal(t, "m", get().Recommendation.ModelID)
	add(t, s, "pipeline/pipe_1", ev("pipeline.confirmed", contract.ConfirmRequest{}), stage("train", contract.StatusRunning, "", 0),
		stage("train", contract.StatusRunning, "job_1", 0),
		ev("pipeline.stage", contract.StageChanged{Stage: "train", Status: contract.StatusFailed, Error: contract.Errorf(contract.CodeBadData, "bad")}),
		ev("pipeline.failed", contract.Errorf(contract.CodeBadData, "bad")))
	p := get()
	require.Equal(t, contract.StatusFailed, p.Status)
	require.Equal(t, contract.CodeBadData, p.Stages[1].Error.Code)
	add(t, s, "pipeline/pipe_1", ev("pipeline.retry_requested", struct{}{}), stage("train", contract.StatusRunning, "job_2", 0))
	p = get()
	require.Equal(t, contract.StatusRunning, p.Status)
	require.Nil(t, p.Error)
	require.Len(t, p.Stages, 2)
	require.Equal(t, []any{"job_2", 2, 1.5}, []any{p.Stages[1].ID, p.Stages[1].Attempts, p.Stages[0].Seconds})
	require.Nil(t, p.Stages[1].Error)
	add(t, s, "pipeline/pipe_1", stage("train", contract.StatusCompleted, "job_2", 9), ev("pipeline.completed", contract.PipelineResult{}))
	require.Equal(t, contract.StatusCompleted, get().Status)
}

// snapshot is every projection as text, in an order that a rebuild does not change.
func snapshot(t require.TestingT, s *Store) []string {
	var all []string
	tables := []string{"metric_points"}
	for _, table := range projectionTables {
		tables = append(tables, table)
	}
	for _, table := range tables {
		rows, err := s.reader.Query("SELECT * FROM " + table)
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			require.NoError(t, rows.Scan(values...))
			text := table
			for i, v := range values {
				value := *v.(*any)
				if columns[i] == "sealed" {
					value = opened(t, s, table, columns, values)
				}
				text += fmt.Sprintf(" %s=%v", columns[i], value)
			}
			all = append(all, text)
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
	}
	return all
}

// opened is what a row has sealed.
func opened(t require.TestingT, s *Store, table string, columns []string, values []any) []byte {
	row := map[string]any{}
	for i, column := range columns {
		row[column] = *values[i].(*any)
	}
	if row["sealed"] == nil {
		return nil
	}
	body, err := s.reader.key.Open(row["sealed"].([]byte), table, row["id"].(string), fmt.Sprint(row["seq"]))
	require.NoError(t, err)
	return body
}

// drawEvent draws any event that a stream of a kind may hold, sensible there or not.
func drawEvent(t *rapid.T, kind contract.Kind) contract.NewEvent {
	if kind == contract.KindJob && rapid.Bool().Draw(t, "from the runner") {
		return drawLine(t)
	}
	num := rapid.IntRange(0, 9)
	suffix := rapid.SampledFrom([]string{"queued", "started", "rewound", "pause_requested", "paused", "resume_requested", "cancel_requested",
		"cancelled", "failed", "completed", "stopped", "stage", "profiled", "processed", "serving", "progress", "retry_requested", "confirmed",
		"proposed", "stop_requested", "checkpoint_committed", "measured", "edited", "unheard_of"}).Draw(t, "suffix")
	payload := map[string]any{"queue": rapid.SampledFrom([]string{"", "cpu", "gpu.h200"}).Draw(t, "queue"), "priority": rapid.Bool().Draw(t, "priority"),
		"epoch": num.Draw(t, "epoch"), "step": num.Draw(t, "step"), "to_step": num.Draw(t, "to"), "checkpoint": "c", "name": "c", "model_id": "m",
		"keep": rapid.Bool().Draw(t, "keep"), "code": "bad_data", "message": "m", "rows": num.Draw(t, "rows"), "url": "http://h", "phase": "p",
		"stage": rapid.SampledFrom([]string{"train", "deploy"}).Draw(t, "stage"), "bytes": num.Draw(t, "bytes"), "loss_base": rapid.Float64Range(0, 9).Draw(t, "loss"),
		"status": rapid.SampledFrom([]string{"running", "completed", "failed"}).Draw(t, "status"),
		"notes":  rapid.SampledFrom([]string{"", "n"}).Draw(t, "notes"), "tags": []string{"t"}}
	if suffix == "edited" {
		payload["priority"] = rapid.SampledFrom([]string{"low", "high"}).Draw(t, "urgency")
	}
	e := ev(contract.EventType(kind, suffix), payload)
	e.Source, e.SourceSeq = "any", int64(rapid.IntRange(1, 60).Draw(t, "source_seq")) // some are duplicates
	return e
}

func drawLine(t *rapid.T) contract.NewEvent {
	kind := rapid.SampledFrom([]string{contract.RunnerStarted, contract.RunnerMetrics, contract.RunnerMetrics, contract.RunnerEvalMetrics,
		contract.RunnerCheckpoint, contract.RunnerProgress, contract.RunnerLog}).Draw(t, "type")
	payload := map[string]any{"step": rapid.IntRange(1, 9).Draw(t, "step"), "loss": rapid.Float64().Draw(t, "loss"), "total_steps": 9,
		"memory_bytes": rapid.Int64().Draw(t, "memory"), "epoch": rapid.Float64Range(0, 3).Draw(t, "epoch"),
		"eta_seconds": rapid.SampledFrom([]any{nil, 30.0}).Draw(t, "eta"), "eta_low_seconds": rapid.SampledFrom([]any{nil, 20.0}).Draw(t, "low"),
		"phase": "p", "done": 1, "total": 2}
	if rapid.IntRange(0, 9).Draw(t, "odd") == 0 {
		payload["step"] = "nine"
	}
	return ev(kind, payload)
}

// The heart of the design: a row is nothing but its events, in whatever batches they came.
func TestRebuiltRowsEqualLiveOnes(t *testing.T) {
	s := open(t)
	rapid.Check(t, func(rt *rapid.T) {
		_, err := s.writer.Exec("DELETE FROM events")
		require.NoError(rt, err)
		require.NoError(rt, s.Rebuild(t.Context()))
		require.Empty(rt, snapshot(rt, s))
		kinds := []contract.Kind{contract.KindDataset, contract.KindJob, contract.KindEvaluation, contract.KindDeployment, contract.KindExport, contract.KindPipeline}
		for _, kind := range kinds {
			_, err := s.Create(t.Context(), Creation{Kind: kind, ID: string(kind) + "_1", Payload: map[string]any{"name": "n", "project_id": "p"}})
			require.NoError(rt, err)
		}
		for range rapid.IntRange(1, 12).Draw(rt, "batches") {
			kind := rapid.SampledFrom(kinds).Draw(rt, "kind")
			batch := make([]contract.NewEvent, rapid.IntRange(1, 8).Draw(rt, "size"))
			for i := range batch {
				batch[i] = drawEvent(rt, kind)
			}
			_, err := s.Append(t.Context(), contract.Stream(kind, string(kind)+"_1"), batch...)
			require.NoError(rt, err)
		}
		live := snapshot(rt, s)
		require.NoError(rt, s.Rebuild(t.Context()))
		require.ElementsMatch(rt, live, snapshot(rt, s))
	})
}

func TestRebuildOfALongStream(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindJob, "job_1", contract.JobCreated{})
	for batch := range 50 {
		evs := make([]contract.NewEvent, 50)
		for i := range evs {
			evs[i] = ev("runner.metrics", map[string]any{"step": batch*50 + i + 1, "loss": 1.0 / float64(i+1)})
		}
		add(t, s, "job/job_1", evs...)
	}
	live := snapshot(t, s)
	_, err := s.writer.Exec("UPDATE training_jobs SET step = 1, loss = NULL; DELETE FROM metric_points WHERE step > 7")
	require.NoError(t, err)
	require.NotEqual(t, live, snapshot(t, s))
	require.NoError(t, s.Rebuild(t.Context()))
	require.ElementsMatch(t, live, snapshot(t, s))
}

// BenchmarkAppendMetrics appends what a runner tells of 1,000 steps, in batches as a worker sends them.
func BenchmarkAppendMetrics(b *testing.B) {
	line := json.RawMessage(`{"n":1,"at":"2026-11-23T10:00:00Z","type":"metrics","step":1,"epoch":0.1,"loss":2.5,"learning_rate":0.0001,"grad_norm":1.1,"tokens":1834,"tokens_per_second":450.2,"seconds":4.07,"eta_seconds":30.5,"memory_bytes":1834299392,"samples":"9f86d081884c7d65"}`)
	for _, size := range []int{50, 1000} {
		b.Run(fmt.Sprintf("batches of %d", size), func(b *testing.B) {
			s, err := Open(b.Context(), Options{Path: filepath.Join(b.TempDir(), "app.db"), MasterKey: masterKey, Logger: quiet})
			require.NoError(b, err)
			defer func() { _ = s.Close() }()
			_, err = s.Create(b.Context(), Creation{Kind: contract.KindJob, ID: "job_1", Payload: contract.JobCreated{}})
			require.NoError(b, err)
			n := int64(0)
			for b.Loop() {
				for range 1000 / size {
					evs := make([]contract.NewEvent, size)
					for j := range evs {
						n++
						evs[j] = contract.NewEvent{Type: contract.RunnerMetrics, Payload: line, Source: "runner/1", SourceSeq: n}
					}
					if _, err := s.Append(b.Context(), "job/job_1", evs...); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func TestAFailedReprocessingKeepsTheDataset(t *testing.T) {
	var d Dataset
	ref := &contract.ObjectRef{ObjectID: "o", SHA256: "s", Size: 1}
	steps := []struct {
		suffix  string
		payload any
	}{
		{contract.EventCreated, contract.DatasetCreated{Name: "d"}},
		{contract.EventCompleted, contract.DatasetProcessed{Format: "alpaca", Train: ref, TrainRows: 9}},
		{contract.EventQueued, contract.Queued{}},
		{contract.EventFailed, contract.Error{Code: contract.CodeBadData, Message: "no such column"}},
	}
	for i, step := range steps {
		payload, err := json.Marshal(step.payload)
		require.NoError(t, err)
		require.NoError(t, foldDataset(&d, contract.Event{Stream: "dataset/d", Seq: int64(i + 1), Type: contract.EventType(contract.KindDataset, step.suffix), Payload: payload}))
	}
	require.Equal(t, contract.StatusReady, d.Status)
	require.Equal(t, "no such column", d.Error.Message, "and says what went wrong")
	require.Equal(t, int64(9), d.TrainRows)
}

func TestAFailedPipelineCanBeCancelled(t *testing.T) {
	p := Pipeline{}
	for i, suffix := range []string{contract.EventFailed, contract.EventCancelRequested, contract.EventCancelled} {
		require.NoError(t, foldPipeline(&p, contract.Event{Stream: "pipeline/p", Seq: int64(i + 1), Type: contract.EventType(contract.KindPipeline, suffix), Payload: json.RawMessage(`{}`)}))
	}
	require.Equal(t, contract.StatusCancelled, p.Status)
}
