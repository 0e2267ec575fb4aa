package runner_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient/gatewaytest"
	"github.com/vibeflow/vibeflow/internal/smalldisk"
	"github.com/vibeflow/vibeflow/workers/runner"
	"github.com/vibeflow/vibeflow/workers/runner/runnertest"
)

// newBenchOn keeps the scratch folder on another disk.
func newBenchOn(t *testing.T, dir string) *bench {
	t.Helper()
	b := newBench(t)
	scratch, err := runner.OpenScratch(filepath.Join(dir, "scratch"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = scratch.Close() })
	b.scratch = scratch
	return b
}

// TestAFullDiskHasRoomAgainOnceThereIsSomeToSpare fills a real disk: the run is refused, there is no room while only little
// is free, and the same run completes once there is.
func TestAFullDiskHasRoomAgainOnceThereIsSomeToSpare(t *testing.T) {
	smalldisk.Run(t, 16<<20, func(t *testing.T, dir string) {
		b := newBenchOn(t, dir)
		s := b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2})
		s.MinFree = 8 << 20
		smalldisk.Fill(t, dir, 1<<20)
		_, err := b.run(s).wait()
		require.Equal(t, contract.CodeDiskFull, contract.CodeOf(err))
		require.ErrorContains(t, err, "free")

		there, err := s.HasRoom(job)
		require.NoError(t, err)
		require.False(t, there)
		smalldisk.Free(t, dir)
		smalldisk.Fill(t, dir, 8<<20+64<<10)
		there, err = s.HasRoom(job)
		require.NoError(t, err)
		require.False(t, there, "just enough would be too little again at once")
		smalldisk.Free(t, dir)
		there, err = s.HasRoom(job)
		require.NoError(t, err)
		require.True(t, there)
		b.letGo()
		b.requireFinished(b.run(s), 10)
	})
}

// TestARunThatFitsFitsAgain fills most of a real disk with the run's own base: when its runner dies, what is there already is
// not asked for a second time.
func TestARunThatFitsFitsAgain(t *testing.T) {
	smalldisk.Run(t, 16<<20, func(t *testing.T, dir string) {
		b := newBenchOn(t, dir)
		base := b.gateway.AddBlob(bytes.Repeat([]byte("base"), 2<<20))
		base.Path = "model.safetensors"
		b.gateway.Look(job, func(r *gatewaytest.Run) { r.Spec.Model.Files = []contract.FileInfo{base} })
		s := b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2, CrashAt: 5}, runnertest.Script{Steps: 10, SaveEvery: 2})
		s.MinFree = 2 << 20
		b.requireFinished(b.run(s), 10)
		require.Len(t, b.starts, 2)
	})
}
