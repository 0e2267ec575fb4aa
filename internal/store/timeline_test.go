package store

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

func claim(t *testing.T, s *Store, id string, expect int64) Run {
	t.Helper()
	run, err := s.ClaimRun(t.Context(), RunClaim{RunID: id, Nonce: "nonce of " + id, ClaimRequest: contract.ClaimRequest{ExpectEpoch: expect, Worker: "w"}})
	require.NoError(t, err)
	return run
}

// TestADatabaseThatGoesOnFromABackupFencesItsOtherLives: launches that the backup knew, and those that came after it, write
// nothing into the database that was made of it.
func TestADatabaseThatGoesOnFromABackupFencesItsOtherLives(t *testing.T) {
	s := open(t)
	for _, id := range []string{"job_known", "job_new", "job_done"} {
		create(t, s, contract.KindJob, id, contract.JobCreated{})
	}
	known, done := claim(t, s, "job_known", 0), claim(t, s, "job_done", 0)
	result := contract.RunResult{RunID: "job_known", Epoch: known.Epoch, Outcome: contract.OutcomeCompleted}
	require.NoError(t, s.SaveResult(t.Context(), Fence{RunID: "job_known", Epoch: known.Epoch}, result))
	add(t, s, "job/job_done", ev("job.completed", map[string]any{"model_id": "m"}))

	require.NoError(t, s.BeginTimeline(t.Context()))
	for _, run := range []Run{known, done} {
		_, err := s.AppendRun(t.Context(), RunBatch{Fence: Fence{RunID: run.RunID, Epoch: run.Epoch, Nonce: run.Nonce}, First: 1})
		require.Equal(t, contract.CodeEpochSuperseded, contract.CodeOf(err), run.RunID)
	}
	_, err := s.AdoptRun(t.Context(), "job_known", contract.AdoptRequest{Epoch: known.Epoch, Worker: "old"})
	require.Equal(t, contract.CodeEpochSuperseded, contract.CodeOf(err))
	_, err = s.ClaimRun(t.Context(), RunClaim{RunID: "job_known", Nonce: "x", ClaimRequest: contract.ClaimRequest{ExpectEpoch: known.Epoch, Worker: "old"}})
	require.Equal(t, contract.CodeEpochSuperseded, contract.CodeOf(err))

	state, err := s.RunState(t.Context(), "job_known")
	require.NoError(t, err)
	require.NotNil(t, state.Result, "what was handed in is kept: nothing is trained again")
	again := claim(t, s, "job_known", state.Epoch)
	require.Greater(t, again.Epoch, known.Epoch+1_000, "above all that the other life may have handed out")
	require.EqualValues(t, 2, contract.Launches(again.Epoch), "people see how many launches there were")

	first := claim(t, s, "job_new", 0) // the other life's first launch had epoch 1
	require.Greater(t, first.Epoch, int64(1_000))
	require.EqualValues(t, 1, contract.Launches(first.Epoch))
	_, err = s.AdoptRun(t.Context(), "job_new", contract.AdoptRequest{Epoch: 1, Worker: "old"})
	require.Equal(t, contract.CodeEpochSuperseded, contract.CodeOf(err))

	require.NoError(t, s.BeginTimeline(t.Context()), "restored again, within the same second or with a clock set back")
	state, err = s.RunState(t.Context(), "job_new")
	require.NoError(t, err)
	require.Greater(t, state.Epoch, first.Epoch)
	require.Less(t, state.Epoch, int64(1)<<53, "JavaScript counts that exactly")
}

func TestEpochsStayExactForLong(t *testing.T) {
	far := time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	require.Less(t, contract.NextEpoch(0, far), int64(1)<<53)
	require.EqualValues(t, 6, contract.NextEpoch(5, 0))
	require.EqualValues(t, 6, contract.Launches(contract.NextEpoch(5, 1_900_000_000)))
}

func TestWhatIsUnfinishedAndHowItWouldGoOn(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindJob, "job_paused", contract.JobCreated{Queue: "cpu"})
	add(t, s, "job/job_paused", ev("job.paused", contract.Paused{Step: 3}))
	create(t, s, contract.KindJob, "job_stopping", contract.JobCreated{Queue: "cpu", PipelineID: "pipe_1"})
	add(t, s, "job/job_stopping", ev("job.cancel_requested", contract.CancelRequest{Keep: true}))
	create(t, s, contract.KindJob, "job_over", contract.JobCreated{})
	add(t, s, "job/job_over", ev("job.cancelled", nil))
	create(t, s, contract.KindPipeline, "pipe_1", contract.PipelineCreated{})
	create(t, s, contract.KindDeployment, "dep_1", contract.DeploymentCreated{Queue: "serve.cpu"})
	create(t, s, contract.KindDataset, "ds_1", contract.DatasetCreated{})
	add(t, s, "dataset/ds_1", ev("dataset.failed", contract.Error{Code: contract.CodeBadData}),
		ev("dataset.queued", contract.DatasetQueued{Options: &contract.ProcessOptions{EvalRows: 5}}))
	_, err := s.Create(t.Context(), Creation{Kind: contract.KindEvaluation, ID: "eval_waits", Payload: contract.EvaluationCreated{},
		Start: &contract.Start{ID: contract.WorkflowID(contract.KindEvaluation, "eval_waits")}})
	require.NoError(t, err)

	all, err := s.Unfinished(t.Context())
	require.NoError(t, err)
	byID := map[string]Unfinished{}
	for _, u := range all {
		byID[u.ID] = u
	}
	require.Len(t, byID, 5, "%v", all)
	require.Equal(t, contract.SignalPause, byID["job_paused"].Start.First.Signal)
	require.Equal(t, contract.SignalCancel, byID["job_stopping"].Start.First.Signal)
	require.JSONEq(t, `{"keep":true}`, string(byID["job_stopping"].Start.First.Input))
	require.Equal(t, "pipe_1", byID["job_stopping"].PipelineID)
	require.Nil(t, byID["pipe_1"].Start)
	require.Nil(t, byID["dep_1"].Start.First)
	require.Equal(t, "dataset/ds_1/3", byID["ds_1"].WorkflowID)
	var input contract.IngestInput
	require.NoError(t, json.Unmarshal(byID["ds_1"].Start.Input, &input))
	require.EqualValues(t, 5, input.Options.EvalRows)

	revived, err := s.Revive(t.Context(), byID["job_paused"])
	require.NoError(t, err)
	require.True(t, revived)
	revived, err = s.Revive(t.Context(), byID["job_paused"])
	require.NoError(t, err)
	require.False(t, revived, "it waits in the outbox already")
	add(t, s, "deployment/dep_1", ev("deployment.stopped", nil))
	revived, err = s.Revive(t.Context(), byID["dep_1"])
	require.NoError(t, err)
	require.False(t, revived, "it ended meanwhile")
}

func TestADatabaseOfANewerVibeFlowIsRefusedUntouched(t *testing.T) {
	s := open(t)
	path := s.path
	require.NoError(t, Examine(t.Context(), path))
	_, err := s.writer.ExecContext(t.Context(), `INSERT INTO bun_migrations (name, group_id) VALUES ('29990101000000', 99)`)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	err = Examine(t.Context(), path)
	require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err), "%v", err)
	require.ErrorContains(t, err, "newer")
	_, err = openAt(t, path, masterKey)
	require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err), "%v", err)
}
