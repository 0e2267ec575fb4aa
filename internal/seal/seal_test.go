package seal_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/seal"
)

func master(t *testing.T, first byte) *seal.Master {
	t.Helper()
	m, err := seal.NewMaster(append(make([]byte, seal.KeyBytes-1), first))
	require.NoError(t, err)
	return m
}

func TestValuesOpenInTheirPlaceOnly(t *testing.T) {
	raw, _, err := master(t, 1).NewDataKey("rows")
	require.NoError(t, err)
	key, err := seal.NewKey(raw)
	require.NoError(t, err)
	for _, value := range [][]byte{{}, []byte("x"), bytes.Repeat([]byte("long "), 1<<16)} {
		sealed := key.Seal(value, "table", "1")
		require.Len(t, sealed, len(value)+seal.Overhead)
		got, err := key.Open(sealed, "table", "1")
		require.NoError(t, err)
		require.True(t, bytes.Equal(value, got))
		require.NotEqual(t, sealed, key.Seal(value, "table", "1"), "equal values do not look equal")

		for _, place := range [][]string{{"table", "2"}, {"table"}, {"table1"}, {"", "table", "1"}, {}} {
			_, err = key.Open(sealed, place...)
			require.ErrorIs(t, err, seal.ErrChanged, "%v", place)
		}
		for at := range min(len(sealed), 60) {
			changed := bytes.Clone(sealed)
			changed[at] ^= 1
			_, err = key.Open(changed, "table", "1")
			require.ErrorIs(t, err, seal.ErrChanged, "byte %d", at)
		}
		_, err = key.Open(sealed[:len(sealed)-1], "table", "1")
		require.ErrorIs(t, err, seal.ErrChanged)
	}
	_, err = key.Open(nil)
	require.ErrorIs(t, err, seal.ErrChanged)
	_, err = seal.NewKey([]byte("short"))
	require.Error(t, err)
}

func TestWrappedKeys(t *testing.T) {
	raw, wrapped, err := master(t, 1).NewDataKey("obj_1")
	require.NoError(t, err)
	got, err := master(t, 1).Unwrap("obj_1", wrapped)
	require.NoError(t, err)
	require.Equal(t, raw, got)

	_, err = master(t, 2).Unwrap("obj_1", wrapped)
	require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err), "another master key")
	_, err = master(t, 1).Unwrap("obj_2", wrapped)
	require.Equal(t, contract.CodeInternal, contract.CodeOf(err), "another owner's key")
	wrapped[len(wrapped)-1] ^= 1
	_, err = master(t, 1).Unwrap("obj_1", wrapped)
	require.Equal(t, contract.CodeInternal, contract.CodeOf(err), "damaged")
	_, err = seal.NewMaster([]byte("short"))
	require.Equal(t, contract.CodeInvalidConfig, contract.CodeOf(err))
}

func TestDerivedKeysDifferByPurposeAndMaster(t *testing.T) {
	derive := func(m *seal.Master, purpose string) []byte {
		key, err := m.Derive(purpose)
		require.NoError(t, err)
		require.Len(t, key, seal.KeyBytes)
		return key
	}
	require.Equal(t, derive(master(t, 1), "a"), derive(master(t, 1), "a"))
	require.NotEqual(t, derive(master(t, 1), "a"), derive(master(t, 1), "b"))
	require.NotEqual(t, derive(master(t, 1), "a"), derive(master(t, 2), "a"))
}
