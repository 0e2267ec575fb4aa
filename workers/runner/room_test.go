package runner_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/smalldisk"
	"github.com/vibeflow/vibeflow/workers/runner"
	"github.com/vibeflow/vibeflow/workers/runner/runnertest"
)

// TestAFullDiskHasRoomAgainOnceThereIsSomeToSpare fills a real disk: the run is refused, there is no room while only little
// is free, and the same run completes once there is.
func TestAFullDiskHasRoomAgainOnceThereIsSomeToSpare(t *testing.T) {
	smalldisk.Run(t, 16<<20, func(t *testing.T, dir string) {
		b := newBench(t)
		scratch, err := runner.OpenScratch(filepath.Join(dir, "scratch"))
		require.NoError(t, err)
		b.scratch = scratch
		t.Cleanup(func() { _ = scratch.Close() })
		s := b.supervisor(runnertest.Script{Steps: 10, SaveEvery: 2})
		s.MinFree = 8 << 20
		smalldisk.Fill(t, dir, 1<<20)
		_, err = b.run(s).wait()
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
