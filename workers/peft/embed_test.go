package peft

import (
	"io/fs"
	"os"
	"path"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file that the pattern of go:embed misses would be missing on every machine but the developer's.
func TestEveryFileOfThePackageIsEmbedded(t *testing.T) {
	t.Parallel()
	const pkg = "vibeflow_peft"
	err := fs.WalkDir(os.DirFS("."), pkg, func(name string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		if entry.IsDir() {
			if entry.Name() == "__pycache__" {
				return fs.SkipDir
			}
			return nil
		}
		_, err = fs.Stat(Files, name)
		require.NoError(t, err, "widen the go:embed pattern in embed.go")
		return nil
	})
	require.NoError(t, err)
	_, err = fs.Stat(Files, path.Join(pkg, "__main__.py"))
	require.NoError(t, err, "files that begin with an underscore are in")
}
