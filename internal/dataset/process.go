package dataset

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"

	"github.com/vibeflow/vibeflow/contract"
)

// ProcessOptions say how rows become a training and an evaluation file.
type ProcessOptions struct {
	Mapping Mapping
	// Deduplicate drops rows that say the same as an earlier one, white space aside. It also guarantees that no
	// evaluation row repeats a training row.
	Deduplicate bool
	Filter      Filter
	Split       Split
	// MaxRows keeps the first so many examples that pass everything else; 0 keeps all.
	MaxRows int64
	// TextChunkChars cuts documents of format text to pieces of at most so many characters; 0 means
	// DefaultTextChunkChars, negative leaves documents whole.
	TextChunkChars int
}

// Filter drops examples by length in characters (prompt and completion together) and turns; 0 does not filter.
type Filter struct {
	MinChars           int
	MaxChars           int
	MinCompletionChars int
	MaxTurns           int
}

// OptionsOf are the options as the API writes them.
func OptionsOf(o contract.ProcessOptions) ProcessOptions {
	mapping := Mapping{}
	for role, column := range o.Mapping {
		mapping[Role(role)] = column
	}
	return ProcessOptions{
		Mapping: mapping, Deduplicate: o.Deduplicate, MaxRows: o.MaxRows, TextChunkChars: o.TextChunkChars,
		Filter: Filter{MinChars: o.MinChars, MaxChars: o.MaxChars, MinCompletionChars: o.MinCompletionChars, MaxTurns: o.MaxTurns},
		Split:  Split{EvalRows: o.EvalRows, EvalShare: o.EvalShare, None: o.NoEval, Seed: o.Seed},
	}
}

// Reasons for which an example is dropped, the keys of Stats.Dropped.
const (
	DroppedInvalid   = "invalid"
	DroppedTooShort  = "too_short"
	DroppedTooLong   = "too_long"
	DroppedTurns     = "too_many_turns"
	DroppedDuplicate = "duplicate"
	DroppedMaxRows   = "over_max_rows"
)

// Stats is what processing has done. Candidates = Train.Rows + Eval.Rows + the sum of Dropped.
type Stats struct {
	Format    Format    `json:"format"`
	Canonical Canonical `json:"canonical"`
	Rows      int64     `json:"rows"` // of the file
	// Candidates are the examples made of the rows: one each, more where texts are cut.
	Candidates int64            `json:"candidates"`
	Train      Output           `json:"train"`
	Eval       Output           `json:"eval"`
	Dropped    map[string]int64 `json:"dropped"`
	// SplitBy says what decided: "default", "rows", "share", "column" or "none".
	SplitBy string `json:"split_by"`
	Seed    int64  `json:"seed"`
	// DuplicatesMissed: there were more than twelve million distinct rows, and repetitions of later ones were kept.
	DuplicatesMissed bool `json:"duplicates_missed,omitempty"`
}

