package api

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

func TestADiskThatCannotBeWrittenIsToldOnce(t *testing.T) {
	var log bytes.Buffer
	var answer error
	w := &storageWatch{log: slog.New(slog.NewTextHandler(&log, nil))}
	w.try = func(ctx) error { return answer }
	look := func(err error) string { answer = err; w.look(t.Context()); return w.said() }
	full := contract.Errorf(contract.CodeDiskFull, "full").Mend("make room")
	require.Equal(t, "ok", look(nil))
	require.Equal(t, "disk_full", look(full))
	require.Equal(t, "disk_full", look(full))
	require.Equal(t, "unavailable", look(errors.New("odd")))
	require.Equal(t, "ok", look(nil))
	require.Equal(t, 2, strings.Count(log.String(), "not all can be stored"), log.String())
	require.Equal(t, 1, strings.Count(log.String(), "can be stored again"))
}
