package dataset

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/vibeflow/vibeflow/contract"
)

// csvRows reads a table with a header (RFC 4180).
type csvRows struct {
	budget *rowBudget
	reader *csv.Reader
	header []string
	cells  []Value
	arena  arena
	row    Row
}

// newCSVRows reads the header. Tables separated by tabs rarely quote, so a bare quote is taken as it stands there.
func newCSVRows(r io.Reader, head []byte) (*csvRows, error) {
	delimiter, _ := sniffDelimiter(head)
	c := &csvRows{budget: &rowBudget{r: r}}
	c.reader = csv.NewReader(c.budget)
	c.reader.Comma = rune(delimiter)
	c.reader.FieldsPerRecord = -1
	c.reader.ReuseRecord = true
	c.reader.LazyQuotes = delimiter == '\t'
	if err := c.readHeader(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *csvRows) readHeader() error {
	record, err := c.reader.Read()
	if err == io.EOF {
		return contract.Errorf(contract.CodeBadData, "the table has no header").Mend("name the columns in the first line")
	}
	if err != nil {
		return c.fault(err)
	}
	seen := map[string]bool{}
	for i, name := range record {
		if i == 0 {
			name = strings.TrimPrefix(name, string(utf8BOM))
		}
		name = strings.TrimSpace(name)
		if err := checkText([]byte(name), place{line: 1}); err != nil {
			return err
		}
		if name == "" {
			name = fmt.Sprintf("column %d", i+1)
		}
		if seen[name] {
			return broken(place{line: 1}, "the header names the column %q twice", name).Mend("give every column a name of its own")
		}
		seen[name] = true
		c.header = append(c.header, strings.Clone(name))
	}
	if len(c.header) > MaxColumns {
		return contract.Errorf(contract.CodeBadData, "the table has %d columns, more than %d", len(c.header), MaxColumns)
	}
	c.cells = make([]Value, len(c.header))
	return nil
}

func (c *csvRows) next() (*Row, error) {
	c.budget.start = c.reader.InputOffset()
	record, err := c.reader.Read()
	if err != nil {
		return nil, c.fault(err)
	}
	line, _ := c.reader.FieldPos(0)
	c.arena.reset()
	c.row = Row{Number: c.row.Number + 1, Line: int64(line)}
	if len(record) != len(c.header) {
		c.row.Fault = &Issue{Code: IssueFieldCount, Severity: SeverityError,
			Message: fmt.Sprintf("the row has %d fields, the header %d", len(record), len(c.header))}
	}
	for i, name := range c.header {
		c.cells[i] = Value{Kind: Null, Name: name}
		if i >= len(record) {
			continue
		}
		text := c.arena.keepString(record[i])
		if err := checkText(text, place{line: int64(line)}); err != nil {
			return nil, err
		}
		c.cells[i] = Value{Kind: String, Name: name, Text: text}
	}
	c.row.Value = Value{Kind: Object, Items: c.cells}
	return &c.row, nil
}

func (c *csvRows) fault(err error) error {
	var parse *csv.ParseError
	switch {
	case c.budget.tooLarge:
		return rowTooLarge(place{line: c.startLine(err)})
	case !errors.As(err, &parse):
		return err
	case errors.Is(parse.Err, csv.ErrQuote) && c.budget.ended:
		return broken(place{line: int64(parse.StartLine)}, "a quoted field that starts in this row never ends").
			Mend("close the quote; a quote inside a quoted field is written twice (\"\")")
	default:
		return broken(place{int64(parse.Line), int64(parse.Column)}, "broken CSV: %s", parse.Err).
			Mend("quote fields that contain quotes, and write a quote inside a quoted field twice (\"\")")
	}
}

func (c *csvRows) startLine(err error) int64 {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return int64(parse.StartLine)
	}
	return c.row.Line + 1
}

// keepString is keep for a string.
func (a *arena) keepString(text string) []byte {
	start := len(a.text)
	a.text = append(a.text, text...)
	return a.text[start:len(a.text):len(a.text)]
}

// rowBudget stops a row that has no end: a quote that is never closed would otherwise swallow the file.
type rowBudget struct {
	r        io.Reader
	read     int64
	start    int64
	tooLarge bool
	ended    bool
}

func (b *rowBudget) Read(p []byte) (int, error) {
	if b.read-b.start > MaxRowBytes {
		b.tooLarge = true
		return 0, errors.New("row too large")
	}
	n, err := b.r.Read(p)
	b.read += int64(n)
	b.ended = b.ended || err == io.EOF
	return n, err
}

// sniffDelimiter chooses the delimiter that splits the header; found is false where nothing does.
func sniffDelimiter(head []byte) (delimiter byte, found bool) {
	counts := [256]int{}
	quoted := false
	for _, c := range head {
		switch {
		case c == '"':
			quoted = !quoted
		case c == '\n' && !quoted:
			return bestDelimiter(counts)
		case !quoted:
			counts[c]++
		}
	}
	return bestDelimiter(counts)
}

func bestDelimiter(counts [256]int) (byte, bool) {
	best := byte(',')
	for _, d := range []byte{'\t', ';'} {
		if counts[d] > counts[best] {
			best = d
		}
	}
	return best, counts[best] > 0
}

// headerNamesRole says whether the first line of a file without an extension reads like a header that we know.
func headerNamesRole(head []byte, delimiter byte) bool {
	line, _, _ := bytes.Cut(head, []byte{'\n'})
	if !utf8.Valid(line) {
		return false
	}
	known := 0
	for _, name := range strings.Split(string(line), string(delimiter)) {
		if knownColumn(strings.Trim(name, " \"\r")) {
			known++
		}
	}
	return known >= 2
}
