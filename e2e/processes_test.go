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

// TestARefusalEndsUp: a server that cannot read its database is not waited for by a worker that waits for the server.
func TestARefusalEndsUp(t *testing.T) {
	t.Parallel()
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
	left, err := p.Processes(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)
}