// Output is a file that was written.
type Output struct {
	Rows   int64  `json:"rows"`
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// Process writes the canonical rows as JSON Lines, in file order: the evaluation rows to eval, the others to train. It
// reads the file twice, first to decide and then to write. The same file, options and seed give the same bytes.
//
// Errors are those of Inspect, and CodeInvalid for options that cannot be met (the field is named).
func (f *File) Process(ctx context.Context, options ProcessOptions, train, eval io.Writer, progress Progress) (*Stats, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	var l *layout
	plan, err := decoded(ctx, f, func() (_ *splitPlan, err error) {
		if l, err = f.layout(ctx, options.Mapping); err != nil {
			return nil, err
		}
		return f.plan(ctx, l, options, progress)
	})
	if err != nil {
		return nil, err
	}
	return f.write(ctx, l, options, plan, newOutput(train), newOutput(eval), progress)
}

// Validate refuses (CodeInvalid) what no file could be processed with, naming the field as the API does.
func (o *ProcessOptions) Validate() error {
	negative := func(field string, n int) error {
		if n < 0 {
			return contract.Errorf(contract.CodeInvalid, "%s is negative", field).On(field)
		}
		return nil
	}
	for field, n := range map[string]int{
		"min_chars": o.Filter.MinChars, "max_chars": o.Filter.MaxChars,
		"min_completion_chars": o.Filter.MinCompletionChars, "max_turns": o.Filter.MaxTurns, "max_rows": int(o.MaxRows),
	} {
		if err := negative(field, n); err != nil {
			return err
		}
	}
	if o.Filter.MaxChars > 0 && o.Filter.MinChars > o.Filter.MaxChars {
		return contract.Errorf(contract.CodeInvalid, "min_chars is larger than max_chars").On("min_chars").Mend("choose a smaller min_chars, or no max_chars")
	}
	if o.TextChunkChars > 0 && o.TextChunkChars < minTextChunkChars {
		return contract.Errorf(contract.CodeInvalid, "text_chunk_chars is %d", o.TextChunkChars).On("text_chunk_chars").
			Mend("choose at least %d, or a negative number to leave documents whole", minTextChunkChars)
	}
	return o.Split.validate()
}

const minTextChunkChars = 100

// candidate is an example that has passed every test, and where it goes.
type candidate struct {
	example *example
	hash    uint64
	index   int64 // among those kept
	held    bool  // the file's own split column puts it into the evaluation file
}

// screen turns rows into candidates. Both passes run one, and must see the same.
type screen struct {
	options     ProcessOptions
	layout      *layout
	normaliser  *normaliser
	log         *issueLog
	fingerprint fingerprinter
	seen        *hashSet
	dropped     map[string]int64
	missed      bool

	rows, invalid, candidates, kept int64
}

// maxRemembered bounds the memory of deduplication to 128 MiB.
const maxRemembered = 12 << 20

func newScreen(l *layout, options ProcessOptions) *screen {
	if options.TextChunkChars == 0 {
		options.TextChunkChars = DefaultTextChunkChars
	}
	return &screen{
		options: options, layout: l, normaliser: newNormaliser(l), log: newIssueLog(), seen: newHashSet(), dropped: map[string]int64{},
	}
}

// visit makes a rowReader's visitor that hands on what is kept.
func (s *screen) visit(keep func(candidate) error) func(*Row) error {
	return func(row *Row) error {
		s.rows++
		x, issues := s.normaliser.normalise(row)
		for _, issue := range issues {
			s.log.add(issue)
		}
		if x == nil {
			s.invalid++
			s.candidates++
			s.dropped[DroppedInvalid]++
			return nil
		}
		held := heldByColumn(s.normaliser.get(RoleSplit))
		one := func(x *example) error {
			return s.consider(candidate{example: x, held: held}, keep)
		}
		if x.canonical != CanonicalText || s.options.TextChunkChars < 0 {
			return one(x)
		}
		piece := *x
		return chunks(x.text, s.options.TextChunkChars, func(text []byte) error {
			piece.text = text
			return one(&piece)
		})
	}
}

func (s *screen) consider(c candidate, keep func(candidate) error) error {
	s.candidates++
	c.hash = s.fingerprint.sum(c.example)
	if reason := s.reject(c); reason != "" {
		s.dropped[reason]++
		return nil
	}
	c.index = s.kept
	s.kept++
	return keep(c)
}

// reject says why the example is dropped, "" if it is kept.
func (s *screen) reject(c candidate) string {
	filter := s.options.Filter
	if filter != (Filter{}) {
		prompt, completion := c.example.chars()
		switch {
		case prompt+completion < filter.MinChars, completion < filter.MinCompletionChars:
			return DroppedTooShort
		case filter.MaxChars > 0 && prompt+completion > filter.MaxChars:
			return DroppedTooLong
		case filter.MaxTurns > 0 && len(c.example.messages) > filter.MaxTurns:
			return DroppedTurns
		}
	}
	if s.options.Deduplicate && s.repeated(c.hash) {
		return DroppedDuplicate
	}
	if s.options.MaxRows > 0 && s.kept >= s.options.MaxRows {
		return DroppedMaxRows
	}
	return ""
}

func (s *screen) repeated(hash uint64) bool {
	if s.seen.count >= maxRemembered {
		s.missed = true
		return s.seen.has(hash)
	}
	return !s.seen.add(hash)
}

// plan is the first pass: which examples are held out.
func (f *File) plan(ctx context.Context, l *layout, options ProcessOptions, progress Progress) (*splitPlan, error) {
	s := newScreen(l, options)
	picker := newPicker(options.Split)
	err := f.each(ctx, Position{Pass: 1, Passes: 2}, progress, s.visit(func(c candidate) error {
		picker.add(c)
		return nil
	}))
	if err != nil {
		return nil, err
	}
	if err := judge(s.rows, s.invalid, s.candidates-s.invalid, s.log); err != nil {
		return nil, err
	}
	return picker.plan(s.kept)
}

// write is the second pass.
func (f *File) write(ctx context.Context, l *layout, options ProcessOptions, plan *splitPlan, train, eval *output, progress Progress) (*Stats, error) {
	s := newScreen(l, options)
	var line []byte
	err := f.each(ctx, Position{Pass: 2, Passes: 2}, progress, s.visit(func(c candidate) error {
		line = append(c.example.appendJSON(line[:0], 0), '\n')
		if plan.holdsOut(c) {
			return eval.write(line)
		}
		return train.write(line)
	}))
	if err != nil {
		return nil, err
	}
	if err := train.close(); err != nil {
		return nil, err
	}
	if err := eval.close(); err != nil {
		return nil, err
	}
	return &Stats{
		Format: l.format, Canonical: l.canonical, Rows: s.rows, Candidates: s.candidates,
		Train: train.result(), Eval: eval.result(), Dropped: s.dropped,
		SplitBy: plan.by, Seed: options.Split.Seed, DuplicatesMissed: s.missed,
	}, nil
}

// output writes lines and measures them.
type output struct {
	buffer *bufio.Writer
	sum    hash.Hash
	rows   int64
	size   int64
}

func newOutput(w io.Writer) *output {
	sum := sha256.New()
	return &output{buffer: bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10), sum: sum}
}

func (o *output) write(line []byte) error {
	o.rows++
	o.size += int64(len(line))
	_, err := o.buffer.Write(line)
	return err
}

func (o *output) close() error { return o.buffer.Flush() }

func (o *output) result() Output {
	return Output{Rows: o.rows, Size: o.size, SHA256: hex.EncodeToString(o.sum.Sum(nil))}
}
