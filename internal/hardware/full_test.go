package hardware_test

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/hardware"
)

func TestAFullDiskIsNamedWithoutItsPaths(t *testing.T) {
	for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		err := hardware.DiskError("the server's disk", "store it", &fs.PathError{Op: "write", Path: "/secret/place", Err: full})
		require.Equal(t, contract.CodeDiskFull, contract.CodeOf(err))
		require.ErrorContains(t, err, "the server's disk is full: cannot store it")
		require.NotContains(t, err.Error(), "/secret")
		require.ErrorIs(t, err, syscall.ENOSPC)
	}
	other := errors.New("odd")
	err := hardware.DiskError("the disk", "store it", other)
	require.ErrorIs(t, err, other)
	require.EqualError(t, err, "store it: odd")
	typed := contract.Errorf(contract.CodeTooLarge, "large")
	require.Equal(t, error(typed), hardware.DiskError("the disk", "store it", typed))
	require.Equal(t, context.Canceled, hardware.DiskError("the disk", "store it", context.Canceled)) //nolint:errorlint // as it is
	require.NoError(t, hardware.DiskError("the disk", "store it", nil))
}
