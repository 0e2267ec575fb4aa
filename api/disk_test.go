package api_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api"
	"github.com/vibeflow/vibeflow/api/apigen"
)

func TestDiskUseByKind(t *testing.T) {
	cache := t.TempDir()
	w := newWorld(t, func(o *api.Options) { o.CacheRoot = cache })
	everything(w)
	fill := func(path string) {
		t.Helper()
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("x", 8192)), 0o600))
	}
	fill(filepath.Join(w.dir, "logs", "server.log"))
	fill(filepath.Join(w.dir, "worker", "main", "models", "base.safetensors"))
	fill(filepath.Join(w.dir, "worker", "main", "runs", "job_1", "rows"))
	fill(filepath.Join(cache, "packages", "torch"))
	w.object([]byte("nobody's"))
	w.later(25 * time.Hour)
	use := into[apigen.DiskUse](w.get("/api/system/disk"), http.StatusOK)
	kinds, total := map[string]apigen.DiskKind{}, int64(0)
	for _, k := range use.Kinds {
		kinds[string(k.Kind)] = k
		total += k.Bytes
	}
	require.Equal(t, use.TotalBytes, total)
	require.EqualValues(t, 8192, kinds["logs"].Bytes)
	require.EqualValues(t, 8192, kinds["runs"].Bytes)
	require.EqualValues(t, 2*8192, kinds["caches"].Bytes)
	require.EqualValues(t, 3, kinds["datasets"].Files, "the file, its rows, and those held out")
	require.EqualValues(t, 1, kinds["exports"].Files)
	require.Equal(t, int64(len("weights")), kinds["exports"].Bytes)
	require.NotZero(t, kinds["databases"].Bytes)
	require.Equal(t, apigen.DiskSum{Files: 1, Bytes: int64(len("nobody's"))}, use.Collectable)
	require.NotZero(t, use.Volume.FreeBytes)
	gone := into[apigen.Garbage](w.post("/api/system/gc?preview=true", nil), http.StatusOK)
	require.Equal(t, []int64{int64(gone.Files), gone.Bytes}, []int64{use.Collectable.Files, use.Collectable.Bytes}, "as gc says")

	fill(filepath.Join(w.dir, "logs", "more.log"))
	again := into[apigen.DiskUse](w.get("/api/system/disk"), http.StatusOK)
	require.Equal(t, use, again, "whoever asks at once is told the same: the disk is not walked again")
}
