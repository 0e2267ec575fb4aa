package dataset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/vibeflow/vibeflow/internal/histogram"
)

// Options of an inspection.
type Options struct {
	Mapping Mapping
	// TextChunkChars as in ProcessOptions; it only decides how many examples a text file is said to give.
	TextChunkChars int
}

// Profile is what a pass over every row has found. It is JSON for the database and the API, and small: it does not grow
// with the file.
type Profile struct {
	Version int    `json:"version"` // 1
	Name    string `json:"name"`
	Bytes   int64  `json:"bytes"`
	Detection
	// Unused are columns that play no role and are left out.
	Unused []string `json:"unused"`

	Rows        int64 `json:"rows"`
	ValidRows   int64 `json:"valid_rows"`
	InvalidRows int64 `json:"invalid_rows"` // left out at processing
	// Examples is how many rows processing would write before filters: ValidRows, more where texts are cut.
	Examples int64 `json:"examples"`

	Columns    []Column   `json:"columns"`
	Prompt     Lengths    `json:"prompt"`     // of valid rows: what is asked (system, user and tool turns)
	Completion Lengths    `json:"completion"` // what is learnt (assistant turns, the chosen answer, all of a text)
	Total      Lengths    `json:"total"`
	Turns      []Bucket   `json:"turns"` // conversations by number of turns; the last bucket is open; empty for other forms
	Duplicates Duplicates `json:"duplicates"`
	Issues     Issues     `json:"issues"`
	Preview    []Preview  `json:"preview"` // the first 20 rows, long texts cut
	Notes      []string   `json:"notes"`   // what a person should know, in sentences
}

// Column describes a column of the file.
type Column struct {
	Name      string           `json:"name"`
	Role      Role             `json:"role,omitempty"`
	Types     map[string]int64 `json:"types"` // rows by type: text, a number, a list, …; missing is null
	Nulls     int64            `json:"nulls"` // null or missing
	NullShare float64          `json:"null_share"`
	Empties   int64            `json:"empties"`    // texts of white space only, empty lists and objects
	MeanChars float64          `json:"mean_chars"` // of texts
	MaxChars  int64            `json:"max_chars"`
}

// Duplicates counts valid rows that say the same as an earlier one, differences in white space aside.
type Duplicates struct {
	Rows        int64 `json:"rows"`
	Distinct    int64 `json:"distinct"`
	Approximate bool  `json:"approximate"` // beyond three million distinct rows: within about 0.1 %
}

// Preview is one row as it stands and as it will be trained on.
type Preview struct {
	Row       int64           `json:"row"`
	Line      int64           `json:"line,omitempty"`
	Raw       json.RawMessage `json:"raw"`
	Canonical json.RawMessage `json:"canonical"` // null if the row is invalid
	Issues    []Issue         `json:"issues"`
}

const (
	previewRows      = 20
	previewTextBytes = 2000
	maxColumnsShown  = 256
	maxTurnsShown    = 32
)

// Inspect reads every row once: detects, validates and measures. Memory does not grow with the file.
//
// Errors: CodeBadData for a file that is broken (with line and column where they are known), whose columns no format has,
// or that has too few valid rows. In these last two cases a profile comes with the error, so that columns and rows can be
// shown; without counts where the columns are not understood.
// CodeInvalid for a mapping that does not fit.
func (f *File) Inspect(ctx context.Context, options Options, progress Progress) (*Profile, error) {
	return decoded(ctx, f, func() (*Profile, error) { return f.inspect(ctx, options, progress) })
}

func (f *File) inspect(ctx context.Context, options Options, progress Progress) (*Profile, error) {
	l, err := f.layout(ctx, options.Mapping)
	if err != nil {
		return f.unread(ctx, l), err
	}
	in := newInspector(l, options.TextChunkChars)
	at := Position{Pass: 1, Passes: 1}
	err = f.each(ctx, at, func(p Position) {
		in.bytes = p.Bytes
		if progress != nil {
			progress(p)
		}
	}, in.visit)
	if err != nil {
		return nil, err
	}
	profile := in.profile(f)
	return profile, judge(profile.Rows, profile.InvalidRows, profile.Examples, in.log)
}

