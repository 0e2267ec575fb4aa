package gateway_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/smalldisk"
)

// TestAFullDiskHoldsARunUp and costs it nothing: what a worker could not hand in it hands in once there is room.
func TestAFullDiskHoldsARunUp(t *testing.T) {
	smalldisk.Run(t, 12<<20, func(t *testing.T, dir string) {
		w := newWorldAt(t, dir)
		c := w.claim(jobID, 0, 0)
		content := make([]byte, 3<<20)
		_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
		sha, before := digest(content), w.blobs()
		received := func() int {
			var state contract.UploadState
			w.do(c.Token, "GET", "/runs/"+jobID+"/uploads/"+sha, nil).into(t, &state)
			require.False(t, state.Complete)
			return int(state.Received)
		}

		smalldisk.Fill(t, dir, 1<<20)
		w.refused(w.chunk(c.Token, jobID, sha, 0, len(content), content), 507, contract.CodeDiskFull)
		first := received()
		require.Positive(t, first)
		require.Less(t, first, len(content))
		w.refused(w.send(c, 1, line(1, "metrics", "step", 1, "note", string(bytes.Repeat([]byte("x"), 60_000)))), 507, contract.CodeDiskFull)

		smalldisk.Free(t, dir)
		smalldisk.Fill(t, dir, 3<<20) // for the rest of the file, and not for it a second time
		w.refused(w.chunk(c.Token, jobID, sha, first, len(content), content[first:]), 507, contract.CodeDiskFull)
		require.Equal(t, len(content), received(), "all of it has arrived and waits")
		require.Equal(t, before, w.blobs(), "nothing half stored")
		w.stop()
		smalldisk.Free(t, dir)
		w.start()

		var state contract.UploadState
		w.chunk(c.Token, jobID, sha, received(), len(content), nil).into(t, &state)
		require.True(t, state.Complete)
		require.True(t, bytes.Equal(content, w.do(c.Token, "GET", "/runs/"+jobID+"/blobs/"+sha, nil).body))
		require.Equal(t, 200, w.send(c, 1, line(1, "metrics", "step", 1)).status)
		parts, err := os.ReadDir(filepath.Join(dir, "spool"))
		require.NoError(t, err)
		require.Empty(t, parts)
	})
}
