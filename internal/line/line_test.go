package line

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/vibeflow/vibeflow/contract"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func waiting(id, project string, minute int) Run {
	return Run{ID: id, ProjectID: project, Status: contract.StatusQueued, QueuedAt: noon.Add(time.Duration(minute) * time.Minute)}
}

func holding(id, project string) Run {
	return Run{ID: id, ProjectID: project, Status: contract.StatusRunning, Turn: true}
}

func ids(runs []Run) (names []string) {
	for _, r := range runs {
		names = append(names, r.ID)
	}
	return names
}

func TestOrder(t *testing.T) {
	t.Parallel()
	resumed := waiting("b9", "b", 9)
	resumed.Resumed = true
	high, low := waiting("a9", "a", 9), waiting("a0", "a", 0)
	high.Priority, low.Priority = contract.PriorityHigh, contract.PriorityLow
	for name, c := range map[string]struct {
		runs   []Run
		served map[string]time.Time
		want   []string
	}{
		"one project, by arrival":                   {[]Run{waiting("a2", "a", 2), waiting("a1", "a", 1)}, nil, []string{"a1", "a2"}},
		"projects take turns":                       {[]Run{waiting("a1", "a", 1), waiting("a2", "a", 2), waiting("a3", "a", 3), waiting("b4", "b", 4), waiting("b5", "b", 5)}, nil, []string{"a1", "b4", "a2", "b5", "a3"}},
		"the one served longest ago begins":         {[]Run{waiting("a1", "a", 1), waiting("a2", "a", 2), waiting("b4", "b", 4)}, map[string]time.Time{"a": noon}, []string{"b4", "a1", "a2"}},
		"the one that holds less begins":            {[]Run{holding("a0", "a"), waiting("a1", "a", 1), waiting("b4", "b", 4)}, map[string]time.Time{"b": noon}, []string{"b4", "a1"}},
		"a resumed run goes first":                  {[]Run{waiting("a1", "a", 1), resumed}, nil, []string{"b9", "a1"}},
		"priorities count within a project":         {[]Run{low, waiting("a1", "a", 1), high}, nil, []string{"a9", "a1", "a0"}},
		"and give a project no more turns":          {[]Run{high, waiting("b1", "b", 1), waiting("b2", "b", 2)}, nil, []string{"b1", "a9", "b2"}},
		"one whose turn has come waits no more":     {[]Run{{ID: "a0", ProjectID: "a", Status: contract.StatusQueued, Turn: true}, waiting("a1", "a", 1)}, nil, []string{"a1"}},
		"runs that came together, always the same ": {[]Run{waiting("a2", "a", 1), waiting("a1", "a", 1)}, nil, []string{"a1", "a2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, ids(Line{Slots: 1, Runs: c.runs, Served: c.served}.Waiting()))
		})
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	two := []Run{waiting("a1", "a", 1), waiting("a2", "a", 2)}
	require.Equal(t, []string{"a1"}, ids(Line{Runs: two}.Next()), "without a machine one stands ready")
	require.Equal(t, []string{"a1"}, ids(Line{Slots: 1, Runs: two}.Next()))
	require.Equal(t, []string{"a1", "a2"}, ids(Line{Slots: 5, Runs: two}.Next()))
	require.Empty(t, Line{Slots: 1, Runs: append(two, holding("b", "b"))}.Next())
	require.Empty(t, Line{Slots: 1, Runs: append(two, holding("b", "b"), holding("c", "b"))}.Next(), "a machine has left")
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	in := func(low, high int) Span {
		return Span{noon.Add(time.Duration(low) * time.Minute), noon.Add(time.Duration(high) * time.Minute)}
	}
	running := holding("r", "a")
	running.Ends = in(10, 20)
	next, last := waiting("a1", "a", 1), waiting("a2", "a", 2)
	next.Lasts = Duration{30 * time.Minute, time.Hour}

	one := Line{Slots: 1, Runs: []Run{running, next, last}}
	require.Equal(t, map[string]Place{"a1": {1, in(10, 20)}, "a2": {2, in(40, 80)}}, one.Places(noon))

	two := Line{Slots: 2, Runs: []Run{running, next, last}}
	require.Equal(t, map[string]Place{"a1": {1, in(0, 0)}, "a2": {2, in(10, 20)}}, two.Places(noon))

	running.Ends = in(-20, -10)
	overdue := Line{Slots: 1, Runs: []Run{running, next, last}}
	require.Equal(t, map[string]Place{"a1": {1, in(0, 0)}, "a2": {2, in(30, 60)}}, overdue.Places(noon))

	t.Run("what goes before is not known", func(t *testing.T) {
		t.Parallel()
		unknown := Line{Slots: 1, Runs: []Run{holding("r", "a"), next, last}}
		require.Equal(t, map[string]Place{"a1": {1, Span{}}, "a2": {2, Span{}}}, unknown.Places(noon))
		next := next
		next.Lasts = Duration{}
		then := Line{Slots: 1, Runs: []Run{next, last}}
		require.Equal(t, map[string]Place{"a1": {1, in(0, 0)}, "a2": {2, Span{}}}, then.Places(noon))
	})
	t.Run("no machine", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, map[string]Place{"a1": {1, Span{}}}, Line{Runs: []Run{next}}.Places(noon))
	})
	t.Run("its turn has come", func(t *testing.T) {
		t.Parallel()
		called := next
		called.Turn = true
		require.Equal(t, map[string]Place{"a1": {1, in(0, 0)}, "a2": {2, in(30, 60)}}, Line{Slots: 1, Runs: []Run{called, last}}.Places(noon))
	})
}

// TestNobodyStarves lets turns be taken one by one while runs come at random, and checks that no project waits for more
// turns than there are others, that a project's runs of one priority keep their order, and that the order foretold is the
// one that comes when nobody joins.
func TestNobodyStarves(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l, clock, arrivals := Line{Slots: 1, Served: map[string]time.Time{}}, noon, 0
		passed := map[string]int{}
		newest := map[string]time.Time{} // of the last turn, by project and priority
		t.Repeat(map[string]func(*rapid.T){
			"arrive": func(t *rapid.T) {
				arrivals++
				clock = clock.Add(time.Second)
				l.Runs = append(l.Runs, Run{
					ID: fmt.Sprint("run", arrivals), ProjectID: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "project"),
					Priority: rapid.SampledFrom([]contract.Priority{"low", "normal", "high"}).Draw(t, "priority"), QueuedAt: clock,
				})
			},
			"turn": func(t *rapid.T) {
				next := l.Next()
				if len(l.Runs) == 0 {
					t.Skip("nobody waits")
				}
				require.Len(t, next, 1)
				run := next[0]
				key := run.ProjectID + string(run.Priority)
				require.True(t, newest[key].Before(run.QueuedAt), "a project's own order")
				newest[key] = run.QueuedAt
				foretold := ids(l.Waiting())
				clock = clock.Add(time.Second)
				l.Served[run.ProjectID] = clock
				rest := l.Runs[:0:0]
				waits := map[string]bool{}
				for _, r := range l.Runs {
					if r.ID != run.ID {
						rest = append(rest, r)
						waits[r.ProjectID] = true
					}
				}
				l.Runs = rest
				require.Equal(t, foretold[1:], append([]string{}, ids(l.Waiting())...), "what was foretold")
				for _, p := range []string{"a", "b", "c", "d"} {
					if passed[p]++; p == run.ProjectID || !waits[p] {
						passed[p] = 0
					}
					require.LessOrEqual(t, passed[p], 3, "project %s waits while others take turns", p)
				}
			},
		})
	})
}
