package gateway_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient"
)

// The two sides of the gateway agree: what a worker does in a launch, done by the worker's own client.
func TestTheWorkersOwnClient(t *testing.T) {
	w := newWorld(t)
	client, err := gatewayclient.New(w.server.URL, workerToken)
	require.NoError(t, err)
	defer client.Close()
	ctx, log := t.Context(), slog.New(slog.DiscardHandler)

	require.NoError(t, client.Report(ctx, contract.WorkerReport{ID: "host/1", Boot: "boot", Queue: "cpu", Slots: 1}))
	state, err := client.RunState(ctx, jobID)
	require.NoError(t, err)
	require.Zero(t, state.Epoch)
	claim, err := client.Claim(ctx, jobID, contract.ClaimRequest{Worker: worker})
	require.NoError(t, err)
	_, err = client.Claim(ctx, jobID, contract.ClaimRequest{Worker: worker})
	require.Equal(t, contract.CodeEpochSuperseded, contract.CodeOf(err))

	claim.Token = "worn out" // the client adopts its epoch for a fresh one
	run := client.Run(jobID, worker, claim)
	input := claim.Spec.Dataset.Train
	path := filepath.Join(t.TempDir(), "train.jsonl")
	require.NoError(t, gatewayclient.Fetch(ctx, log, run.Blobs(), contract.FileInfo{SHA256: input.SHA256, Size: input.Size}, path))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "train rows", string(got))

	content := noise(contract.UploadChunkBytes + 12345) // two chunks
	file := contract.FileInfo{Path: "adapter_model.safetensors", SHA256: digest(content), Size: int64(len(content))}
	require.NoError(t, os.WriteFile(path, content, 0o600))
	require.NoError(t, gatewayclient.Upload(ctx, log, run, path, file))
	stored, err := run.HasBlob(ctx, file.SHA256)
	require.NoError(t, err)
	require.True(t, stored)

	ack, err := run.SendEvents(ctx, contract.EventBatch{Epoch: 1, First: 1, Lines: []json.RawMessage{line(1, "checkpoint", "name", "step-00000003")}})
	require.NoError(t, err)
	require.EqualValues(t, 1, ack.Acked)
	manifest := contract.Manifest{Kind: "checkpoint", Name: "step-00000003", Step: 3, Files: []contract.FileInfo{file}}
	require.NoError(t, run.PutCheckpoint(ctx, manifest))
	manifest.Kind, manifest.Name = "adapter", "adapter"
	require.NoError(t, run.PutArtifact(ctx, manifest))
	require.NoError(t, run.PutResult(ctx, contract.RunResult{RunID: jobID, Epoch: 1, Outcome: contract.OutcomePaused}))

	next, err := client.Claim(ctx, jobID, contract.ClaimRequest{ExpectEpoch: 1, Worker: worker, Step: 3})
	require.NoError(t, err)
	require.Equal(t, "step-00000003", next.Checkpoint.Name)
	require.Equal(t, contract.CodeEpochSuperseded, contract.CodeOf(run.PutArtifact(ctx, manifest)))
	back := filepath.Join(t.TempDir(), "back")
	require.NoError(t, gatewayclient.Fetch(ctx, log, client.Run(jobID, worker, next).Blobs(), file, back))
}

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * i >> 7)
	}
	return b
}
