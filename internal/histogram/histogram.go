// Package histogram counts non-negative numbers in fixed logarithmic buckets, so that quantiles of any number of them take
// little memory, and two histograms add up to that of both.
package histogram

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
)

// Histogram is exact below 32; above, it has 16 buckets a power of two, so that a quantile is off by at most 3 %. The zero
// value is empty.
type Histogram struct {
	counts      []int64 // by bucket, up to the last that is not empty
	n, sum      int64
	least, most int64
}

// Add counts a value; a negative one counts as 0.
func (h *Histogram) Add(v int64) {
	v = max(v, 0)
	if h.n == 0 || v < h.least {
		h.least = v
	}
	h.most = max(h.most, v)
	h.n++
	h.sum += v
	h.grow(bucketOf(v))
	h.counts[bucketOf(v)]++
}

func (h *Histogram) grow(bucket int) {
	for len(h.counts) <= bucket {
		h.counts = append(h.counts, 0)
	}
}

// Merge adds what another histogram has counted.
func (h *Histogram) Merge(other Histogram) {
	if other.n == 0 {
		return
	}
	if h.n == 0 || other.least < h.least {
		h.least = other.least
	}
	h.most = max(h.most, other.most)
	h.n += other.n
	h.sum += other.sum
	h.grow(len(other.counts) - 1)
	for bucket, count := range other.counts {
		h.counts[bucket] += count
	}
}

// Count is how many values were counted; Sum what they add up to; Min and Max the least and the greatest, 0 of none.
func (h *Histogram) Count() int64 { return h.n }

// Sum is what the values add up to.
func (h *Histogram) Sum() int64 { return h.sum }

// Min is the least value, 0 of none.
func (h *Histogram) Min() int64 { return h.least }

// Max is the greatest value, 0 of none.
func (h *Histogram) Max() int64 { return h.most }

// Quantile returns the value below which the share q (0 to 1) of the values lies; 0 of none.
func (h *Histogram) Quantile(q float64) int64 {
	rank := int64(math.Ceil(q * float64(h.n)))
	seen := int64(0)
	for bucket, count := range h.counts {
		if seen += count; seen >= rank && count > 0 {
			low, high := bucketRange(bucket)
			return min(max((low+high)/2, h.least), h.most)
		}
	}
	return h.most
}

// Octaves are the counts by powers of two: 0, 1, 2–3, 4–7, …, from the first to the last that is not empty. From is the
// least value of the first.
func (h *Histogram) Octaves() (from int64, counts []int64) {
	var octaves [65]int64
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
	if highest < 0 {
		return 0, nil
	}
	return int64(1) << lowest >> 1, octaves[lowest : highest+1]
}

func bucketOf(v int64) int {
	if v < 32 {
		return int(v)
	}
	exp := bits.Len64(uint64(v)) - 1
	return 32 + (exp-5)*16 + int(v>>(exp-4))&15
}

// buckets is how many there can be.
const buckets = 32 + 58*16

// bucketRange is the inverse of bucketOf: the least and the greatest value of a bucket.
func bucketRange(bucket int) (low, high int64) {
	if bucket < 32 {
		return int64(bucket), int64(bucket)
	}
	exp := (bucket-32)/16 + 5
	width := int64(1) << (exp - 4)
	low = int64(1)<<exp + int64((bucket-32)%16)*width
	return low, low + width - 1
}

// Bytes is the histogram as it is stored: of an empty one nothing; else least, most and sum, then each bucket that is not
// empty as its distance from the one before and its count.
func (h *Histogram) Bytes() []byte {
	if h.n == 0 {
		return []byte{}
	}
	out := []byte{}
	for _, v := range []int64{h.least, h.most, h.sum} {
		out = binary.AppendUvarint(out, uint64(v))
	}
	last := 0
	for bucket, count := range h.counts {
		if count > 0 {
			out = binary.AppendUvarint(binary.AppendUvarint(out, uint64(bucket-last)), uint64(count))
			last = bucket
		}
	}
	return out
}

var errDamaged = errors.New("a stored histogram is damaged")

// Parse reads what Bytes has written.
func Parse(data []byte) (Histogram, error) {
	var h Histogram
	if len(data) == 0 {
		return h, nil
	}
	next := func() (int64, bool) {
		v, size := binary.Uvarint(data)
		if size <= 0 || v > math.MaxInt64 {
			return 0, false
		}
		data = data[size:]
		return int64(v), true
	}
	for _, field := range []*int64{&h.least, &h.most, &h.sum} {
		v, ok := next()
		if !ok {
			return Histogram{}, errDamaged
		}
		*field = v
	}
	bucket := 0
	for len(data) > 0 {
		gap, ok := next()
		count, counted := next()
		if !ok || !counted || gap >= buckets || bucket+int(gap) >= buckets {
			return Histogram{}, errDamaged
		}
		bucket += int(gap)
		h.grow(bucket)
		h.counts[bucket] += count
		h.n += count
	}
	return h, nil
}
