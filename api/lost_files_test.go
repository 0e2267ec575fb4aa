package api_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAStoredFileThatIsLostIsSaidSo: what is gone is no fault of the request and none that a log has to be read for; what is
// only away comes back.
func TestAStoredFileThatIsLostIsSaidSo(t *testing.T) {
	w := newWorld(t)
	w.models()
	w.ready("ds_1", "prompt_completion")
	content := bytesOf(3 << 20)
	file := w.export("exp_1", content)
	download := "/api/exports/exp_1/download?file=" + url.QueryEscape(file.Path)
	paths := []string{"/api/datasets/ds_1/preview?split=train", download}
	blobs := filepath.Join(w.dir, "blobs")

	require.NoError(t, os.Rename(blobs, blobs+".unmounted"))
	for _, path := range paths {
		p := w.get(path).problem(http.StatusServiceUnavailable)
		require.Equal(t, "storage_away", p.Code)
		require.Contains(t, p.Remedy, "mount")
	}
	require.Equal(t, "storage_away", w.upload(field{"file", "q.jsonl", "{}\n{}\n"}).problem(http.StatusServiceUnavailable).Code)
	require.NoDirExists(t, blobs)
	require.NoError(t, os.Rename(blobs+".unmounted", blobs))
	require.Equal(t, content, w.get(download).body)

	// A change in the middle is told where a download goes on there.
	objects, err := filepath.Glob(filepath.Join(blobs, "objects", "*"))
	require.NoError(t, err)
	w.export("exp_2", content) // stays: a folder without any of its files would be away
	for _, path := range objects {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		data[len(data)-3] ^= 1
		require.NoError(t, os.WriteFile(path, data, 0o600))
	}
	p := w.get(download, header("Range", "bytes=3145720-")).problem(http.StatusUnprocessableEntity)
	require.Equal(t, "bad_data", p.Code)
	for _, path := range objects {
		require.NoError(t, os.Remove(path))
	}
	for _, path := range paths {
		p := w.get(path).problem(http.StatusUnprocessableEntity)
		require.Equal(t, "bad_data", p.Code)
		require.Contains(t, p.Detail, "is damaged")
		require.Contains(t, p.Remedy, "backup")
		require.NotContains(t, p.Detail+p.Remedy, w.dir)
	}
}
