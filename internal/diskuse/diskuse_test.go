//go:build unix

package diskuse

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func write(t *testing.T, path string, bytes int) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("x", bytes)), 0o600))
}

func first(path string) string {
	kind, _, _ := strings.Cut(path, "/")
	return kind
}

func TestFilesAddUpByKind(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "logs", "a"), 4096)
	write(t, filepath.Join(root, "logs", "deep", "b"), 8192)
	write(t, filepath.Join(root, "cache", "c"), 4096)
	require.NoError(t, os.Link(filepath.Join(root, "cache", "c"), filepath.Join(root, "cache", "again")))
	require.NoError(t, os.Symlink(root, filepath.Join(root, "cache", "round")))
	sums, err := Measure(t.Context(), root, first)
	require.NoError(t, err)
	require.Equal(t, map[string]Sum{"logs": {2, 12288}, "cache": {1, 4096}}, sums)
}

func TestAHoleTakesNothing(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "f"), 0)
	require.NoError(t, os.Truncate(filepath.Join(root, "f"), 1<<30))
	sums, err := Measure(t.Context(), root, first)
	require.NoError(t, err)
	require.Less(t, sums["f"].Bytes, int64(1<<20))
}

func TestWhatIsNotThereTakesNothing(t *testing.T) {
	sums, err := Measure(t.Context(), filepath.Join(t.TempDir(), "none"), first)
	require.NoError(t, err)
	require.Empty(t, sums)
}

func TestAWalkEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Measure(ctx, t.TempDir(), first)
	require.ErrorIs(t, err, context.Canceled)
}
