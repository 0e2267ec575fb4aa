package sqlite_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/internal/sqlite"
)

func TestOpenTakesAnyName(t *testing.T) {
	for _, name := range []string{"plain", "what?", "50%", "50%20", "#1", "a b&c=d", "Übung", "x:y;z", "mode=ro?mode=rw"} {
		folder := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.Mkdir(folder, 0o700))
		path := filepath.Join(folder, "a.db")
		db, err := sqlite.Open(path, 1, "mode=rwc", "_pragma=journal_mode(WAL)")
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), `CREATE TABLE t (n INTEGER)`)
		require.NoError(t, err, name)
		var mode string
		require.NoError(t, db.QueryRowContext(t.Context(), `PRAGMA journal_mode`).Scan(&mode))
		require.Equal(t, "wal", mode, "its settings are heard")
		require.FileExists(t, path)
		require.NoError(t, db.Close())
	}
}

func TestAFileThatIsNotThereIsNotMadeUnlessAskedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db, err := sqlite.Open(path, 1, "mode=rw")
	require.NoError(t, err)
	require.Error(t, db.PingContext(t.Context()))
	require.NoError(t, db.Close())
	require.NoFileExists(t, path)
}
