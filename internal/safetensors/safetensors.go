// Package safetensors reads the header of a safetensors file: what its tensors are called, their types, their shapes, and
// where they lie. Files come from anybody. A header is bounded, and each tensor must lie where its shape and its type say,
// one after the other without holes, so that nothing is hidden between them and nobody reads beyond the end.
package safetensors

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxHeader bounds a header in bytes: 100 bytes a tensor, and the largest models have some ten thousand.
const MaxHeader = 32 << 20

const (
	prefix   = 8 // the header's length, little-endian
	metadata = "__metadata__"
	// maxElements keeps products of shapes from overflowing; no tensor comes near.
	maxElements = 1 << 48
)

// bytesOf are the types of whole bytes, in bytes an element.
var bytesOf = map[string]int64{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
	"I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}

// Tensor is one entry of a header.
type Tensor struct {
	DType string   `json:"dtype"`
	Shape []int64  `json:"shape"`
	Range [2]int64 `json:"data_offsets"` // begin and end, in bytes after the header
}

// Elements is the product of the shape.
func (t Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Float tells a tensor of weights from one of indices or masks.
func (t Tensor) Float() bool { return len(t.DType) > 1 && (t.DType[0] == 'F' || t.DType == "BF16") }

// Header is what a file says of its tensors, by name. Size is that of the whole file in bytes.
type Header struct {
	Tensors map[string]Tensor
	Size    int64
}

// Read reads the header at the beginning of a file and returns it with the bytes that it took, so that the file can be
// passed on whole. Its errors are of r, or say for people what is wrong with the file.
func Read(r io.Reader) (Header, []byte, error) {
	begin := make([]byte, prefix)
	if _, err := io.ReadFull(r, begin); err != nil {
		return Header{}, nil, short(err)
	}
	length := binary.LittleEndian.Uint64(begin)
	if length < 2 || length > MaxHeader {
		return Header{}, nil, fmt.Errorf("its header would have %d bytes, which no safetensors file has", length)
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(length))) //nolint:gosec // bounded above
	if err != nil {
		return Header{}, nil, err
	}
	if uint64(len(body)) < length {
		return Header{}, nil, short(io.EOF)
	}
	h, err := Parse(body)
	h.Size += prefix + int64(length) //nolint:gosec // bounded above
	return h, append(begin, body...), err
}

func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends within its header")
	}
	return err
}

// Parse reads a header's JSON; Size is then that of the tensors alone.
func Parse(body []byte) (Header, error) {
	var entries map[string]jsontext.Value // a name that stands there twice is refused
	if err := json.Unmarshal(body, &entries); err != nil {
		return Header{}, fmt.Errorf("its header is not the JSON that is expected: %w", err)
	}
	delete(entries, metadata)
	if len(entries) == 0 {
		return Header{}, errors.New("it holds no tensors")
	}
	h := Header{Tensors: make(map[string]Tensor, len(entries))}
	for name, raw := range entries {
		var t Tensor
		if err := json.Unmarshal(raw, &t, json.RejectUnknownMembers(true)); err != nil {
			return Header{}, fmt.Errorf("its tensor %.100q cannot be read: %w", name, err)
		}
		if err := t.check(); err != nil {
			return Header{}, fmt.Errorf("its tensor %.100q %w", name, err)
		}
		h.Tensors[name] = t
	}
	var err error
	h.Size, err = h.end()
	return h, err
}

func (t Tensor) check() error {
	size, known := bytesOf[t.DType]
	if !known {
		return fmt.Errorf("is of the type %.20q, which is not supported", t.DType)
	}
	elements := int64(1)
	for _, d := range t.Shape {
		if d < 0 || (d > 0 && elements > maxElements/d) {
			return errors.New("has an impossible shape")
		}
		elements *= d
	}
	if t.Range[0] < 0 || t.Range[1]-t.Range[0] != elements*size {
		return errors.New("does not have the size that its shape and type give")
	}
	return nil
}

// end is where the last tensor ends, if each begins where the one before ends.
func (h Header) end() (int64, error) {
	names := slices.SortedFunc(maps.Keys(h.Tensors), func(a, b string) int {
		return cmp.Or(cmp.Compare(h.Tensors[a].Range[0], h.Tensors[b].Range[0]), cmp.Compare(h.Tensors[a].Range[1], h.Tensors[b].Range[1]))
	})
	at := int64(0)
	for _, name := range names {
		if h.Tensors[name].Range[0] != at {
			return 0, fmt.Errorf("its tensor %.100q does not begin where the one before ends", name)
		}
		at = h.Tensors[name].Range[1]
	}
	return at, nil
}
