package doctor

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/internal/datadir"
)

// TestWhatCannotBeWrittenIsFound asks as an ordinary user, whom permissions stop, also where the tests run as root.
func TestWhatCannotBeWrittenIsFound(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(t *testing.T, o *Options) string{
		"the folder": func(t *testing.T, o *Options) string {
			require.NoError(t, os.Chmod(o.DataDir, 0o500))
			return o.DataDir
		},
		"a folder in it": func(t *testing.T, o *Options) string {
			require.NoError(t, os.Chmod(filepath.Join(o.DataDir, "run"), 0o500))
			return filepath.Join(o.DataDir, "run")
		},
		"the database": func(t *testing.T, o *Options) string {
			path := filepath.Join(o.DataDir, "app.db")
			require.NoError(t, os.WriteFile(path, nil, 0o400))
			return path
		},
		"the folder that it is to be made in": func(t *testing.T, o *Options) string {
			parent := filepath.Dir(o.DataDir)
			require.NoError(t, os.RemoveAll(o.DataDir))
			require.NoError(t, os.Chmod(parent, 0o500))
			o.DataDir = filepath.Join(parent, "a", "b")
			return parent
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home, err := os.MkdirTemp("", "doctor-") // t.TempDir lies below one that is its user's alone
			require.NoError(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(home) })
			dir, err := datadir.Open(filepath.Join(home, "data"))
			require.NoError(t, err)
			options := Options{DataDir: dir.Root(), uid: os.Geteuid}
			require.Equal(t, OK, ordinary(t, home, options).Status)
			path := harm(t, &options)
			t.Cleanup(func() { _ = os.Chmod(path, 0o700) }) //nolint:gosec // so that the test's folder can be removed
			check := ordinary(t, home, options)
			require.Equal(t, Fail, check.Status, "%+v", check)
			require.Contains(t, check.Found, path+" cannot be written")
			require.Contains(t, check.Remedy, "--data")
		})
	}
}

// ordinary checks the data folder in a thread whose real user, by whom access(2) goes, is not root but the owner of all
// files. The thread ends with its goroutine.
func ordinary(t *testing.T, home string, options Options) Check {
	t.Helper()
	const someone, stays = 65534, ^uintptr(0)
	if os.Geteuid() != 0 {
		return checkDataFolder(options)
	}
	require.NoError(t, filepath.WalkDir(home, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, someone, -1)
	}))
	options.uid = func() int { return someone }
	checked := make(chan Check)
	go func() {
		runtime.LockOSThread() // and never unlocked
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETREUID, someone, stays, 0); errno != 0 {
			t.Error(errno)
		}
		checked <- checkDataFolder(options)
	}()
	return <-checked
}