// unread is a profile without counts, of a file whose rows can be read while nobody knows what its columns mean: their
// names, and the first rows. It is nil where not even that is known.
func (f *File) unread(ctx context.Context, l *layout) *Profile {
	if l == nil || len(l.sampled) == 0 {
		return nil
	}
	p := &Profile{Version: 1, Name: f.Name, Unused: []string{}, Turns: []Bucket{}, Notes: f.notes()}
	for _, name := range l.sampled[:min(len(l.sampled), maxColumnsShown)] {
		p.Columns = append(p.Columns, Column{Name: name, Types: map[string]int64{}})
	}
	err := f.each(ctx, Position{Pass: 1, Passes: 1}, nil, func(row *Row) error {
		p.Preview = append(p.Preview, previewOf(row, nil, nil))
		if len(p.Preview) == previewRows {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil
	}
	return p
}

// inspector gathers a Profile.
type inspector struct {
	layout      *layout
	normaliser  *normaliser
	log         *issueLog
	columns     *columnStats
	fingerprint fingerprinter
	distinct    *distinctCounter
	chunkChars  int

	bytes, rows, valid, examples int64
	prompt, completion, total    histogram.Histogram
	turns                        [maxTurnsShown + 1]int64
	preview                      []Preview
}

func newInspector(l *layout, chunkChars int) *inspector {
	if chunkChars <= 0 {
		chunkChars = DefaultTextChunkChars
	}
	return &inspector{
		layout: l, normaliser: newNormaliser(l), log: newIssueLog(), columns: newColumnStats(),
		distinct: newDistinctCounter(), chunkChars: chunkChars,
	}
}

func (in *inspector) visit(row *Row) error {
	in.rows++
	in.columns.add(&row.Value)
	x, issues := in.normaliser.normalise(row)
	for _, issue := range issues {
		in.log.add(issue)
	}
	if len(in.preview) < previewRows {
		in.preview = append(in.preview, previewOf(row, x, issues))
	}
	if x != nil {
		in.measure(x)
	}
	return nil
}

func (in *inspector) measure(x *example) {
	in.valid++
	prompt, completion := x.chars()
	in.prompt.Add(int64(prompt))
	in.completion.Add(int64(completion))
	in.total.Add(int64(prompt + completion))
	in.distinct.add(in.fingerprint.sum(x))
	if x.canonical == CanonicalChat {
		in.turns[min(len(x.messages), maxTurnsShown)]++
	}
	if x.canonical != CanonicalText || completion <= in.chunkChars {
		in.examples++
		return
	}
	_ = chunks(x.text, in.chunkChars, func([]byte) error { in.examples++; return nil })
}

func previewOf(row *Row, x *example, issues []Issue) Preview {
	p := Preview{
		Row: row.Number, Line: row.Line, Raw: row.Value.appendJSON(nil, previewTextBytes),
		Canonical: json.RawMessage("null"), Issues: slices.Clone(issues),
	}
	if p.Issues == nil {
		p.Issues = []Issue{}
	}
	if x != nil {
		p.Canonical = x.appendJSON(nil, previewTextBytes)
	}
	return p
}

func (in *inspector) profile(f *File) *Profile {
	distinct, approximate := in.distinct.estimate()
	p := &Profile{
		Version: 1, Name: f.Name, Bytes: in.bytes, Detection: f.detection(in.layout, in.columns.names),
		Rows: in.rows, ValidRows: in.valid, InvalidRows: in.rows - in.valid, Examples: in.examples,
		Columns: in.columns.report(in.layout, in.rows), Unused: []string{},
		Prompt: lengthsOf(&in.prompt), Completion: lengthsOf(&in.completion), Total: lengthsOf(&in.total),
		Turns:      in.turnBuckets(),
		Duplicates: Duplicates{Rows: max(0, in.valid-distinct), Distinct: min(distinct, in.valid), Approximate: approximate},
		Issues:     in.log.report(), Preview: in.preview,
	}
	for _, c := range p.Columns {
		if c.Role == "" {
			p.Unused = append(p.Unused, c.Name)
		}
	}
	p.Notes = in.notes(p, f.notes())
	return p
}

func (in *inspector) turnBuckets() []Bucket {
	out := []Bucket{}
	for n, count := range in.turns {
		if count > 0 {
			out = append(out, Bucket{From: int64(n), To: int64(n), Count: count})
		}
	}
	return out
}

// notes of the file itself.
func (f *File) notes() []string {
	if note := f.encoding.note(); note != "" {
		return []string{note}
	}
	return []string{}
}

func (in *inspector) notes(p *Profile, notes []string) []string {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if p.Container == Text {
		note("Plain text is read as one document a line.")
	}
	if p.Examples > p.ValidRows {
		note("Documents longer than %d characters are cut at paragraphs, lines, sentences or words: rows %d, examples %d.",
			in.chunkChars, p.ValidRows, p.Examples)
	}
	if p.Canonical == CanonicalPreference {
		note("Preference pairs can be inspected and processed, but training on them is not available yet.")
	}
	if len(in.columns.names) >= maxColumnsShown {
		note("Only the first %d columns are described.", maxColumnsShown)
	}
	if p.Examples < 50 {
		note("Fewer than 50 examples: enough to try things out, rarely enough to change a model's behaviour.")
	}
	return notes
}

// columnStats gathers the Columns.
type columnStats struct {
	names []string
	by    map[string]*columnCount
}

type columnCount struct {
	kinds   [Binary + 1]int64
	empties int64
	texts   int64
	chars   int64
	most    int64
}

func newColumnStats() *columnStats { return &columnStats{by: map[string]*columnCount{}} }

func (s *columnStats) add(row *Value) {
	if row.Kind != Object {
		return
	}
	for i := range row.Items {
		v := &row.Items[i]
		c := s.by[v.Name]
		if c == nil {
			if len(s.names) >= maxColumnsShown {
				continue
			}
			c = &columnCount{}
			s.by[v.Name] = c
			s.names = append(s.names, v.Name)
		}
		c.add(v)
	}
}

func (c *columnCount) add(v *Value) {
	c.kinds[v.Kind]++
	switch v.Kind {
	case String:
		if blank(v.Text) {
			c.empties++
		}
		n := int64(charCount(v.Text))
		c.texts++
		c.chars += n
		c.most = max(c.most, n)
	case List, Object:
		if len(v.Items) == 0 {
			c.empties++
		}
	}
}

func (s *columnStats) report(l *layout, rows int64) []Column {
	out := []Column{}
	for _, name := range s.names {
		c := s.by[name]
		column := Column{Name: name, Types: map[string]int64{}, Empties: c.empties, MaxChars: c.most, Nulls: rows}
		for kind, n := range c.kinds {
			if n > 0 {
				column.Types[Kind(kind).String()] = n
			}
			if Kind(kind) != Null {
				column.Nulls = max(0, column.Nulls-n)
			}
		}
		if c.texts > 0 {
			column.MeanChars = float64(c.chars) / float64(c.texts)
		}
		column.NullShare = float64(column.Nulls) / float64(rows)
		for role, of := range l.columns {
			if of == name {
				column.Role = role
			}
		}
		out = append(out, column)
	}
	return out
}
