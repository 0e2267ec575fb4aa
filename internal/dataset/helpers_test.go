package dataset

import (
	"context"
	"io"
	"strings"
	"testing/iotest"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// written is UTF-8 text as a file in another encoding, by encoders that the package itself does not have.
func written(in encoding, text io.Reader) io.Reader {
	switch in {
	case asUTF16LE:
		return transform.NewReader(text, unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewEncoder())
	case asUTF16BE:
		return transform.NewReader(text, unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewEncoder())
	case asWindows1252:
		return transform.NewReader(text, charmap.Windows1252.NewEncoder())
	}
	return text
}

func writtenText(in encoding, text string) string {
	bytes, err := io.ReadAll(written(in, strings.NewReader(text)))
	if err != nil {
		panic(err)
	}
	return string(bytes)
}

// opener makes a Source's Open of a function that starts a reader.
func opener(start func() io.Reader) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(start()), nil }
}

func openOneByte(content string) func(context.Context) (io.ReadCloser, error) {
	return opener(func() io.Reader { return iotest.OneByteReader(strings.NewReader(content)) })
}
