// Package line decides who goes next where many runs wait for few slots, and foretells when.
//
// Turns go around: the project that holds the fewest slots goes first, among equals the one whose last turn was longest
// ago. So a project with a hundred waiting runs takes every second turn of a project with one, whatever their priorities.
// Within a project the priority decides, then the time of arrival. Runs that have held a slot before (resumed ones) go
// before all others, in the order of their arrival: what they have learnt is waiting.
package line

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

// Run is one that waits in line or holds a slot.
type Run struct {
	ID        string
	Kind      contract.Kind
	ProjectID string
	Queue     string
	Status    contract.Status
	Resumed   bool // it has held a slot before
	Priority  contract.Priority
	QueuedAt  time.Time
	// Turn says that its turn has come: it holds a slot or is about to.
	Turn bool
	// Ends is when it should be over, if it holds a slot; Lasts is how long it should take once it does.
	Ends  Span
	Lasts Duration
}

// Span is a range of time; the zero value is one that nobody knows.
type Span struct{ Earliest, Latest time.Time }

// Known tells whether there is a basis for it.
func (s Span) Known() bool { return !s.Latest.IsZero() }

// Duration is a range of seconds; the zero value is one that nobody knows.
type Duration struct{ Low, High time.Duration }

// Known tells whether there is a basis for it.
func (d Duration) Known() bool { return d.High > 0 }

// Line is what stands before the slots of one queue. Served tells when each project had its last turn.
type Line struct {
	Slots  int
	Runs   []Run
	Served map[string]time.Time
}

// Next are the waiting runs whose turn it is: as many as there are free slots, and at least one where nothing holds any,
// for a machine may be on its way.
func (l Line) Next() []Run {
	waiting := l.Waiting()
	free := max(l.Slots, 1) - (len(l.Runs) - len(waiting))
	return waiting[:min(max(free, 0), len(waiting))]
}

// Waiting are the runs whose turn has not come, in the order in which it will if nobody joins or leaves.
func (l Line) Waiting() []Run {
	turns := map[string]int{} // by project, held or given below
	var resumed []Run
	projects := map[string][]Run{}
	for _, r := range l.Runs {
		switch {
		case r.Turn:
			turns[r.ProjectID]++
		case r.Resumed:
			resumed = append(resumed, r)
		default:
			projects[r.ProjectID] = append(projects[r.ProjectID], r)
		}
	}
	slices.SortFunc(resumed, byArrival)
	for _, runs := range projects {
		slices.SortFunc(runs, byPriority)
	}
	return append(resumed, l.around(projects, turns)...)
}

// around takes from each project in turn.
func (l Line) around(projects map[string][]Run, turns map[string]int) (order []Run) {
	served := maps.Clone(l.Served)
	if served == nil {
		served = map[string]time.Time{}
	}
	for len(projects) > 0 {
		next := ""
		for id := range projects {
			if next == "" || before(projects[id][0], projects[next][0], turns, served) {
				next = id
			}
		}
		order = append(order, projects[next][0])
		turns[next]++
		served[next] = endOfTime.Add(time.Duration(len(order))) // after all that have been
		if projects[next] = projects[next][1:]; len(projects[next]) == 0 {
			delete(projects, next)
		}
	}
	return order
}

// endOfTime is later than any turn that was.
var endOfTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// before compares the first runs of two projects.
func before(a, b Run, turns map[string]int, served map[string]time.Time) bool {
	if c := cmp.Or(cmp.Compare(turns[a.ProjectID], turns[b.ProjectID]), served[a.ProjectID].Compare(served[b.ProjectID])); c != 0 {
		return c < 0
	}
	return byArrival(a, b) < 0
}

func byArrival(a, b Run) int {
	return cmp.Or(a.QueuedAt.Compare(b.QueuedAt), cmp.Compare(a.ID, b.ID))
}

func byPriority(a, b Run) int {
	return cmp.Or(cmp.Compare(b.Priority.Rank(), a.Priority.Rank()), byArrival(a, b))
}

// Place is where a run that has not begun stands, from 1 on, and when it should begin; Starts is not known where what
// goes before it is not.
type Place struct {
	Position int
	Starts   Span
}

// Places gives each run that has not begun its place, as of now.
func (l Line) Places(now time.Time) map[string]Place {
	places := map[string]Place{}
	early, late := newSlots(l.Slots, now), newSlots(l.Slots, now)
	var called []Run // their turn has come, and no machine has taken them yet
	for _, r := range l.Runs {
		switch {
		case r.Turn && r.Status == contract.StatusQueued:
			called = append(called, r)
		case r.Turn:
			early.hold(r.Ends.Known(), r.Ends.Earliest)
			late.hold(r.Ends.Known(), r.Ends.Latest)
		}
	}
	slices.SortFunc(called, byArrival)
	for _, r := range append(called, l.Waiting()...) {
		place := Place{Position: len(places) + 1}
		from, _ := early.take(r.Lasts.Known(), r.Lasts.Low)
		if until, known := late.take(r.Lasts.Known(), r.Lasts.High); known {
			place.Starts = Span{from, until}
		}
		places[r.ID] = place
	}
	return places
}

// slots are the moments from which each slot is free. A slot that is held nobody knows how long is never free.
type slots struct {
	now  time.Time
	free []time.Time
	// unknown counts the slots that are held for an unknown time.
	unknown int
}

func newSlots(n int, now time.Time) *slots {
	return &slots{now: now, free: slices.Repeat([]time.Time{now}, n)}
}

// hold occupies a free slot until a moment.
func (s *slots) hold(known bool, until time.Time) {
	if len(s.free) == 0 {
		return
	}
	first := s.first()
	s.free = slices.Delete(s.free, first, first+1)
	if !known {
		s.unknown++
		return
	}
	if until.Before(s.now) { // overdue: any moment now
		until = s.now
	}
	s.free = append(s.free, until)
}

// take occupies the slot that is free first, from then on; known is false where none will be for all that is known. The
// moment is the present where a slot that is held for an unknown time may be free at any time.
func (s *slots) take(known bool, lasts time.Duration) (from time.Time, ok bool) {
	if len(s.free) == 0 {
		return s.now, false
	}
	from = s.free[s.first()]
	s.hold(known, from.Add(lasts))
	return from, true
}

func (s *slots) first() int {
	first := 0
	for i, at := range s.free {
		if at.Before(s.free[first]) {
			first = i
		}
	}
	return first
}
