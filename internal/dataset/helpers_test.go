package dataset

import (
	"context"
	"io"
	"strings"
	"testing/iotest"
)

// opener makes a Source's Open of a function that starts a reader.
func opener(start func() io.Reader) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(start()), nil }
}

func openOneByte(content string) func(context.Context) (io.ReadCloser, error) {
	return opener(func() io.Reader { return iotest.OneByteReader(strings.NewReader(content)) })
}
