package dataset

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/vibeflow/vibeflow/contract"
)

// File is a source whose type is known.
type File struct {
	Name      string
	Size      int64
	Container Container

	source   Source
	encoding encoding
	head     []byte // the first bytes, decoded
}

// Open looks at the first bytes and tells the type. Errors: CodeUnsupported (not a type that is read here, with what to
// do instead), CodeBadData (an empty file), and what the source returns.
func Open(ctx context.Context, source Source) (*File, error) {
	head, err := source.header(ctx)
	if err != nil {
		return nil, err
	}
	container, err := sniff(head, source.Name)
	if err != nil {
		return nil, err
	}
	if container == Parquet && source.At == nil {
		return nil, contract.Errorf(contract.CodeInternal, "a Parquet file needs random access: Source.At is missing")
	}
	marked := markedEncoding(head)
	return &File{
		Name: source.Name, Size: source.Size, Container: container,
		source: source, encoding: marked, head: marked.text(head),
	}, nil
}

// Position is how far a pass has come.
type Position struct {
	Pass, Passes int   // 1-based
	Rows         int64 // read in this pass
	Bytes        int64 // of the file, read in this pass
	Size         int64 // of the file, 0 if unknown
}

// Progress is told the position every few thousand rows and at the end of a pass; nil is allowed.
type Progress func(Position)

const progressRows = 2000

// rowReader is what every container's reader is; a row is valid until the next.
type rowReader interface {
	next() (*Row, error) // io.EOF after the last
}

// pass is one reading of the file.
type pass struct {
	rows  rowReader
	meter *meter
	body  io.Closer
}

func (f *File) open(ctx context.Context) (*pass, error) {
	if f.Container == Parquet {
		return f.openParquet(ctx)
	}
	body, err := f.source.Open(ctx)
	if err != nil {
		return nil, err
	}
	p := &pass{meter: &meter{ctx: ctx, r: body}, body: body}
	text := f.encoding.reader(p.meter)
	switch f.Container {
	case JSON:
		p.rows = newJSONStream(skipBOM(text))
	case JSONL:
		p.rows = newJSONLines(text)
	case CSV:
		p.rows, err = newCSVRows(text, f.head)
	default:
		p.rows = newTextLines(text)
	}
	if err != nil {
		body.Close()
		return nil, err
	}
	return p, nil
}

func (f *File) openParquet(ctx context.Context) (*pass, error) {
	m := &meter{ctx: ctx}
	rows, err := newParquetRows(&meteredAt{m: m, at: f.source.At}, f.source.Size)
	if err != nil {
		return nil, err
	}
	return &pass{rows: rows, meter: m, body: closer(rows.close)}, nil
}

type closer func() error

func (c closer) Close() error { return c() }

// meteredAt is meter for random access.
type meteredAt struct {
	m  *meter
	at io.ReaderAt
}

func (a *meteredAt) ReadAt(p []byte, offset int64) (int, error) {
	if err := a.m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := a.at.ReadAt(p, offset)
	a.m.read += int64(n)
	return n, err
}

// each runs one pass and shows every row to visit.
func (f *File) each(ctx context.Context, at Position, progress Progress, visit func(*Row) error) error {
	p, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer p.body.Close()
	at.Size = f.Size
	for {
		row, err := p.rows.next()
		if err != nil && err != io.EOF { // not errors.Is: a fault may wrap io.EOF, and must not pass for the end
			return err
		}
		at.Bytes = p.meter.read
		if row == nil || at.Rows%progressRows == progressRows-1 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if progress != nil {
				progress(at)
			}
		}
		if row == nil {
			return nil
		}
		at.Rows++
		if err := visit(row); err != nil {
			return err
		}
	}
}

// errEnough ends a pass early.
var errEnough = errors.New("enough rows")

// layout reads the first rows and finds the format. Columns that no format has come, by their names alone, with the error.
func (f *File) layout(ctx context.Context, mapping Mapping) (*layout, error) {
	seen := newSample()
	err := f.each(ctx, Position{}, nil, func(row *Row) error {
		if row.Fault != nil && row.Value.Kind != Object {
			return nil // it says nothing of the columns
		}
		seen.add(&row.Value)
		if seen.rows == sampleRows {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	if seen.rows == 0 {
		return nil, judge(0, 0, 0, nil)
	}
	l, err := detect(seen, mapping)
	if err != nil {
		return &layout{sampled: seen.names}, err
	}
	return l, nil
}

// Detection is what the first rows say about a file.
type Detection struct {
	Container Container `json:"container"`
	Format    Format    `json:"format"`
	Canonical Canonical `json:"canonical"` // what processing makes of it
	// Roles says which column plays which role.
	Roles map[Role]string `json:"roles"`
}

// Detect finds the format from the first rows. Errors: CodeBadData (broken rows, or columns that no format has),
// CodeInvalid (a mapping that does not fit).
func (f *File) Detect(ctx context.Context, mapping Mapping) (Detection, error) {
	l, err := decoded(ctx, f, func() (*layout, error) { return f.layout(ctx, mapping) })
	if err != nil {
		return Detection{}, err
	}
	return f.detection(l, l.sampled), nil
}

// detection reports the roles of columns that the file really has.
func (f *File) detection(l *layout, columns []string) Detection {
	d := Detection{Container: f.Container, Format: l.format, Canonical: l.canonical, Roles: map[Role]string{}}
	for role, column := range l.columns {
		if slices.Contains(columns, column) {
			d.Roles[role] = column
		}
	}
	return d
}

// skipBOM drops a byte order mark.
func skipBOM(r io.Reader) io.Reader {
	buffered := bufio.NewReaderSize(r, 64<<10)
	if first, _ := buffered.Peek(len(utf8BOM)); bytes.Equal(first, utf8BOM) {
		_, _ = buffered.Discard(len(utf8BOM))
	}
	return buffered
}
