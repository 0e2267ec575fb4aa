package runner

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// feel is a row of looks at a pulse, a second apart; it returns the look after which the runner was taken for hung, 0: none.
func feel(looks int, pulse func(look int) pulse, since func(look int) time.Duration) int {
	var s stillness
	for look := 1; look <= looks; look++ {
		if s.feel(pulse(look), since(look)) {
			return look
		}
	}
	return 0
}

func second(int) time.Duration { return time.Second }

func TestAPulse(t *testing.T) {
	t.Parallel()
	still := func(int) pulse { return pulse{Beat: 7, PatienceSeconds: 10} }
	require.Equal(t, 12, feel(30, still, second), "it stands still for longer than its patience")
	beating := func(look int) pulse { return pulse{Beat: int64(look / 9), PatienceSeconds: 10} }
	require.Zero(t, feel(1000, beating, second))
	resting := func(int) pulse { return pulse{Beat: 7} }
	require.Zero(t, feel(1000, resting, second), "what is not a step takes as long as it takes")
	require.Zero(t, feel(1000, func(int) pulse { return pulse{} }, second), "a runner without a pulse")
}

func TestAMachineThatSleptHasNoHungRunner(t *testing.T) {
	t.Parallel()
	still := func(int) pulse { return pulse{Beat: 7, PatienceSeconds: 10} }
	slept := func(look int) time.Duration {
		if look == 3 {
			return 9 * time.Hour
		}
		return time.Second
	}
	require.Zero(t, feel(9, still, slept))
	require.Equal(t, 11, feel(30, still, slept), "the night counts as two seconds")
}
