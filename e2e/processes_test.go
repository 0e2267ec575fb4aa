//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/internal/platform"
)

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

// TestARefusalEndsUp: a server that cannot read its database is not waited for by a worker that waits for the server.
func TestARefusalEndsUp(t *testing.T) {
	p, err := platform.New(binary(t))
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close()) }()
	require.NoError(t, os.WriteFile(filepath.Join(p.Dir.Root(), "app.db"), []byte(strings.Repeat("no database ", 1000)), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // half of what a worker may take to save
	defer cancel()
	_, err = p.Start(ctx)
	require.ErrorContains(t, err, "`up` ended")
	require.NoError(t, ctx.Err(), "up did not end by itself: %v", err)
	require.Contains(t, p.Said(), "master.key is gone")
	requireNoOrphans(t, p.Dir.Root())
}
