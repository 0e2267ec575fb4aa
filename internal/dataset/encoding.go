package dataset

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/transform"

	"github.com/vibeflow/vibeflow/contract"
)

// encoding is how a file writes its characters. A byte order mark says UTF-16; anything else is UTF-8 until a pass meets
// text that is not. All of the file then decides whether it is Windows-1252 (see western). So it follows from the bytes
// alone: whoever reads the same file, whenever, reads the same rows.
type encoding string

const (
	asUTF8        encoding = "UTF-8"
	asUTF16LE     encoding = "UTF-16LE"
	asUTF16BE     encoding = "UTF-16BE"
	asWindows1252 encoding = "Windows-1252"
)

// markedEncoding is what the first bytes say; the mark of UTF-8 need not be there.
func markedEncoding(head []byte) encoding {
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		return asUTF16LE
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		return asUTF16BE
	}
	return asUTF8
}

func (e encoding) isUTF16() bool { return e == asUTF16LE || e == asUTF16BE }

// reader gives UTF-8. Units of UTF-16 that are no character become a byte that is no UTF-8, for the row's reader to cite.
func (e encoding) reader(r io.Reader) io.Reader {
	switch e {
	case asUTF16LE:
		return transform.NewReader(r, utf16Decoder{order: binary.LittleEndian})
	case asUTF16BE:
		return transform.NewReader(r, utf16Decoder{order: binary.BigEndian})
	case asWindows1252:
		return transform.NewReader(r, charmap.Windows1252.NewDecoder())
	}
	return r
}

// text decodes the beginning of a file.
func (e encoding) text(head []byte) []byte {
	if e == asUTF8 {
		return trimBOM(head)
	}
	text, _ := io.ReadAll(e.reader(bytes.NewReader(head))) // neither the source nor a decoder returns an error
	return trimBOM(text)
}

// note is what a person should know of it, "" if nothing.
func (e encoding) note() string {
	switch {
	case e.isUTF16():
		return "Read as UTF-16 (what Excel calls Unicode text)."
	case e == asWindows1252:
		return "Read as Windows-1252 (what Excel saves as CSV), because the file is not UTF-8. Look at letters with accents " +
			"in the first rows: if they are wrong, save the file with the encoding UTF-8 and upload it again."
	}
	return ""
}

// utf16Decoder is strict: golang.org/x/text's own puts U+FFFD where half a character is missing, and training would learn it.
type utf16Decoder struct {
	transform.NopResetter
	order binary.ByteOrder
}

const noUTF8 = 0xff // a byte that UTF-8 never has

// Transform implements transform.Transformer. The byte order mark stays, as a character.
func (d utf16Decoder) Transform(dst, src []byte, atEOF bool) (written, read int, err error) {
	for read < len(src) {
		r, size := d.rune(src[read:])
		if size == 0 && !atEOF {
			return written, read, transform.ErrShortSrc
		}
		if written+utf8.UTFMax > len(dst) {
			return written, read, transform.ErrShortDst
		}
		if r < 0 {
			dst[written] = noUTF8
			written++
		} else {
			written += utf8.EncodeRune(dst[written:], r)
		}
		read = min(read+max(size, 2), len(src))
	}
	return written, read, nil
}

// rune returns the first character and its size in bytes: -1 for half a pair, size 0 if src may only be a part of one.
func (d utf16Decoder) rune(src []byte) (rune, int) {
	if len(src) < 2 {
		return -1, 0
	}
	first := rune(d.order.Uint16(src))
	if !utf16.IsSurrogate(first) {
		return first, 2
	}
	if len(src) < 4 {
		return -1, 0
	}
	if r := utf16.DecodeRune(first, rune(d.order.Uint16(src[2:]))); r != utf8.RuneError {
		return r, 4
	}
	return -1, 2
}

// notText says where text is not in the encoding that it was read with.
type notText struct{ at place }

func (n notText) Error() string { return "the text is not valid " + string(asUTF8) }

// decoded runs a reading of the file. If it meets text that is not UTF-8, and all of the file can be taken for Windows-1252,
// it is run once more, from the start. UTF-8 costs nothing.
func decoded[T any](ctx context.Context, f *File, read func() (T, error)) (T, error) {
	out, err := read()
	var fault notText
	if !errors.As(err, &fault) {
		return out, err
	}
	var none T
	switch {
	case f.encoding.isUTF16():
		return none, broken(fault.at, "the text is not valid UTF-16").Mend("%s", saveAsUTF8)
	case f.encoding == asWindows1252:
		return none, err
	}
	doubt, failed := f.westernDoubt(ctx)
	if failed != nil {
		return none, failed
	}
	if doubt != "" {
		return none, broken(fault.at, "the text is not valid UTF-8, and too unlike Windows-1252 to be read as that: %s", doubt).Mend("%s", saveAsUTF8)
	}
	f.encoding = asWindows1252
	return read()
}

// westernDoubt reads all of the file and says why it is hardly Windows-1252, "" if it seems to be.
func (f *File) westernDoubt(ctx context.Context) (string, error) {
	body, err := f.source.Open(ctx)
	if err != nil {
		return "", err
	}
	defer body.Close()
	w := newWestern()
	_, err = io.Copy(w, &meter{ctx: ctx, r: body})
	switch {
	case errors.Is(err, errDoubt):
		return w.doubt, nil
	case err != nil:
		return "", fmt.Errorf("looking for the file's encoding: %w", err)
	}
	return w.end(), nil
}

const saveAsUTF8 = `save the file with the encoding UTF-8 (in Excel: the type "CSV UTF-8") and upload it again`

func notUTF8(at place) *contract.Error {
	return broken(at, "%w", notText{at}).Mend("%s", saveAsUTF8)
}
