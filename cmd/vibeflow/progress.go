package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/vibeflow/vibeflow/contract"
)

// line shows one step's progress: a bar that is redrawn on a terminal, a plain line now and then elsewhere.
type line struct {
	w        io.Writer
	quiet    bool
	terminal bool
	started  time.Time
	lastDraw time.Time
	label    string // of the last draw
	lastText string
	width    int
	columns  int // of the terminal, 0: unknown
}

const (
	redrawEvery = 100 * time.Millisecond
	plainEvery  = 5 * time.Second
	barWidth    = 24
	narrowBar   = 8
	roomy       = 110 // columns
)

func (a *app) line() *line {
	l := &line{w: a.err, quiet: a.quiet, started: time.Now()}
	if file, isFile := a.err.(*os.File); isFile && term.IsTerminal(int(file.Fd())) {
		l.terminal = true
		l.columns, _, _ = term.GetSize(int(file.Fd())) // unknown is fine: nothing is cut then
	}
	a.settle()
	a.drawn = l
	return l
}

// update shows done of total (total 0: no bar) and what is going on.
func (l *line) update(label string, done, total float64, note string) {
	every := plainEvery
	if l.terminal {
		every = redrawEvery
	}
	text := label
	if total > 0 {
		share := min(done/total, 1)
		if l.terminal {
			text += " " + bar(share, l.columns)
		}
		text += fmt.Sprintf(" %3.0f %%", 100*share)
	}
	if note != "" {
		text += "  " + note
	}
	if l.quiet || text == l.lastText || (!l.terminal && text == label) {
		return
	}
	if label == l.label && time.Since(l.lastDraw) < every { // another label is news, however soon it comes
		return
	}
	l.lastDraw, l.label, l.lastText = time.Now(), label, text
	if !l.terminal {
		_, _ = fmt.Fprintln(l.w, "  "+text)
		return
	}
	l.redraw(l.fitting("  " + text))
}

// bar is shorter where a line is short: how far it is also stands in numbers, which must not be cut.
func bar(share float64, columns int) string {
	width := barWidth
	if columns > 0 && columns < roomy {
		width = narrowBar
	}
	filled := int(share * float64(width))
	return "[" + strings.Repeat("█", filled) + strings.Repeat("░", width-filled) + "]"
}

// clear takes the line back, on a terminal; elsewhere every line stays.
func (l *line) clear() {
	if l.terminal && l.width > 0 {
		_, _ = fmt.Fprint(l.w, "\r\x1b[K") // with the ^C that the terminal may have added
		l.width = 0
	}
}

// fitting cuts what a redraw could not take back: a line that wraps leaves its first part standing.
func (l *line) fitting(text string) string {
	if runes := []rune(text); l.columns > 1 && len(runes) >= l.columns {
		return string(runes[:l.columns-2]) + "…"
	}
	return text
}

// remark leaves a line of its own between redraws.
func (l *line) remark(text string) {
	if l.quiet {
		return
	}
	if l.terminal {
		l.redraw("! " + text)
		_, _ = fmt.Fprintln(l.w)
		l.width = 0
		return
	}
	_, _ = fmt.Fprintln(l.w, "! "+text)
}

// done ends the step with one line that stays: what, how it went and how long it took.
func (l *line) done(label, result string) { l.end("✓", label, result) }

// end is done with another mark, for a step that did not come to its end.
func (l *line) end(mark, label, result string) {
	if l.quiet {
		return
	}
	text := fmt.Sprintf("%s %-12s %s (%s)", mark, label, result, seconds(time.Since(l.started)))
	if l.terminal {
		l.redraw(text)
		_, _ = fmt.Fprintln(l.w)
		l.width = 0
		return
	}
	_, _ = fmt.Fprintln(l.w, text)
}

func (l *line) redraw(text string) {
	runes := len([]rune(text))
	pad := max(l.width-runes, 0)
	l.width = runes
	_, _ = fmt.Fprint(l.w, "\r"+text+strings.Repeat(" ", pad))
}

// seconds says a duration as people do: "0.4 s", "12 s", "3 min 5 s", "2 h 10 min".
func seconds(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
}

// left is the time to come as events and the API tell it; without Seconds nobody knows yet, and an older runner tells no
// range.
type left struct {
	Seconds *float64 `json:"eta_seconds"`
	Low     float64  `json:"eta_low_seconds"`
	High    float64  `json:"eta_high_seconds"`
}

// String says it no more precisely than it is known.
func (l left) String() string {
	whole := func(n int) string { return fmt.Sprint(n) }
	switch {
	case l.Seconds == nil:
		return "estimating…"
	case *l.Seconds <= 0:
		return ""
	case l.High <= 0:
		return "about " + seconds(time.Duration(*l.Seconds*float64(time.Second))) + " left"
	case l.High < 10:
		return "a few seconds left"
	case l.High < 60:
		return span(l.Low, l.High, 5, whole, "s")
	case l.High < 3600:
		return span(l.Low/60, l.High/60, 1, whole, "min")
	case l.High < 10*3600:
		return span(l.Low/60, l.High/60, 10, func(n int) string { return fmt.Sprintf("%d:%02d", n/60, n%60) }, "h")
	default:
		return span(l.Low/3600, l.High/3600, 1, whole, "h")
	}
}

// span says a range in whole steps, rounded outwards; one that is no wider than a step is one number.
func span(low, high float64, step int, say func(int) string, unit string) string {
	from, to := int(low)/step*step, int(math.Ceil(high/float64(step)))*step
	switch {
	case from == 0:
		return fmt.Sprintf("under %s %s left", say(to), unit)
	case to-from <= step:
		return fmt.Sprintf("about %s %s left", say(int(math.Round((low+high)/2/float64(step)))*step), unit)
	default:
		return fmt.Sprintf("%s–%s %s left", say(from), say(to), unit)
	}
}

// phaseText says a runner's phase (contract.Progress) as people do.
func phaseText(phase string) string {
	if text := phases[phase]; text != "" {
		return text
	}
	return phase
}

var phases = map[string]string{
	contract.PhaseHeldOutLoss: "held-out loss",
	"loss_base":               "loss of the base",
	"loss_tuned":              "loss of the tuned model",
	"answers_base":            "answers of the base",
	"answers_tuned":           "answers of the tuned model",
}
