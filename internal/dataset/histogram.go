package dataset

import "github.com/vibeflow/vibeflow/internal/histogram"

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

func lengthsOf(h *histogram.Histogram) Lengths {
	out := Lengths{Count: h.Count(), Min: h.Min(), Max: h.Max(), Total: h.Sum(), EstimatedTokens: (h.Sum() + 3) / 4, Buckets: bucketsOf(h)}
	if out.Count > 0 {
		out.Mean = float64(out.Total) / float64(out.Count)
		out.P50, out.P90, out.P95, out.P99 = h.Quantile(.5), h.Quantile(.9), h.Quantile(.95), h.Quantile(.99)
	}
	return out
}

func bucketsOf(h *histogram.Histogram) []Bucket {
	from, counts := h.Octaves()
	out := []Bucket{}
	for _, count := range counts {
		to := max(2*from-1, from) // the first two hold one length each
		out = append(out, Bucket{From: from, To: to, Count: count})
		from = to + 1
	}
	return out
}
