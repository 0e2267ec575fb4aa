package dataset

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// lineReader hands out lines without their end, each at most MaxRowBytes.
type lineReader struct {
	r       *bufio.Reader
	long    []byte // a line that did not fit the buffer
	number  int64  // of the line returned last
	hasLF   bool   // the line returned last ended in a newline
	started bool
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 256<<10)}
}

// next returns the next line, valid until the one after it; io.EOF after the last.
func (l *lineReader) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line, err = l.collect(line)
	}
	if err != nil && (err != io.EOF || len(line) == 0) {
		return nil, err
	}
	l.number++
	l.hasLF = err == nil
	if !l.started {
		line, l.started = trimBOM(line), true
	}
	return trimEOL(line), nil
}

// collect gathers a line that is longer than the buffer.
func (l *lineReader) collect(start []byte) ([]byte, error) {
	l.long = append(l.long[:0], start...)
	for {
		part, err := l.r.ReadSlice('\n')
		l.long = append(l.long, part...)
		if len(l.long) > MaxRowBytes {
			return nil, rowTooLarge(place{line: l.number + 1})
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return l.long, err
		}
	}
}

func trimEOL(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'})
}

// jsonLines reads an object a line.
type jsonLines struct {
	lines  *lineReader
	parser *jsonParser
	row    Row
}

func newJSONLines(r io.Reader) *jsonLines {
	return &jsonLines{lines: newLineReader(r), parser: newJSONParser()}
}

func (j *jsonLines) next() (*Row, error) {
	line, err := nextNonBlank(j.lines)
	if err != nil {
		return nil, err
	}
	v, err := j.parser.line(line)
	defect := j.defect(err, line)
	if err != nil && defect == nil {
		return nil, j.fault(err, line)
	}
	if defect != nil {
		v = Value{Kind: String, Text: line}
	}
	j.row = Row{Number: j.row.Number + 1, Line: j.lines.number, Value: v, Fault: defect}
	return &j.row, nil
}

// defect is the fault of a line that is no JSON while the next one may be: where lines are rows, it costs its own row. The
// first line says what the file is, so it has to be right; so has text, and the end of a file that was cut off.
func (j *jsonLines) defect(err error, line []byte) *Issue {
	var syntax *jsontext.SyntacticError
	unfinished := errors.Is(err, io.ErrUnexpectedEOF)
	bounded := j.row.Number > 0 && (j.lines.hasLF || !unfinished) && checkText(line, place{}) == nil
	switch {
	case err == nil || !bounded:
		return nil
	case unfinished:
		return brokenJSON(endsEarly)
	case errors.As(err, &syntax) && !errors.Is(err, errTooDeep) && !errors.Is(err, errTooMany):
		return brokenJSON(fmt.Sprintf("%s, at column %d", syntax.Err, columnOf(syntax, line)))
	default:
		return nil
	}
}

func brokenJSON(reason string) *Issue {
	return &Issue{Code: IssueBrokenJSON, Severity: SeverityError, Message: "broken JSON: " + reason}
}

const endsEarly = "the object does not end on this line"

// columnOf is 1-based, in characters.
func columnOf(err *jsontext.SyntacticError, line []byte) int64 {
	return int64(utf8.RuneCount(line[:min(int(err.ByteOffset), len(line))])) + 1
}

// fault cites line and column. An unfinished last line without a newline is a file that was cut off; anywhere else it is
// a line that somebody broke in two.
func (j *jsonLines) fault(err error, line []byte) error {
	at := place{line: j.lines.number}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		at.column = columnOf(syntax, line)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && j.lines.hasLF {
		return broken(at, "broken JSON: %s", endsEarly).
			Mend("in JSON Lines every object stands on one line of its own")
	}
	return jsonFault(err, at, "the row")
}

// textLines reads a document a line.
type textLines struct {
	lines   *lineReader
	members [1]Value
	row     Row
}

func newTextLines(r io.Reader) *textLines { return &textLines{lines: newLineReader(r)} }

func (t *textLines) next() (*Row, error) {
	line, err := nextNonBlank(t.lines)
	if err != nil {
		return nil, err
	}
	if err := checkText(line, place{line: t.lines.number}); err != nil {
		return nil, err
	}
	t.members[0] = Value{Kind: String, Name: "text", Text: line}
	t.row = Row{Number: t.row.Number + 1, Line: t.lines.number, Value: Value{Kind: Object, Items: t.members[:]}}
	return &t.row, nil
}

func nextNonBlank(l *lineReader) ([]byte, error) {
	for {
		line, err := l.next()
		if err != nil || len(bytes.TrimSpace(line)) > 0 {
			return line, err
		}
	}
}

func checkText(text []byte, at place) error {
	if bytes.IndexByte(text, 0) >= 0 {
		return hasNUL(at)
	}
	if !utf8.Valid(text) {
		return notUTF8(at)
	}
	return nil
}
