package artifact_test

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/smalldisk"
)

func smallStore(t *testing.T, dir string) (*artifact.Store, *index) {
	t.Helper()
	x := newIndex()
	s, err := artifact.Open(t.Context(), artifact.Options{BucketURL: "file://" + dir + "/bucket", MasterKey: masterKey, Index: x,
		SpoolDir: filepath.Join(dir, "spool"), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, x
}

func TestAnObjectOnAFullDiskLeavesNothing(t *testing.T) {
	smalldisk.Run(t, 8<<20, func(t *testing.T, dir string) {
		s, x := smallStore(t, dir)
		kept := noise(1 << 20)
		o := put(t, s, kept)
		for _, room := range []int64{0, 2 << 20} {
			smalldisk.Fill(t, dir, room)
			_, err := s.Put(t.Context(), artifact.PutInput{Reader: bytes.NewReader(noise(5 << 20))})
			require.Equal(t, contract.CodeDiskFull, contract.CodeOf(err), "%v", err)
			require.NotContains(t, err.Error(), dir)
			require.Equal(t, []string{o.ID}, files(t, filepath.Join(dir, "bucket", "objects")))
			require.Len(t, x.objects, 1)
			require.NoError(t, readAll(t, s, o.ID, kept))
			smalldisk.Free(t, dir)
		}
		put(t, s, noise(5<<20))
	})
}

func TestAPartOnAFullDiskGoesOnOnceThereIsRoom(t *testing.T) {
	smalldisk.Run(t, 4<<20, func(t *testing.T, dir string) {
		s, _ := smallStore(t, dir)
		content, p := noise(3<<20+100), s.Part("run-sha")
		write(t, p, 0, content[:100])
		smalldisk.Fill(t, dir, 1<<20)
		_, err := p.Write(100, bytes.NewReader(content[100:]))
		require.Equal(t, contract.CodeDiskFull, contract.CodeOf(err), "%v", err)
		require.NotContains(t, err.Error(), dir)
		n, err := p.Received()
		require.NoError(t, err)
		require.Positive(t, n)
		require.True(t, bytes.Equal(content[:n], arrived(t, p)), "what is there is right")

		_, err = p.Write(n, bytes.NewReader(content[n:]))
		require.Equal(t, contract.CodeDiskFull, contract.CodeOf(err), "%v", err)
		smalldisk.Free(t, dir)
		n, err = p.Received()
		require.NoError(t, err)
		write(t, p, int(n), content[n:])
		require.True(t, bytes.Equal(content, arrived(t, p)))
		require.NoError(t, p.Remove())
		require.Empty(t, files(t, filepath.Join(dir, "spool")))
	})
}
