package api

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/internal/sqlite"
	"github.com/vibeflow/vibeflow/internal/store"
)

// TestWhatWaitsForTheDatabaseDoesNotGrowWithRequests: a database that cannot be written for long costs no memory and no count.
func TestWhatWaitsForTheDatabaseDoesNotGrowWithRequests(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	path := filepath.Join(t.TempDir(), "app.db")
	s, err := store.Open(t.Context(), store.Options{Path: path, MasterKey: make([]byte, 32), Logger: quiet})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	require.NoError(t, s.CreateAPIKey(t.Context(), store.APIKey{ID: "key_1", ProjectID: store.DefaultProject, KeyHash: "h"}))
	m := newMeter(s, quiet)
	use := func() store.Use { return m.begin(t.Context(), store.Use{KeyID: "key_1", ModelID: "m", At: time.Now()}) }
	onRecord := use()
	underWay := use()

	broken, err := sqlite.Open(path, 1)
	require.NoError(t, err)
	defer func() { require.NoError(t, broken.Close()) }()
	exec := func(statement string) {
		_, err := broken.ExecContext(context.Background(), statement)
		require.NoError(t, err)
	}
	exec(`ALTER TABLE key_requests RENAME TO away`)
	const requests = 20_000
	for range requests {
		m.end(t.Context(), store.EndedUse{Use: use(), Latency: time.Second, PromptTokens: 3}, false)
	}
	m.end(t.Context(), store.EndedUse{Use: onRecord}, false)
	last := use()
	require.Len(t, m.began, 1, "those under way")
	require.EqualValues(t, requests+1, m.ended.Requests())
	exec(`ALTER TABLE away RENAME TO key_requests`)
	m.finish(t.Context())
	key, usage, left, err := s.UsageOfKey(t.Context(), "key_1", time.Now().Add(-24*time.Hour), time.Now().Add(24*time.Hour))
	require.NoError(t, err)
	require.EqualValues(t, requests+1, key.UsageCount)
	require.EqualValues(t, 3*requests, usage[0].PromptTokens)
	require.Equal(t, 2, left, "%d and %d are under way", underWay.ID, last.ID)
}
