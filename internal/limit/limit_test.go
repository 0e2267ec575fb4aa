package limit

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

// TestAsManyAreAllowedAsTheBucketHolds: also when they all come at once.
func TestAsManyAreAllowedAsTheBucketHolds(t *testing.T) {
	k := New(Rule{PerSecond: 1e-6, Burst: 37})
	var allowed atomic.Int64
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() {
			if k.Take("ada").Allowed {
				allowed.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 37, allowed.Load())
	require.True(t, k.Take("bob").Allowed, "another key has a bucket of its own")
}

func TestWhatIsLeft(t *testing.T) {
	k := New(Rule{PerSecond: 2, Burst: 3})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	k.now = func() time.Time { return at }
	require.Equal(t, Decision{Allowed: true, Limit: 3, Remaining: 2, Reset: 500 * time.Millisecond}, k.Take("a"))
	k.Take("a")
	require.Equal(t, Decision{Allowed: true, Limit: 3, Remaining: 0, Reset: 1500 * time.Millisecond}, k.Take("a"))
	require.Equal(t, Decision{Limit: 3, Reset: 1500 * time.Millisecond, Wait: 500 * time.Millisecond}, k.Take("a"))
	at = at.Add(500 * time.Millisecond)
	require.True(t, k.Take("a").Allowed, "as soon as it was said")
	at = at.Add(-time.Hour)
	require.False(t, k.Take("a").Allowed, "a clock that is set back gives nothing")
	require.Equal(t, Decision{Allowed: true}, New(Rule{}).Take("a"), "no rule, no limit")
}

func TestMemoryIsBounded(t *testing.T) {
	k := New(Rule{PerSecond: 1, Burst: 2})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	k.now = func() time.Time { return at }
	for i := range 2*maxKeys + 10 {
		k.Take(strconv.Itoa(i))
	}
	require.LessOrEqual(t, len(k.buckets), maxKeys)
	at = at.Add(time.Minute)
	k.Take("busy")
	k.Take("busy")
	for i := 0; ; i++ {
		before := len(k.buckets)
		k.Take("again" + strconv.Itoa(i))
		require.False(t, k.Take("busy").Allowed, "idle buckets are forgotten before busy ones")
		if len(k.buckets) < before {
			return // swept
		}
	}
}

func TestAddresses(t *testing.T) {
	for given, want := range map[string]string{"1.2.3.4:5": "1.2.3.4", "1.2.3.4": "1.2.3.4", "[2001:db8::1]:80": "2001:db8::/64", "2001:db8::ffff": "2001:db8::/64",
		"::ffff:1.2.3.4": "1.2.3.4", "[fe80::1%eth0]:1": "fe80::/64", "what": "what", "": ""} {
		require.Equal(t, want, Address(given), given)
	}
}

func TestTheStricterDecisionCounts(t *testing.T) {
	none, much, little := Decision{Allowed: true}, Decision{Allowed: true, Limit: 9, Remaining: 5}, Decision{Allowed: true, Limit: 3, Remaining: 1}
	refused := Decision{Limit: 3, Wait: time.Second}
	for _, c := range [][3]Decision{{none, much, much}, {much, none, much}, {much, little, little}, {little, much, little}, {much, refused, refused}, {none, refused, refused}, {none, none, none}} {
		require.Equal(t, c[2], c[0].And(c[1]))
	}
}

func TestRefusal(t *testing.T) {
	err := Refuse(1200 * time.Millisecond)
	require.Equal(t, contract.CodeRateLimited, contract.CodeOf(err))
	require.Contains(t, err.Error(), "2 s")
	require.Equal(t, 1, Seconds(0))
}
