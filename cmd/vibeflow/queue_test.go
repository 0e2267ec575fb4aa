package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
)

func TestInLine(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	in := func(low, high time.Duration) apigen.Job {
		return apigen.Job{QueuePosition: 3, ExpectedStart: apigen.ExpectedStart{Earliest: now.Add(low), Latest: now.Add(high)}}
	}
	for want, job := range map[string]apigen.Job{
		"":                                   {},
		" (number 3 in line, start unknown)": {QueuePosition: 3},
		" (number 3 in line, starts at any moment)":  in(-time.Minute, 10*time.Second),
		" (number 3 in line, starts in 0–5 min)":     in(-time.Minute, 5*time.Minute),
		" (number 3 in line, starts in 5–13 min)":    in(5*time.Minute, 12*time.Minute+time.Second),
		" (number 3 in line, starts in about 5 min)": in(5*time.Minute, 5*time.Minute),
		" (number 3 in line, starts in 1–3 h)":       in(100*time.Minute, 150*time.Minute),
		" (number 3 in line, starts in 1–4 days)":    in(30*time.Hour, 80*time.Hour),
	} {
		require.Equal(t, want, inLine(job, now))
	}
}
