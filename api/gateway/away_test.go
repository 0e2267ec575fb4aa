package gateway_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

// TestStoredFilesThatAreAwayAreSaidSoOnce: a worker is told to wait, and the run's log says what for.
func TestStoredFilesThatAreAwayAreSaidSoOnce(t *testing.T) {
	w := newWorld(t)
	c := w.claim(jobID, 0, 0)
	rows := "/runs/" + jobID + "/blobs/" + c.Spec.Dataset.Train.SHA256
	blobs, content := filepath.Join(w.dir, "blobs"), []byte("a checkpoint")
	require.NoError(t, os.Rename(blobs, blobs+".unmounted"))
	require.NoError(t, os.Mkdir(blobs, 0o700))
	for range 2 {
		w.refused(w.do(c.Token, "GET", rows, nil), 503, contract.CodeStorageAway)
		w.refused(w.chunk(c.Token, jobID, digest(content), 0, len(content), content), 503, contract.CodeStorageAway)
	}
	said := strings.Join(w.told(), "\n")
	require.Equal(t, 1, strings.Count(said, "stored files are away"), said)
	require.NotContains(t, said, w.dir)

	require.NoError(t, os.Remove(blobs), "nothing was written into the mount point")
	require.NoError(t, os.Rename(blobs+".unmounted", blobs))
	require.Equal(t, "train rows", string(w.do(c.Token, "GET", rows, nil).body))
	var state contract.UploadState
	w.chunk(c.Token, jobID, digest(content), len(content), len(content), nil).into(t, &state)
	require.True(t, state.Complete, "what had arrived meanwhile need not be sent again")

	require.NoError(t, os.Rename(blobs, blobs+".unmounted"))
	c = w.claim(jobID, c.Epoch, 0)
	w.refused(w.do(c.Token, "GET", rows, nil), 503, contract.CodeStorageAway)
	require.Equal(t, 2, strings.Count(strings.Join(w.told(), "\n"), "stored files are away"), "the next launch says so again")
}
