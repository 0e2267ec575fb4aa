package store

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/line"
)

// queueUp makes a job of a project and lets it join the line of queue cpu.
func queueUp(t *testing.T, s *Store, project, id string, c contract.JobCreated) {
	t.Helper()
	c.ProjectID, c.Queue = project, "cpu"
	create(t, s, contract.KindJob, id, c)
	add(t, s, "job/"+id, ev("job.queued", contract.Queued{Queue: "cpu"}))
}

func twoProjects(t *testing.T, s *Store) (a, b string) {
	t.Helper()
	require.NoError(t, s.CreateProject(t.Context(), Project{ID: "prj_b", Name: "b"}))
	return DefaultProject, "prj_b"
}

// turns gives what is due and returns the runs that were told since the last call.
func turns(t *testing.T, s *Store) (told []string) {
	t.Helper()
	_, err := s.GiveTurns(t.Context())
	require.NoError(t, err)
	for {
		entries, err := s.PendingOutbox(t.Context(), 100)
		require.NoError(t, err)
		if len(entries) == 0 {
			return told
		}
		for _, e := range entries {
			if e.Signal != nil && e.Signal.Name == contract.SignalTurn {
				told = append(told, strings.TrimPrefix(e.WorkflowID, "train/"))
			}
			require.NoError(t, s.MarkDelivered(t.Context(), e.ID))
		}
	}
}

func TestTurnsGoAround(t *testing.T) {
	s := open(t)
	a, b := twoProjects(t, s)
	for _, id := range []string{"job_a1", "job_a2", "job_a3"} {
		queueUp(t, s, a, id, contract.JobCreated{})
	}
	require.Equal(t, []string{"job_a1"}, turns(t, s), "one, before any machine is there")
	require.Empty(t, turns(t, s), "it holds the only slot")
	queueUp(t, s, b, "job_b1", contract.JobCreated{})
	add(t, s, "job/job_a1", ev("job.started", contract.Claimed{Epoch: 1}), ev("job.completed", contract.JobCompleted{}))
	require.Equal(t, []string{"job_b1"}, turns(t, s))
	add(t, s, "job/job_b1", ev("job.failed", contract.Error{Code: contract.CodeBadData}))
	require.Equal(t, []string{"job_a2"}, turns(t, s))
	require.NoError(t, s.SaveWorkerReport(t.Context(), contract.WorkerReport{ID: "w", Queue: "cpu", Slots: 2}))
	require.Equal(t, []string{"job_a3"}, turns(t, s), "a machine with a second slot came")
}

func TestATurnIsOfOneStayInLine(t *testing.T) {
	s := open(t)
	queueUp(t, s, DefaultProject, "job_1", contract.JobCreated{})
	queueUp(t, s, DefaultProject, "job_2", contract.JobCreated{})
	require.Equal(t, []string{"job_1"}, turns(t, s))
	add(t, s, "job/job_1", ev("job.pause_requested", nil), ev("job.paused", contract.Paused{Step: 4}))
	require.Equal(t, []string{"job_2"}, turns(t, s), "a paused run holds nothing")
	add(t, s, "job/job_1", ev("job.resume_requested", nil))
	require.Empty(t, turns(t, s), "it waits for its workflow to queue it, and for a slot")
	add(t, s, "job/job_1", ev("job.queued", contract.Queued{Queue: "cpu", Priority: true}))
	require.Empty(t, turns(t, s))
	add(t, s, "job/job_2", ev("job.completed", contract.JobCompleted{}))
	require.Equal(t, []string{"job_1"}, turns(t, s))
	require.NoError(t, s.Rebuild(t.Context()))
	require.Empty(t, turns(t, s), "turns do not follow from the log alone")
}

func TestATurnNamesItsPlaceInLine(t *testing.T) {
	s := open(t)
	queueUp(t, s, DefaultProject, "job_1", contract.JobCreated{})
	_, err := s.GiveTurns(t.Context())
	require.NoError(t, err)
	entries, err := s.PendingOutbox(t.Context(), 1)
	require.NoError(t, err)
	job, err := s.GetJob(t.Context(), "job_1")
	require.NoError(t, err)
	var turn contract.Turn
	require.NoError(t, json.Unmarshal(entries[0].Signal.Input, &turn))
	require.True(t, turn.QueuedAt.Equal(job.QueuedAt))
}

