package histogram

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestQuantilesAreCloseToExact(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	var exact []int64
	for range 20_000 {
		v := int64(random.ExpFloat64() * 900)
		h.Add(v)
		exact = append(exact, v)
	}
	slices.Sort(exact)
	for _, q := range []float64{.01, .5, .9, .95, .99, 1} {
		want := exact[int(q*float64(len(exact)))-1]
		require.InEpsilon(t, want+1, h.Quantile(q)+1, 0.035, q)
	}
	_, counts := h.Octaves()
	total := int64(0)
	for _, count := range counts {
		total += count
	}
	require.Equal(t, int64(20_000), total)
}

func TestBucketsCoverEveryValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Int64Range(0, math.MaxInt64).Draw(t, "v")
		bucket := bucketOf(v)
		low, high := bucketRange(bucket)
		require.True(t, low <= v && v <= high, "%d in [%d, %d]", v, low, high)
		require.Less(t, bucket, buckets)
	})
}

// TestMergedIsAsIfCountedTogether, also by way of the stored form.
func TestMergedIsAsIfCountedTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOf(rapid.Int64Range(0, 1<<40))
		var both, left, right Histogram
		for _, v := range values.Draw(t, "left") {
			left.Add(v)
			both.Add(v)
		}
		for _, v := range values.Draw(t, "right") {
			right.Add(v)
			both.Add(v)
		}
		stored, err := Parse(right.Bytes())
		require.NoError(t, err)
		left.Merge(stored)
		require.Equal(t, both, left)
	})
}

func TestADamagedFormIsRefused(t *testing.T) {
	var h Histogram
	h.Add(7)
	h.Add(70_000)
	whole := h.Bytes()
	_, err := Parse(whole[:len(whole)-1])
	require.Error(t, err)
	_, err = Parse(append(slices.Clone(whole), 0xff, 0xff, 0x7f, 1))
	require.Error(t, err)
}
