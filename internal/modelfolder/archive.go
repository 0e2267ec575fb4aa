package modelfolder

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
)

const (
	// Weights hardly shrink. What unpacks to much more than it has is made to fill a disk.
	maxRatio   = 50
	ratioSlack = 64 << 20
	// maxDirectory bounds the list of entries at a zip file's end, which is read into memory.
	maxDirectory = 16 << 20
)

// Kind is how an archive is packed.
type Kind string

// Kinds of archives; None is a file that is no archive.
const (
	None  Kind = ""
	Zip   Kind = "zip"
	Tar   Kind = "tar"
	TarGz Kind = "tar.gz"
)

// KindOf tells an archive by its name.
func KindOf(fileName string) Kind {
	name := strings.ToLower(fileName)
	switch {
	case strings.HasSuffix(name, ".zip"):
		return Zip
	case strings.HasSuffix(name, ".tar"):
		return Tar
	case strings.HasSuffix(name, ".tar.gz"), strings.HasSuffix(name, ".tgz"):
		return TarGz
	default:
		return None
	}
}

// AddTar takes in all files of a tar archive, or of one that gzip has packed, as it comes.
func (i *Intake) AddTar(ctx context.Context, kind Kind, content io.Reader) error {
	packed := &counted{r: content}
	unpacked := io.Reader(packed)
	if kind == TarGz {
		gz, err := gzip.NewReader(bufio.NewReader(packed))
		if err != nil {
			return damaged(ended(err))
		}
		unpacked = gz
	}
	unpacked = &bounded{r: unpacked, packed: &packed.n}
	entries := tar.NewReader(unpacked)
	for {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return drain(unpacked, content)
		}
		if err != nil {
			return damaged(ended(err))
		}
		if err := i.addTarEntry(ctx, header, entries); err != nil {
			return err
		}
	}
}

// drain reads what comes after the last entry: gzip's checksum, and what a client still sends, who would else not read the
// answer.
func drain(unpacked, content io.Reader) error {
	if _, err := io.Copy(io.Discard, unpacked); err != nil {
		return damaged(err)
	}
	_, err := io.Copy(io.Discard, content)
	return err
}

func (i *Intake) addTarEntry(ctx context.Context, header *tar.Header, content io.Reader) error {
	for record := range header.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return notAFile(header.Name)
		}
	}
	switch header.Typeflag {
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return checkPath(strings.TrimSuffix(header.Name, "/") + "/.")
	case tar.TypeReg:
		return i.Add(ctx, header.Name, entry{content})
	default:
		return notAFile(header.Name)
	}
}

func notAFile(name string) error {
	return refuse("the archive's entry %.200q is a link, a device or the like, not a file", name).Mend("pack the files themselves (`tar --dereference`)")
}

// AddZip takes in all files of a zip archive, which has its list at its end.
func (i *Intake) AddZip(ctx context.Context, content io.ReaderAt, size int64) error {
	list := &listed{r: content, left: maxDirectory}
	archive, err := zip.NewReader(list, size)
	if list.left < 0 {
		return refuse("the archive has too many entries").Mend("upload the model's own files alone")
	}
	if err != nil {
		return damaged(ended(err))
	}
	list.open = true
	unpacked := &bounded{packed: &size} // of all entries together: several may have the same bytes, and lie about their size
	for _, f := range archive.File {
		if err := i.addZipEntry(ctx, f, unpacked); err != nil {
			return err
		}
	}
	return nil
}

func (i *Intake) addZipEntry(ctx context.Context, f *zip.File, unpacked *bounded) error {
	const encrypted = 1
	switch {
	case f.Mode().IsDir():
		return checkPath(strings.TrimSuffix(f.Name, "/") + "/.")
	case !f.Mode().IsRegular():
		return notAFile(f.Name)
	case f.Flags&encrypted != 0:
		return refuse("the archive is encrypted").Mend("pack it without a password")
	}
	content, err := f.Open()
	if err != nil {
		return damaged(ended(err))
	}
	unpacked.r = content
	err = i.Add(ctx, f.Name, entry{unpacked})
	return errors.Join(err, content.Close())
}

// entry makes errors of unpacking the archive's.
type entry struct{ io.Reader }

// Read implements io.Reader.
func (e entry) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	return n, damaged(err)
}

// ended: an archive that stops too early is damaged, not empty.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n int64
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// bounded refuses to unpack to much more than what was packed.
type bounded struct {
	r      io.Reader
	packed *int64
	n      int64
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.n += int64(n); b.n > ratioSlack+maxRatio*(*b.packed) {
		return 0, contract.Errorf(contract.CodeInvalid, "the archive unpacks to more than %d times its size", maxRatio).On("file").
			Mend("pack it without compression; weights hardly shrink")
	}
	return n, err
}

// listed bounds what is read of an archive until its list is known.
type listed struct {
	r    io.ReaderAt
	left int64
	open bool
}

// ReadAt implements io.ReaderAt.
func (l *listed) ReadAt(p []byte, at int64) (int, error) {
	if !l.open {
		if l.left -= int64(len(p)); l.left < 0 {
			return 0, io.ErrUnexpectedEOF
		}
	}
	return l.r.ReadAt(p, at)
}
