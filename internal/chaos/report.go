//go:build unix

package chaos

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"
)

// Report is what `vibeflow chaos --json` prints; scripts rely on it.
type Report struct {
	Cells   []Cell    `json:"cells"`
	LeftOut []LeftOut `json:"left_out"`
	// LeftBehind are processes of the data folder that live on after `up` was stopped.
	LeftBehind int `json:"left_behind"`
	// Cores and Seconds are of the machine that was used and of the whole proof.
	Cores   int     `json:"cores"`
	Seconds float64 `json:"seconds"`
}

// Cell is a process that is killed in a stage, over all rounds. It has passed when every round finished exactly, with no
// help, and nothing is missing, told twice or left behind.
type Cell struct {
	Process Target `json:"process"`
	Stage   Stage  `json:"stage"`
	Rounds  int    `json:"rounds"`
	// Finished are rounds that came to their end in the same run; Exact those with the undisturbed result, bit for bit.
	Finished int `json:"finished"`
	Exact    int `json:"exact"`
	// Manual counts help that was needed, beyond a restart of `up` where `up` itself was killed.
	Manual int `json:"manual"`
	// Recovery is the time from the kill to the next trained step, to the next answer of a deployment, or else to the end.
	Recovery Recovery `json:"recovery_s"`
	// StepsLost is the most steps that a round had to train again.
	StepsLost int `json:"steps_lost"`
	// EventsMissing and EventsTwice are of the event stream as a client saw it across the kill.
	EventsMissing int `json:"events_missing"`
	EventsTwice   int `json:"events_twice"`
	// Orphans are processes that nobody owns once all is done; SlotsLeaked is 1 if no run could start any more.
	Orphans     int `json:"orphans"`
	SlotsLeaked int `json:"slots_leaked"`
	// Problems say what went wrong, a line each.
	Problems []string `json:"problems,omitempty"`

	recoveries []time.Duration
}

// Recovery is over the rounds, in seconds; P95 is the nearest of them.
type Recovery struct {
	Median float64 `json:"median"`
	P95    float64 `json:"p95"`
	Max    float64 `json:"max"`
}

// Passed reports whether the promise held.
func (c *Cell) Passed() bool {
	return c.Finished == c.Rounds && c.Exact == c.Rounds && c.Manual+c.EventsMissing+c.EventsTwice+c.Orphans+c.SlotsLeaked == 0 && len(c.Problems) == 0
}

// Passed reports whether the promise held in every cell.
func (r *Report) Passed() bool {
	return r.LeftBehind == 0 && !slices.ContainsFunc(r.Cells, func(c Cell) bool { return !c.Passed() })
}

func (c *Cell) recovered(after time.Duration) {
	c.recoveries = append(c.recoveries, after)
	slices.Sort(c.recoveries)
	last := len(c.recoveries) - 1
	at := func(part float64) float64 { return c.recoveries[int(math.Round(part*float64(last)))].Seconds() }
	c.Recovery = Recovery{Median: at(0.5), P95: at(0.95), Max: at(1)}
}

func (c *Cell) problem(round int, err error) {
	c.Problems = append(c.Problems, fmt.Sprintf("round %d: %v", round, err))
}

// Write prints the report as a table for people.
func (r *Report) Write(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "KILLED\tWHILE\tROUNDS\tFINISHED\tEXACT\tRECOVERY\tSTEPS LOST\tEVENTS\tORPHANS\tSLOTS\t")
	for _, c := range r.Cells {
		verdict := "✓"
		if !c.Passed() {
			verdict = "✗"
		}
		events := "whole"
		if c.EventsMissing+c.EventsTwice > 0 {
			events = fmt.Sprintf("%d missing, %d twice", c.EventsMissing, c.EventsTwice)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%.1f s (most %.1f)\t%d\t%s\t%d\t%d\t%s\n", c.Process, c.Stage, c.Rounds, c.Finished, c.Exact,
			c.Recovery.Median, c.Recovery.Max, c.StepsLost, events, c.Orphans, c.SlotsLeaked, verdict)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, c := range r.Cells {
		for _, problem := range c.Problems {
			_, _ = fmt.Fprintf(w, "%s, %s: %s\n", c.Process, c.Stage, problem)
		}
	}
	for _, l := range r.LeftOut {
		_, _ = fmt.Fprintf(w, "left out: %s, %s (%s)\n", l.Process, l.Stage, l.Why)
	}
	_, err := fmt.Fprintf(w, "%d cells in %s on %d cores\n", len(r.Cells), time.Duration(r.Seconds*float64(time.Second)).Round(time.Second), r.Cores)
	return err
}
