package dataset

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// jsonParser builds Values from the tokens of Go's own JSON tokenizer: encoding/json/jsontext, by its mirror until the
// standard library has it switched on. It is strict (RFC 8259, UTF-8), says where a fault is and allocates nothing a row.
type jsonParser struct {
	dec   *jsontext.Decoder
	buf   bytes.Buffer
	names nameTable
	arena arena
	// borrow: texts without escapes may point into the input, which outlives the row.
	borrow bool
}

// Repeated names are let through, as everywhere else; Value.Get decides.
var jsonOptions = jsontext.AllowDuplicateNames(true)

func newJSONParser() *jsonParser {
	return &jsonParser{dec: jsontext.NewDecoder(new(bytes.Buffer), jsonOptions), names: nameTable{}}
}

// line parses the one value of a line. The result borrows from line. Offsets of errors count from its start.
func (p *jsonParser) line(line []byte) (Value, error) {
	p.arena.reset()
	p.borrow = true
	p.buf = *bytes.NewBuffer(line)
	p.dec.Reset(&p.buf, jsonOptions)
	v, err := p.value(0)
	if err != nil {
		return v, noEOF(err)
	}
	if _, err := p.dec.ReadToken(); err == nil {
		return v, &jsontext.SyntacticError{ByteOffset: p.dec.InputOffset() - 1, Err: errors.New("more than one value on the line")}
	} else if err != io.EOF {
		return v, err
	}
	return v, nil
}

// noEOF: an end of input where a value is due is a truncation.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (p *jsonParser) value(depth int) (Value, error) {
	if depth > MaxDepth {
		return Value{}, p.refuse(errTooDeep)
	}
	if len(p.arena.stack)+len(p.arena.values) > MaxValues {
		return Value{}, p.refuse(errTooMany)
	}
	switch p.dec.PeekKind() {
	case '{':
		return p.object(depth)
	case '[':
		return p.list(depth)
	}
	raw, err := p.dec.ReadValue()
	if err != nil {
		return Value{}, err
	}
	switch raw.Kind() {
	case '"':
		return Value{Kind: String, Text: p.unquote(raw)}, nil
	case '0':
		return Value{Kind: Number, Text: p.arena.keep(raw)}, nil
	case 'n':
		return Value{Kind: Null}, nil
	default:
		return Value{Kind: Bool, Text: p.arena.keep(raw)}, nil
	}
}

func (p *jsonParser) refuse(reason error) error {
	return &jsontext.SyntacticError{ByteOffset: p.dec.InputOffset(), Err: reason}
}

func (p *jsonParser) object(depth int) (Value, error) {
	if _, err := p.dec.ReadToken(); err != nil {
		return Value{}, err
	}
	mark := len(p.arena.stack)
	for p.dec.PeekKind() != '}' {
		raw, err := p.dec.ReadValue()
		if err != nil {
			return Value{}, err
		}
		name := p.name(raw)
		member, err := p.value(depth + 1)
		if err != nil {
			return Value{}, err
		}
		member.Name = name
		p.arena.stack = append(p.arena.stack, member)
	}
	_, err := p.dec.ReadToken()
	return Value{Kind: Object, Items: p.arena.close(mark)}, err
}

func (p *jsonParser) list(depth int) (Value, error) {
	if _, err := p.dec.ReadToken(); err != nil {
		return Value{}, err
	}
	mark := len(p.arena.stack)
	for p.dec.PeekKind() != ']' {
		element, err := p.value(depth + 1)
		if err != nil {
			return Value{}, err
		}
		p.arena.stack = append(p.arena.stack, element)
	}
	_, err := p.dec.ReadToken()
	return Value{Kind: List, Items: p.arena.close(mark)}, err
}

// name decodes a member's name without leaving it in the arena.
func (p *jsonParser) name(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return p.names.intern(raw[1 : len(raw)-1])
	}
	start := len(p.arena.text)
	p.arena.text, _ = jsontext.AppendUnquote(p.arena.text, raw)
	name := p.names.intern(p.arena.text[start:])
	p.arena.text = p.arena.text[:start]
	return name
}

// unquote decodes a string that the decoder has found valid.
func (p *jsonParser) unquote(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		if p.borrow {
			return raw[1 : len(raw)-1]
		}
		return p.arena.keep(raw[1 : len(raw)-1])
	}
	start := len(p.arena.text)
	p.arena.text, _ = jsontext.AppendUnquote(p.arena.text, raw)
	return p.arena.text[start:len(p.arena.text):len(p.arena.text)]
}

