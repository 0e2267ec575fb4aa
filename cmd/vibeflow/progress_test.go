package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheTimeLeftIsSaidNoMorePreciselyThanItIsKnown(t *testing.T) {
	t.Parallel()
	known := func(seconds, low, high float64) left { return left{&seconds, low, high} }
	for _, c := range []struct {
		left left
		want string
	}{
		{left{}, "estimating…"},
		{known(0, 0, 0), ""},
		{known(95, 0, 0), "about 1 min 35 s left"}, // of a runner that told no range
		{known(4, 3, 6), "a few seconds left"},
		{known(30, 22, 41), "20–45 s left"},
		{known(30, 28, 33), "25–35 s left"},
		{known(70, 50, 90), "under 2 min left"},
		{known(200, 185, 230), "about 3 min left"},
		{known(400, 250, 600), "4–10 min left"},
		{known(5400, 4900, 6100), "1:20–1:50 h left"},
		{known(90000, 80000, 100000), "22–28 h left"},
	} {
		require.Equal(t, c.want, c.left.String(), "%+v", c.left)
	}
}
