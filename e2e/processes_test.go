//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func killPID(t testing.TB, pid int) {
	t.Helper()
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
}

// requireNoOrphans looks for live processes that name the data folder on their command line.
func requireNoOrphans(t *testing.T, root string) {
	t.Helper()
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, path := range commands {
		line, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(line), root) {
			t.Errorf("still alive: %s", strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
}
