package dataset

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/vibeflow/vibeflow/contract"
)

// Source is where the bytes of a file come from. Each pass opens it afresh.
type Source struct {
	Name string // as uploaded; its extension is the second witness of the type, after the content
	Size int64  // bytes; needed for Parquet, else only for progress
	// Open returns a new reader from the first byte. Encrypted blobs are read this way.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// At gives random access to the same bytes; Parquet cannot be read without. See NeedsRandomAccess.
	At io.ReaderAt
}

// FromBytes is a Source of bytes in memory.
func FromBytes(name string, content []byte) Source {
	return Source{
		Name: name, Size: int64(len(content)), At: bytes.NewReader(content),
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}
}

// FromFile is a Source of an open local file, which the caller closes when done.
func FromFile(f *os.File) (Source, error) {
	info, err := f.Stat()
	if err != nil {
		return Source{}, err
	}
	return Source{
		Name: filepath.Base(f.Name()), Size: info.Size(), At: f,
		Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(f, 0, info.Size())), nil
		},
	}, nil
}

// HeaderBytes is how much of a file decides what it is.
const HeaderBytes = 64 << 10

// header reads the first HeaderBytes, or less of a shorter file.
func (s Source) header(ctx context.Context) ([]byte, error) {
	r, err := s.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	head, err := io.ReadAll(io.LimitReader(r, HeaderBytes))
	if err != nil {
		return nil, err
	}
	if len(head) == 0 {
		return nil, contract.Errorf(contract.CodeBadData, "the file is empty").Mend("upload a file with at least two rows")
	}
	return head, nil
}

// meter counts the bytes of a pass and ends it when its context, if it has one, ends.
type meter struct {
	ctx  context.Context
	r    io.Reader
	read int64
}

func (m *meter) Read(p []byte) (int, error) {
	if m.ctx != nil && m.ctx.Err() != nil {
		return 0, m.ctx.Err()
	}
	n, err := m.r.Read(p)
	m.read += int64(n)
	return n, err
}
