package dataset

import (
	"github.com/go-json-experiment/json/jsontext"
)

// Kind is the type of a Value, named as a user knows it from JSON.
type Kind uint8

// Kinds. Binary is a Parquet byte array that is not UTF-8.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Object
	Binary
)

// String names the kind in messages: "text", "a list", ….
func (k Kind) String() string {
	return [...]string{"null", "true/false", "a number", "text", "a list", "an object", "binary"}[k]
}

// Value is one value of a row, whatever file it came from. It borrows its memory from the reader and is valid until the
// reader's next row.
type Value struct {
	Kind  Kind
	Name  string  // the member's name, inside an Object
	Text  []byte  // String: decoded content; Number, Bool: the literal
	Items []Value // List: elements; Object: members in file order
}

// Get returns the member of that name, nil if there is none. Of repeated names the last counts, as in Python.
func (v *Value) Get(name string) *Value {
	if v == nil || v.Kind != Object {
		return nil
	}
	for i := len(v.Items) - 1; i >= 0; i-- {
		if v.Items[i].Name == name {
			return &v.Items[i]
		}
	}
	return nil
}

// absent tells a value that is missing or null.
func (v *Value) absent() bool { return v == nil || v.Kind == Null }

// size is the bytes of text in the value, names left out.
func (v *Value) size() int {
	n := len(v.Text)
	for i := range v.Items {
		n += v.Items[i].size()
	}
	return n
}

// appendJSON encodes the value; texts longer than maxText bytes are cut and end in "…" (0: never).
func (v *Value) appendJSON(dst []byte, maxText int) []byte {
	switch v.Kind {
	case Null:
		return append(dst, "null"...)
	case Bool, Number:
		return append(dst, v.Text...)
	case String:
		return appendQuoted(dst, v.Text, maxText)
	case Binary:
		return append(dst, `"(binary)"`...)
	case List:
		dst = append(dst, '[')
		for i := range v.Items {
			dst = appendComma(dst, i)
			dst = v.Items[i].appendJSON(dst, maxText)
		}
		return append(dst, ']')
	default:
		dst = append(dst, '{')
		for i := range v.Items {
			dst = appendComma(dst, i)
			dst = appendQuoted(dst, []byte(v.Items[i].Name), 0)
			dst = append(dst, ':')
			dst = v.Items[i].appendJSON(dst, maxText)
		}
		return append(dst, '}')
	}
}

func appendComma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

// appendQuoted appends text as a JSON string. Invalid UTF-8 cannot get here: the readers refuse it.
func appendQuoted(dst, text []byte, maxText int) []byte {
	if maxText > 0 && len(text) > maxText {
		dst, _ = jsontext.AppendQuote(dst, cutUTF8(text, maxText))
		return append(dst[:len(dst)-1], `…"`...)
	}
	dst, _ = jsontext.AppendQuote(dst, text)
	return dst
}

// Row is one row of the file.
type Row struct {
	Number int64 // 1-based
	Line   int64 // 1-based line on which the row starts; 0 in Parquet, which has no lines
	Value  Value // an Object, unless the file holds something else where a row should be
	// Fault is a defect of the row that the reader saw and that leaves the rest of the file readable.
	Fault *Issue
}

// arena is the memory of one row, reused for the next. Growing it leaves earlier slices on the old array, which stays
// valid, so nothing has to be patched.
type arena struct {
	text   []byte
	values []Value
	stack  []Value
}

func (a *arena) reset() {
	a.text, a.values, a.stack = a.text[:0], a.values[:0], a.stack[:0]
}

// keep copies text into the arena.
func (a *arena) keep(text []byte) []byte {
	start := len(a.text)
	a.text = append(a.text, text...)
	return a.text[start:len(a.text):len(a.text)]
}

// close moves what was pushed on the stack since mark into one contiguous list.
func (a *arena) close(mark int) []Value {
	start := len(a.values)
	a.values = append(a.values, a.stack[mark:]...)
	a.stack = a.stack[:mark]
	return a.values[start:len(a.values):len(a.values)]
}

// nameTable interns member names, which repeat from row to row. It stops growing at maxInterned, so that a file whose
// names are data cannot fill memory.
type nameTable map[string]string

const maxInterned = 4096

func (t nameTable) intern(name []byte) string {
	if s, ok := t[string(name)]; ok {
		return s
	}
	s := string(name)
	if len(t) < maxInterned {
		t[s] = s
	}
	return s
}
