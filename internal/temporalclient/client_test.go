package temporalclient_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/loopback/loopbacktest"
	"github.com/vibeflow/vibeflow/internal/temporalclient"
)

func TestDialGivesUpWithTheAddressAndTheRemedy(t *testing.T) {
	t.Parallel()
	address := loopbacktest.Free(t)
	_, err := temporalclient.Dial(t.Context(), temporalclient.Options{
		Address: address, Logger: slog.New(slog.DiscardHandler), Patience: 300 * time.Millisecond,
	})
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err))
	require.ErrorContains(t, err, address)
	require.ErrorContains(t, err, "vibeflow up")
}

func TestDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	_, err := temporalclient.Dial(ctx, temporalclient.Options{Address: loopbacktest.Free(t), Logger: slog.New(slog.DiscardHandler)})
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err))
	require.Less(t, time.Since(began), 2*time.Second)
}

func TestDialSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 6 seconds")
	}
	var log bytes.Buffer
	address := loopbacktest.Free(t)
	_, err := temporalclient.Dial(t.Context(), temporalclient.Options{
		Address: address, Logger: slog.New(slog.NewTextHandler(&log, nil)), Patience: 6500 * time.Millisecond,
	})
	require.Error(t, err)
	require.Contains(t, log.String(), "waiting for Temporal")
	require.Contains(t, log.String(), address)
}
