// Package loopbacktest gives tests addresses to listen on.
package loopbacktest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/internal/loopback"
)

// Free is loopback.Free.
func Free(t testing.TB) string {
	t.Helper()
	address, err := loopback.Free()
	require.NoError(t, err)
	return address
}