// TestATurnIsToldAgain: a workflow may not have heard of its turn, or be gone and keep others waiting.
func TestATurnIsToldAgain(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	s := open(t)
	s.now = func() time.Time { return now }
	queueUp(t, s, DefaultProject, "job_1", contract.JobCreated{})
	require.Equal(t, []string{"job_1"}, turns(t, s))
	tellings := 0
	for range 24 * 60 {
		now = now.Add(time.Minute)
		tellings += len(turns(t, s))
	}
	require.Equal(t, 6+22, tellings, "after 1, 2, 4, … minutes, then every hour")
	add(t, s, "job/job_1", ev("job.started", contract.Claimed{Epoch: 1}))
	now = now.Add(2 * time.Hour)
	require.Empty(t, turns(t, s), "it runs, and nobody waits")
	queueUp(t, s, DefaultProject, "job_2", contract.JobCreated{})
	require.Equal(t, []string{"job_1"}, turns(t, s), "whether it still runs is asked for those who wait")
}

func TestPriorityOfAJobThatWaits(t *testing.T) {
	s := open(t)
	high := contract.PriorityHigh
	for _, id := range []string{"job_0", "job_1", "job_2"} {
		queueUp(t, s, DefaultProject, id, contract.JobCreated{})
	}
	require.Equal(t, []string{"job_0"}, turns(t, s))
	require.NoError(t, s.Edit(t.Context(), contract.KindJob, "job_2", 0, contract.Edited{Priority: &high}))
	add(t, s, "job/job_0", ev("job.completed", contract.JobCompleted{}))
	require.Equal(t, []string{"job_2"}, turns(t, s))
	err := s.Edit(t.Context(), contract.KindJob, "job_0", 0, contract.Edited{Priority: &high})
	require.Equal(t, contract.CodeConflict, contract.CodeOf(err))
	name := "still has a name"
	require.NoError(t, s.Edit(t.Context(), contract.KindJob, "job_0", 0, contract.Edited{Name: &name}))
}

func TestPlacesInLine(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	s := open(t)
	s.now = func() time.Time { return now }
	require.NoError(t, s.SaveWorkerReport(t.Context(), contract.WorkerReport{ID: "w", Queue: "cpu", Slots: 1}))
	predicted := contract.JobCreated{Seconds: [2]float64{60, 120}}
	queueUp(t, s, DefaultProject, "job_1", predicted)
	require.Equal(t, []string{"job_1"}, turns(t, s))
	add(t, s, "job/job_1", ev("job.started", contract.Claimed{Epoch: 1}), ev("runner.metrics", map[string]any{"step": 1, "eta_seconds": 30, "eta_low_seconds": 20, "eta_high_seconds": 40}))
	now = now.Add(time.Second)
	queueUp(t, s, DefaultProject, "job_2", predicted)
	create(t, s, contract.KindEvaluation, "eval_1", contract.EvaluationCreated{ProjectID: DefaultProject, Queue: "cpu"})
	now = now.Add(time.Second)
	add(t, s, "evaluation/eval_1", ev("evaluation.queued", contract.Queued{Queue: "cpu"}))
	now = now.Add(time.Second)
	queueUp(t, s, DefaultProject, "job_3", predicted)
	places := func() map[string]line.Place {
		lines, err := s.Lines(t.Context())
		require.NoError(t, err)
		return lines["cpu"].Places(now)
	}
	from := func(low, high int) line.Span {
		began := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
		return line.Span{Earliest: began.Add(time.Duration(low) * time.Second), Latest: began.Add(time.Duration(high) * time.Second)}
	}
	require.Equal(t, map[string]line.Place{"job_2": {Position: 1, Starts: from(20, 40)}, "eval_1": {Position: 2, Starts: from(80, 160)}, "job_3": {Position: 3}}, places(),
		"how long an evaluation takes is not known")
	create(t, s, contract.KindEvaluation, "eval_0", contract.EvaluationCreated{ProjectID: DefaultProject, Queue: "cpu"})
	add(t, s, "evaluation/eval_0", ev("evaluation.started", contract.Claimed{Epoch: 1}))
	done := ev("evaluation.completed", contract.EvaluationResult{})
	done.At = now.Add(10 * time.Second)
	add(t, s, "evaluation/eval_0", done)
	require.Equal(t, from(90, 170), places()["job_3"].Starts, "as long as the one before it")
	now = now.Add(3 * time.Minute)
	require.Equal(t, line.Place{Position: 1}, places()["job_2"], "the machine has been silent for too long")
}
