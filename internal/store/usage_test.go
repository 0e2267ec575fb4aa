package store

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func withKey(t *testing.T, s *Store) {
	t.Helper()
	require.NoError(t, s.CreateAPIKey(t.Context(), APIKey{ID: "key_1", ProjectID: DefaultProject, KeyHash: "h"}))
}

func usageOf(t *testing.T, s *Store, from, to time.Time) (*APIKey, []KeyUsage, int) {
	t.Helper()
	key, usage, underWay, err := s.UsageOfKey(t.Context(), "key_1", from, to)
	require.NoError(t, err)
	return key, usage, underWay
}

func TestUsageAddsUpByDayAndModel(t *testing.T) {
	s := open(t)
	withKey(t, s)
	use := func(id int64, at time.Time, model string) Use {
		return Use{ID: id, KeyID: "key_1", ModelID: model, At: at}
	}
	began := []Use{use(1, noon, "m"), use(2, noon.Add(time.Hour), "m"), use(3, noon.Add(24*time.Hour), "n")}
	require.NoError(t, s.RecordUses(t.Context(), began, nil, false))
	key, usage, underWay := usageOf(t, s, noon, noon.Add(24*time.Hour))
	require.Equal(t, []any{int64(0), 0, 3}, []any{key.UsageCount, len(usage), underWay}, "nothing has ended")

	ended := []EndedUse{
		{Use: began[0], PromptTokens: 10, CompletionTokens: 5, Latency: 100 * time.Millisecond},
		{Use: began[1], End: UseFailed},
		{Use: began[2], End: UseCancelled, PromptTokens: 7},
		{Use: use(0, noon.Add(time.Minute), ""), Latency: time.Millisecond},
	}
	require.NoError(t, s.RecordUses(t.Context(), nil, Ended(ended[:1]...), false))
	require.NoError(t, s.RecordUses(t.Context(), nil, Ended(ended[1:]...), true))
	key, usage, underWay = usageOf(t, s, noon, noon.Add(24*time.Hour))
	require.Zero(t, underWay)
	require.Equal(t, noon.Add(24*time.Hour), key.LastUsedAt.UTC())
	require.Len(t, usage, 3)
	total := UsageSum{}
	for _, u := range usage {
		total.Add(u.UsageSum)
	}
	require.Equal(t, key.UsageCount, total.Requests)
	require.Equal(t, []int64{4, 1, 1, 0, 17, 5}, []int64{total.Requests, total.Errors, total.Cancelled, total.Interrupted, total.PromptTokens, total.CompletionTokens})
	require.Equal(t, []string{"2026-11-24", "", "2026-11-24", "m", "2026-11-25", "n"},
		[]string{usage[0].Day, usage[0].ModelID, usage[1].Day, usage[1].ModelID, usage[2].Day, usage[2].ModelID})
	require.EqualValues(t, 1, total.Latency.Count(), "that of models which answered")
	require.InDelta(t, 100, usage[1].Latency.Quantile(.5), 3)

	_, usage, _ = usageOf(t, s, noon.Add(24*time.Hour), noon.Add(48*time.Hour))
	require.Len(t, usage, 1, "the days that were asked for")
	_, _, _, err := s.UsageOfKey(WithAccess(t.Context(), Access{ProjectID: "proj_other"}), "key_1", noon, noon)
	require.Equal(t, contract.CodeNotFound, contract.CodeOf(err))
}

// TestWhatIsLeftUnderWayIsInterrupted, once, however often the server dies while it settles.
func TestWhatIsLeftUnderWayIsInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	s, err := openAt(t, path, masterKey)
	require.NoError(t, err)
	withKey(t, s)
	began := []Use{{ID: 1, KeyID: "key_1", ModelID: "m", At: noon}, {ID: 2, KeyID: "key_1", ModelID: "m", At: noon}}
	require.NoError(t, s.RecordUses(t.Context(), began, nil, false))
	require.NoError(t, s.RecordUses(t.Context(), nil, Ended(EndedUse{Use: began[0], Latency: time.Second}), false))
	require.NoError(t, s.Close())

	s, err = openAt(t, path, masterKey)
	require.NoError(t, err)
	for i := range 2 {
		settled, err := s.SettleUses(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1-i, settled)
	}
	key, usage, underWay := usageOf(t, s, noon, noon)
	require.EqualValues(t, 2, key.UsageCount)
	require.Zero(t, underWay)
	require.Equal(t, []int64{2, 1, 1}, []int64{usage[0].Requests, usage[0].Errors, usage[0].Interrupted})
	require.NoError(t, s.Close())
}

