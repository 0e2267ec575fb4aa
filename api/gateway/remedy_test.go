package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/gatewayclient"
	"github.com/vibeflow/vibeflow/internal/store"
)

func (w *world) claimWith(request contract.ClaimRequest) contract.Claim {
	w.t.Helper()
	request.Worker = worker
	var c contract.Claim
	w.do(workerToken, "POST", "/runs/"+jobID+"/claim", request).into(w.t, &c)
	return c
}

func TestAnAdjustmentHoldsForEveryLaterLaunch(t *testing.T) {
	w := newWorld(t)
	w.claim(jobID, 0, 0)
	c := w.claimWith(contract.ClaimRequest{ExpectEpoch: 1, Notes: []string{"Memory was short."},
		Adjust: &contract.Adjustment{Code: contract.CodeOutOfMemory, Step: 7, BatchSize: 2, GradientAccumulationSteps: 4}})
	require.Equal(t, 2, c.Spec.Training.BatchSize)
	c = w.claimWith(contract.ClaimRequest{ExpectEpoch: 2,
		Adjust: &contract.Adjustment{Code: contract.CodeNonFiniteLoss, Step: 9, LearningRateScale: 0.5}})
	require.InDelta(t, 0.5, c.Spec.Training.LearningRateScale, 0)
	c = w.claim(jobID, 3, 0)
	require.Equal(t, []any{2, 4, 0.5}, []any{c.Spec.Training.BatchSize, c.Spec.Training.GradientAccumulationSteps, c.Spec.Training.LearningRateScale})

	job, err := w.store.GetJob(t.Context(), jobID)
	require.NoError(t, err)
	require.Zero(t, job.Config.BatchSize, "what the user chose stays to be seen")
	before := job.Adjusted
	require.NoError(t, w.store.Rebuild(t.Context()))
	job, err = w.store.GetJob(t.Context(), jobID)
	require.NoError(t, err)
	require.Equal(t, before, job.Adjusted)
	require.Contains(t, w.told(), `runner.log {"level":"warn","message":"Memory was short."}`)
	require.Contains(t, w.told(), `job.adjusted {"code":"out_of_memory","step":7,"batch_size":2,"gradient_accumulation_steps":4}`)
}

func (w *world) told() (all []string) {
	w.t.Helper()
	evs, err := w.store.EventsAfter(w.t.Context(), "job/"+jobID, 0, 0)
	require.NoError(w.t, err)
	for _, e := range evs {
		all = append(all, fmt.Sprintf("%s %s", e.Type, e.Payload))
	}
	return all
}

func TestAClaimSaysOnlySoMuch(t *testing.T) {
	w := newWorld(t)
	for name, request := range map[string]contract.ClaimRequest{
		"long note":       {Notes: []string{string(bytes.Repeat([]byte("x"), contract.ClaimNoteBytes+1))}},
		"many notes":      {Notes: make([]string, contract.ClaimNotes+1)},
		"many damaged":    {Damaged: make([]string, contract.ClaimNotes+1)},
		"half a batch":    {Adjust: &contract.Adjustment{BatchSize: 2}},
		"a negative step": {Adjust: &contract.Adjustment{Step: -1}},
		"a higher rate":   {Adjust: &contract.Adjustment{LearningRateScale: 2}},
	} {
		request.Worker = worker
		require.GreaterOrEqual(t, w.do(workerToken, "POST", "/runs/"+jobID+"/claim", request).status, 400, name)
	}
	w.claim(jobID, 0, 0)
}

