package store

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vibeflow/vibeflow/contract"
)

func TestSmoke(t *testing.T) {
	s, err := Open(context.Background(), Options{Path: filepath.Join(t.TempDir(), "a#b?c d.db")})
	require.NoError(t, err)
	defer s.Close()
	ok, err := s.Create(t.Context(), Creation{Kind: contract.KindJob, ID: "job_1", Payload: contract.JobCreated{ProjectID: "p", Queue: "cpu"}, Start: &contract.Start{ID: "train/job_1"}})
	require.NoError(t, err)
	require.True(t, ok)
	j, err := s.GetJob(t.Context(), "job_1")
	require.NoError(t, err)
	b, _ := json.Marshal(j)
	t.Log(string(b))
	r, err := s.ClaimRun(t.Context(), RunClaim{RunID: "job_1", Nonce: "n"})
	require.NoError(t, err)
	n, err := s.AppendRun(t.Context(), RunBatch{Fence: Fence{"job_1", r.Epoch, "n"}, First: 1, Events: []contract.NewEvent{{Type: "runner.metrics", Payload: []byte(`{"step":1,"loss":2.5}`)}}})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	pg, err := s.ListJobs(t.Context(), Filter{Status: []contract.Status{contract.StatusRunning}})
	require.NoError(t, err)
	require.Len(t, pg.Items, 1)
	m, err := s.Metrics(t.Context(), "job_1", 0)
	require.NoError(t, err)
	require.Len(t, m.Train, 1)
	o, err := s.PendingOutbox(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, o, 1)
	require.NotNil(t, o[0].Start)
	require.Nil(t, o[0].Signal)
	_, err = s.Command(t.Context(), Command{Kind: contract.KindJob, ID: "job_1", Event: contract.NewEvent{Type: "job.resume_requested"}})
	t.Log(err)
	require.NoError(t, s.Rebuild(t.Context()))
}