// TestUsageOfAKeyThatIsGone holds nothing up, and leaves nothing.
func TestUsageOfAKeyThatIsGone(t *testing.T) {
	s := open(t)
	withKey(t, s)
	began := []Use{{ID: 1, KeyID: "key_1", At: noon}, {ID: 2, KeyID: "key_gone", At: noon}}
	require.NoError(t, s.RecordUses(t.Context(), began, nil, false))
	_, err := s.writer.ExecContext(t.Context(), `DELETE FROM api_keys`)
	require.NoError(t, err)
	require.NoError(t, s.RecordUses(t.Context(), nil, Ended(EndedUse{Use: began[0]}, EndedUse{Use: began[1]}), false))
	for _, table := range []string{"key_requests", "key_usage"} {
		n, err := s.reader.NewSelect().Table(table).Count(t.Context())
		require.NoError(t, err)
		require.Zero(t, n, table)
	}
}

// TestOthersWaitForTheDisk: a relaxed commit leaves the writing connection as it was, also if it failed.
func TestOthersWaitForTheDisk(t *testing.T) {
	s := open(t)
	withKey(t, s)
	mode := func() (mode int) {
		require.NoError(t, s.writer.QueryRowContext(t.Context(), `PRAGMA synchronous`).Scan(&mode))
		return mode
	}
	const full = 2
	require.NoError(t, s.RecordUses(t.Context(), []Use{{ID: 1, KeyID: "key_1", At: noon}}, nil, false))
	require.Equal(t, full, mode())
	require.Error(t, s.RecordUses(t.Context(), []Use{{ID: 1, KeyID: "key_1", At: noon}}, nil, false), "the same number twice")
	require.Equal(t, full, mode())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, s.RecordUses(ended, []Use{{ID: 2, KeyID: "key_1", At: noon}}, nil, false))
	require.Equal(t, full, mode())
}

func TestOldUsageGoes(t *testing.T) {
	s := open(t)
	withKey(t, s)
	old, recent := noon.Add(-UsageLife-48*time.Hour), noon.Add(-UsageLife+48*time.Hour)
	require.NoError(t, s.RecordUses(t.Context(), nil, Ended(EndedUse{Use: Use{KeyID: "key_1", At: old}}, EndedUse{Use: Use{KeyID: "key_1", At: recent}}), false))
	require.NoError(t, s.Expire(t.Context()))
	key, usage, _ := usageOf(t, s, old, noon)
	require.Len(t, usage, 1)
	require.EqualValues(t, 2, key.UsageCount, "of all time")
}

// TestADamagedDayStopsNothing: its counts go on, its latencies begin anew, and the other days are as they were.
func TestADamagedDayStopsNothing(t *testing.T) {
	s := open(t)
	withKey(t, s)
	answered := func(at time.Time) *EndedUses {
		return Ended(EndedUse{Use: Use{KeyID: "key_1", ModelID: "m", At: at}, Latency: time.Second})
	}
	for _, at := range []time.Time{noon, noon.Add(24 * time.Hour)} {
		require.NoError(t, s.RecordUses(t.Context(), nil, answered(at), true))
	}
	_, err := s.writer.ExecContext(t.Context(), `UPDATE key_usage SET latency = x'ffffffffffffffffffff' WHERE day = ?`, noon.Format(dayFormat))
	require.NoError(t, err)
	_, usage, _ := usageOf(t, s, noon, noon.Add(24*time.Hour))
	require.Equal(t, []int64{1, 0, 1, 1}, []int64{usage[0].Requests, usage[0].Latency.Count(), usage[1].Requests, usage[1].Latency.Count()})
	require.NoError(t, s.RecordUses(t.Context(), nil, answered(noon), true))
	key, usage, _ := usageOf(t, s, noon, noon)
	require.EqualValues(t, 3, key.UsageCount)
	require.Equal(t, []int64{2, 1}, []int64{usage[0].Requests, usage[0].Latency.Count()})
}
