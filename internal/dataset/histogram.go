package dataset

import (
	"math"
	"math/bits"
)

// histogram counts non-negative lengths in logarithmic buckets: exact below 32, then 16 a power of two, so that a
// quantile is off by at most 3 %.
type histogram struct {
	counts   [32 + 60*16]int64
	n, sum   int64
	min, max int64
}

func (h *histogram) add(length int) {
	v := int64(length)
	if h.n == 0 || v < h.min {
		h.min = v
	}
	h.max = max(h.max, v)
	h.n++
	h.sum += v
	h.counts[bucketOf(v)]++
}

func bucketOf(v int64) int {
	if v < 32 {
		return int(v)
	}
	exp := bits.Len64(uint64(v)) - 1
	return 32 + (exp-5)*16 + int(v>>(exp-4))&15
}

// bucketRange is the inverse of bucketOf: the smallest and the largest value of a bucket.
func bucketRange(bucket int) (low, high int64) {
	if bucket < 32 {
		return int64(bucket), int64(bucket)
	}
	exp := (bucket-32)/16 + 5
	width := int64(1) << (exp - 4)
	low = int64(1)<<exp + int64((bucket-32)%16)*width
	return low, low + width - 1
}

// quantile returns the value below which the share q of the lengths lies.
func (h *histogram) quantile(q float64) int64 {
	rank := int64(math.Ceil(q * float64(h.n)))
	seen := int64(0)
	for bucket, count := range h.counts {
		if seen += count; seen >= rank && count > 0 {
			low, high := bucketRange(bucket)
			return min(max((low+high)/2, h.min), h.max)
		}
	}
	return h.max
}

// Lengths describes the lengths of texts in characters (Unicode code points).
type Lengths struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	Min   int64   `json:"min"`
	P50   int64   `json:"p50"` // quantiles are off by at most 3 %
	P90   int64   `json:"p90"`
	P95   int64   `json:"p95"`
	P99   int64   `json:"p99"`
	Max   int64   `json:"max"`
	Total int64   `json:"total"`
	// EstimatedTokens is Total / 4: a rule of thumb for English. The runner's `inspect` counts real tokens.
	EstimatedTokens int64 `json:"estimated_tokens"`
	// Buckets double in width: 0, 1, 2–3, 4–7, 8–15, …; from the first to the last that is not empty.
	Buckets []Bucket `json:"buckets"`
}

// Bucket counts the rows whose length lies in [From, To].
type Bucket struct {
	From  int64 `json:"from"`
	To    int64 `json:"to"`
	Count int64 `json:"count"`
}

func (h *histogram) lengths() Lengths {
	out := Lengths{Count: h.n, Min: h.min, Max: h.max, Total: h.sum, EstimatedTokens: (h.sum + 3) / 4, Buckets: h.buckets()}
	if h.n > 0 {
		out.Mean = float64(h.sum) / float64(h.n)
		out.P50, out.P90, out.P95, out.P99 = h.quantile(.5), h.quantile(.9), h.quantile(.95), h.quantile(.99)
	}
	return out
}

func (h *histogram) buckets() []Bucket {
	var octaves [64]int64
	lowest, highest := len(octaves), -1
	for bucket, count := range h.counts {
		if count == 0 {
			continue
		}
		low, _ := bucketRange(bucket)
		octave := bits.Len64(uint64(low))
		octaves[octave] += count
		lowest, highest = min(lowest, octave), max(highest, octave)
	}
	out := []Bucket{}
	for octave := lowest; octave <= highest; octave++ {
		from := int64(1) << octave >> 1
		out = append(out, Bucket{From: from, To: max(0, int64(1)<<octave-1), Count: octaves[octave]})
	}
	return out
}
