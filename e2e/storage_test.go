//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/platform"
)

// TestStoredFilesThatAreAwayCostNoSteps takes the disk of the stored files away in the middle of a training, together with all
// that its worker had, kills the server besides, and puts the disk back.
func TestStoredFilesThatAreAwayCostNoSteps(t *testing.T) {
	t.Parallel()
	p := newSite(t)
	ds := p.upload("sums.jsonl", rows(200))
	undisturbed := p.ends(p.train(ds, restoredSteps).ID)

	job := p.train(ds, restoredSteps)
	p.reaches(job.ID, 30)
	blobs, stowed := p.Dir.Blobs(), filepath.Join(t.TempDir(), "stowed")
	require.NoError(t, os.Rename(blobs, stowed))
	alive, err := p.Detached(t.Context())
	require.NoError(t, err)
	p.kill(datadir.ProcessWorker)
	require.NoError(t, platform.KillPIDs(alive.Runners...))
	require.NoError(t, os.RemoveAll(filepath.Join(p.Dir.Root(), "worker", "main", "runs", job.ID)))
	p.follow("/api/training/"+job.ID, func(e contract.Event) bool {
		return e.Type == contract.RunnerLog && strings.Contains(string(e.Payload), "stored files are away")
	})
	_, stderr, code := p.cli("backup", "--to", filepath.Join(t.TempDir(), "b.tar"))
	require.Equal(t, 7, code, stderr)
	require.Contains(t, stderr, "mount their disk")

	p.kill(datadir.ProcessServer)
	require.Eventually(t, func() bool { return strings.Contains(p.Said(), "the database knows of") }, time.Minute, 100*time.Millisecond, "the server refuses to start")
	require.NoDirExists(t, blobs, "nothing is made in its place")
	require.NoError(t, os.Rename(stowed, blobs))

	require.Equal(t, undisturbed, p.ends(job.ID))
	var lost, said int
	p.follow("/api/training/"+job.ID, func(e contract.Event) bool {
		if e.Type == contract.EventType(contract.KindJob, contract.EventCheckpointLost) {
			lost++
		}
		if e.Type == contract.RunnerLog && strings.Contains(string(e.Payload), "stored files are away") {
			said++
		}
		return false
	})
	require.Zero(t, lost)
	require.Equal(t, 1, said, "it is said once")
}