// TestADamagedCheckpointIsForgottenAndMadeAgain flips a bit in the store: the worker is told that the content is damaged,
// and not to try again; the checkpoint before it is the newest one; and the same content, made again, is taken anew.
func TestADamagedCheckpointIsForgottenAndMadeAgain(t *testing.T) {
	w := newWorld(t)
	c := w.claim(jobID, 0, 0)
	save := func(c contract.Claim, n, step int) contract.Manifest {
		name := fmt.Sprintf("step-%08d", step)
		m := contract.Manifest{Kind: "checkpoint", Name: name, Step: step, Files: []contract.FileInfo{w.upload(c, name), w.upload(c, "the tokenizer")}}
		require.Equal(t, 200, w.send(c, n, line(n, "checkpoint", "name", name, "step", step)).status)
		require.Equal(t, 204, w.commit(c, m).status)
		return m
	}
	save(c, 1, 4)
	fifth := save(c, 2, 5)
	w.flip(fifth.Files[0].SHA256)

	c = w.claim(jobID, 1, 5)
	a := w.do(c.Token, "GET", "/runs/"+jobID+"/blobs/"+fifth.Files[0].SHA256, nil)
	w.refused(a, 422, contract.CodeBadData)
	client, err := gatewayclient.New(w.server.URL, workerToken)
	require.NoError(t, err)
	defer client.Close()
	err = gatewayclient.Fetch(t.Context(), slog.New(slog.DiscardHandler), client.Run(jobID, worker, c).Blobs(), fifth.Files[0], filepath.Join(t.TempDir(), "x"))
	require.Equal(t, contract.CodeBadData, contract.CodeOf(err), "it does not try for ever")

	c = w.claimWith(contract.ClaimRequest{ExpectEpoch: 2, Step: 4, Damaged: []string{fifth.Name, "step-00000099"}})
	require.Equal(t, "step-00000004", c.Checkpoint.Name)
	job, err := w.store.GetJob(t.Context(), jobID)
	require.NoError(t, err)
	require.Equal(t, 4, job.CheckpointStep)
	require.Contains(t, w.told(), `job.checkpoint_lost {"name":"step-00000005","step":5,"left":"step-00000004","left_step":4}`)

	require.Equal(t, 404, w.do(c.Token, "HEAD", "/runs/"+jobID+"/blobs/"+fifth.Files[0].SHA256, nil).status)
	save(c, 1, 5)
	got := w.do(c.Token, "GET", "/runs/"+jobID+"/blobs/"+fifth.Files[0].SHA256, nil)
	require.Equal(t, "step-00000005", string(got.body))
	var state contract.RunState
	require.NoError(t, json.Unmarshal(w.do(workerToken, "GET", "/runs/"+jobID, nil).body, &state))
	require.Equal(t, 5, state.Checkpoint.Step)
	require.Equal(t, 4, state.Earlier[0].Step)
}

// flip changes one bit of the stored content with a digest.
func (w *world) flip(sha string) {
	w.t.Helper()
	o, err := w.store.RunObject(w.t.Context(), jobID, sha)
	require.NoError(w.t, err)
	path := filepath.Join(w.dir, "blobs", "objects", o.ID)
	data, err := os.ReadFile(path)
	require.NoError(w.t, err)
	data[len(data)-3] ^= 1
	require.NoError(w.t, os.WriteFile(path, data, 0o600))
}

func TestTheLaunchIsToldWhatMemoryWasPredicted(t *testing.T) {
	w := newWorld(t)
	require.Zero(t, w.claim(jobID, 0, 0).Spec.PredictedMemory, "nothing is known of a tiny model, or of the machine")
	entry, err := catalog.Parse(catalog.Bundled)
	require.NoError(t, err)
	require.NoError(t, w.store.UpsertCatalog(t.Context(), []store.Model{catalog.Row(entry)}))
	w.create(contract.KindJob, "job_2", contract.JobCreated{DatasetID: "ds_1", ModelID: entry.ID, Model: entry.Ref(), Queue: "cpu",
		Config: contract.Training{Method: "lora", BatchSize: 4, MaxLength: 256, LoRA: contract.LoRA{Rank: 8}}})
	require.Equal(t, 204, w.do(workerToken, "PUT", "/workers/host%2F1", contract.WorkerReport{ID: "host/1", Boot: "boot", Queue: "cpu",
		Slots: 1, Version: "v", Hardware: json.RawMessage(`{"memory":{"total":8589934592,"available":8589934592}}`)}).status)
	var c contract.Claim
	w.do(workerToken, "POST", "/runs/job_2/claim", contract.ClaimRequest{Worker: worker}).into(t, &c)
	require.Greater(t, c.Spec.PredictedMemory, int64(100<<20))
}