// jsonStream reads the rows of a JSON array, or of objects one after the other.
type jsonStream struct {
	parser *jsonParser
	input  *lineTracker
	array  bool
	begun  bool
	done   bool
	row    Row
}

func newJSONStream(r io.Reader) *jsonStream {
	s := &jsonStream{parser: newJSONParser(), input: &lineTracker{r: r, line: 1}}
	s.parser.dec.Reset(s.input, jsonOptions)
	return s
}

// next returns the next row, io.EOF after the last.
func (s *jsonStream) next() (*Row, error) {
	if s.done {
		return nil, io.EOF
	}
	if err := s.step(); err != nil {
		return nil, err
	}
	if s.done {
		return nil, io.EOF
	}
	dec := s.parser.dec
	s.parser.arena.reset()
	s.row.Number++
	s.row.Line = s.input.at(s.nextToken()).line
	s.input.rowStart = dec.InputOffset()
	v, err := s.parser.value(0)
	if err != nil {
		return nil, s.fault(noEOF(err))
	}
	s.row.Value = v
	return &s.row, nil
}

// step goes to the start of the next row and notices the end.
func (s *jsonStream) step() error {
	dec := s.parser.dec
	s.input.rowStart = dec.InputOffset()
	kind := dec.PeekKind()
	if !s.begun {
		s.begun, s.array = true, kind == '['
		if s.array {
			if _, err := dec.ReadToken(); err != nil {
				return s.fault(err)
			}
			kind = dec.PeekKind()
		}
	}
	if s.array && kind == ']' {
		return s.finish()
	}
	if kind != 0 {
		return nil
	}
	_, err := dec.ReadToken()
	if err == io.EOF && !s.array {
		s.done = true
		return nil
	}
	return s.fault(noEOF(err))
}

// finish reads the closing bracket and sees that nothing follows it.
func (s *jsonStream) finish() error {
	dec := s.parser.dec
	if _, err := dec.ReadToken(); err != nil {
		return s.fault(err)
	}
	_, err := dec.ReadToken()
	if err == io.EOF {
		s.done = true
		return nil
	}
	if err != nil {
		return s.fault(err)
	}
	return broken(s.input.at(dec.InputOffset()-1), "something follows the end of the JSON array").
		Mend("put all rows into one array, or write one object a line (.jsonl)")
}

// nextToken is the offset of the token that PeekKind saw.
func (s *jsonStream) nextToken() int64 {
	dec := s.parser.dec
	rest := dec.UnreadBuffer()
	return dec.InputOffset() + int64(len(rest)-len(bytes.TrimLeft(rest, " \t\r\n,")))
}

func (s *jsonStream) fault(err error) error {
	if s.input.tooLarge {
		return rowTooLarge(place{line: s.row.Line})
	}
	offset := s.parser.dec.InputOffset()
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		offset = syntax.ByteOffset
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		offset = s.input.offset
	}
	return jsonFault(err, s.input.at(offset), "the JSON")
}

// lineTracker remembers where the lines begin in what the decoder has read but not used, and stops a row that has no end.
type lineTracker struct {
	r        io.Reader
	offset   int64   // bytes read
	pending  []int64 // offsets of newlines not passed yet
	line     int64   // line that contains the last offset asked for
	begin    int64   // its first offset
	rowStart int64
	tooLarge bool
}

func (t *lineTracker) Read(p []byte) (int, error) {
	if t.offset-t.rowStart > MaxRowBytes {
		t.tooLarge = true
		return 0, errors.New("row too large")
	}
	n, err := t.r.Read(p)
	for i := 0; i < n; {
		k := bytes.IndexByte(p[i:n], '\n')
		if k < 0 {
			break
		}
		i += k + 1
		t.pending = append(t.pending, t.offset+int64(i-1))
	}
	t.offset += int64(n)
	return n, err
}

// at is the place of an offset; offsets must be asked for in ascending order.
func (t *lineTracker) at(offset int64) place {
	passed := 0
	for passed < len(t.pending) && t.pending[passed] < offset {
		t.line++
		t.begin = t.pending[passed] + 1
		passed++
	}
	t.pending = t.pending[:copy(t.pending, t.pending[passed:])]
	return place{line: t.line, column: offset - t.begin + 1}
}
