package activities_test

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/smalldisk"
)

func TestRoomIsAwaitedOnTheDiskOfTheStoredFilesToo(t *testing.T) {
	t.Parallel()
	smalldisk.Run(t, 16<<20, func(t *testing.T, dir string) {
		b := newBenchWith(t, t.TempDir(), filepath.Join(dir, "blobs"))
		smalldisk.Fill(t, dir, 64<<10)
		waited := sync.OnceFunc(func() { smalldisk.Free(t, dir) })
		b.env.SetOnActivityHeartbeatListener(func(*activity.Info, converter.EncodedValues) { waited() })
		_, err := b.env.ExecuteActivity(contract.ActivityAwaitStore, contract.RunInput{})
		require.NoError(t, err)
		require.NoFileExists(t, filepath.Join(dir, "filler"), "it did not wait")
	})
}
