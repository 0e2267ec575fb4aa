//go:build unix

package chaos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRecoveryIsOverTheRounds(t *testing.T) {
	var c Cell
	c.recovered(2 * time.Second)
	require.Equal(t, Recovery{Median: 2, P95: 2, Max: 2}, c.Recovery)
	for seconds := 20; seconds > 0; seconds-- {
		if seconds != 2 {
			c.recovered(time.Duration(seconds) * time.Second)
		}
	}
	require.Equal(t, Recovery{Median: 11, P95: 19, Max: 20}, c.Recovery)
}

func TestACellPassesOnlyWhole(t *testing.T) {
	whole := Cell{Rounds: 2, Finished: 2, Exact: 2}
	require.True(t, whole.Passed())
	for name, spoil := range map[string]func(*Cell){
		"unfinished": func(c *Cell) { c.Finished = 1 },
		"inexact":    func(c *Cell) { c.Exact = 1 },
		"helped":     func(c *Cell) { c.Manual = 1 },
		"gap":        func(c *Cell) { c.EventsMissing = 1 },
		"repeated":   func(c *Cell) { c.EventsTwice = 1 },
		"orphan":     func(c *Cell) { c.Orphans = 1 },
		"slot":       func(c *Cell) { c.SlotsLeaked = 1 },
		"problem":    func(c *Cell) { c.Problems = []string{"31 steps were trained again"} },
	} {
		t.Run(name, func(t *testing.T) {
			spoilt := whole
			spoil(&spoilt)
			require.False(t, spoilt.Passed())
			report := Report{Cells: []Cell{whole, spoilt}}
			require.False(t, report.Passed())
		})
	}
	require.False(t, (&Report{Cells: []Cell{whole}, LeftBehind: 1}).Passed())
}
