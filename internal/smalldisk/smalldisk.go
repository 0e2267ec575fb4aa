// Package smalldisk gives a test a disk that is soon full, so that running out of space is tried and not imagined.
package smalldisk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const filler = "filler"

// Fill takes what space is left on the disk of a folder that Run gave, but for so many bytes.
func Fill(t *testing.T, dir string, but int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, filler), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	require.NoError(t, err)
	_, err = io.Copy(f, zeros{})
	require.ErrorIs(t, err, syscall.ENOSPC)
	info, err := f.Stat()
	require.NoError(t, err)
	require.NoError(t, f.Truncate(max(0, info.Size()-but)))
	require.NoError(t, f.Close())
}

// Free gives it back.
func Free(t *testing.T, dir string) {
	t.Helper()
	err := os.Remove(filepath.Join(dir, filler))
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(t, err)
	}
}

type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
