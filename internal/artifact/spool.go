package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/seal"
)

// A part is a row of sealed blocks, all but the last of blockBytes: where a byte lies follows from its offset.
const (
	blockBytes  = 64 << 10
	sealedBytes = blockBytes + seal.Overhead
	partSuffix  = ".sealed"
	// openSuffix is what earlier builds gave parts, which were not sealed.
	openSuffix = ".part"
)

// Part is content under way: what has arrived of it waits in the spool, sealed, until all of it is there. It goes on where
// it stopped, over restarts of either side. One goroutine at a time may write a part.
type Part struct {
	path string
	name string
	key  *seal.Key
}

// Part names content under way. The name is one element of a path; nothing is made until Write.
func (s *Store) Part(name string) *Part {
	return &Part{path: filepath.Join(s.spool, name+partSuffix), name: name, key: s.parts}
}

// Received is how many bytes have arrived from the first on, 0 for a part that is not there.
func (p *Part) Received() (int64, error) {
	f, err := os.Open(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, diskError("look for what has arrived", err)
	}
	defer func() { _ = f.Close() }()
	return p.whole(f)
}

// whole is how much of a file can be gone on from. The block that was being written when a process died does not open; the
// one before it does, or else the file is not this master key's.
func (p *Part) whole(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, diskError("look for what has arrived", err)
	}
	blocks := (info.Size() + sealedBytes - 1) / sealedBytes
	for tries := 2; blocks > 0 && tries > 0; blocks, tries = blocks-1, tries-1 {
		plain, err := p.block(f, blocks-1)
		if err == nil {
			return (blocks-1)*blockBytes + int64(len(plain)), nil
		}
		if !errors.Is(err, seal.ErrChanged) {
			return 0, diskError("look for what has arrived", err)
		}
	}
	return 0, nil
}

// block reads and opens a block; io.EOF after the last.
func (p *Part) block(f *os.File, number int64) ([]byte, error) {
	sealed := make([]byte, sealedBytes)
	n, err := f.ReadAt(sealed, number*sealedBytes)
	if err != nil && (n == 0 || !errors.Is(err, io.EOF)) {
		return nil, err
	}
	return p.key.Open(sealed[:n], p.name, strconv.FormatInt(number, 10))
}

// Write takes what r gives as the content from offset on and returns how much has arrived. What came before an error of r,
// which is returned as it is, stays. An offset before the end writes over what is there, so that a sender may begin again;
// one beyond it is a conflict. disk_full leaves what came before.
func (p *Part) Write(offset int64, r io.Reader) (received int64, err error) {
	have, err := p.Received()
	if err != nil {
		return 0, err
	}
	if offset > have {
		return have, beyond(offset, have)
	}
	f, err := os.OpenFile(p.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return 0, diskError("keep what arrives", err)
	}
	received, err = p.write(f, offset, r)
	if closed := f.Close(); closed != nil {
		err = errors.Join(err, diskError("keep what arrives", closed))
	}
	return received, err
}

func beyond(offset, have int64) error {
	return contract.Errorf(contract.CodeConflict, "the chunk begins at %d, and %d bytes have arrived", offset, have).On("offset").
		Mend("go on at %d", have)
}

// write begins at the block that holds the offset: what that has before it is sealed again, with what comes.
func (p *Part) write(f *os.File, offset int64, r io.Reader) (int64, error) {
	number, within := offset/blockBytes, offset%blockBytes
	buf := make([]byte, blockBytes)
	if within > 0 {
		head, err := p.block(f, number)
		if errors.Is(err, seal.ErrChanged) {
			return 0, beyond(offset, number*blockBytes)
		}
		if err != nil {
			return 0, diskError("read what has arrived", err)
		}
		copy(buf, head[:within])
	}
	if err := f.Truncate(number * sealedBytes); err != nil {
		return 0, diskError("keep what arrives", err)
	}
	return p.append(f, number, buf, int(within), r)
}

// append writes blocks from number on, of which buf holds the first n bytes already.
func (p *Part) append(f *os.File, number int64, buf []byte, n int, r io.Reader) (int64, error) {
	for ; ; number, n = number+1, 0 {
		m, ended := fill(buf[n:], r)
		if n += m; n > 0 {
			if err := p.put(f, number, buf[:n]); err != nil {
				return number * blockBytes, err
			}
		}
		switch received := number*blockBytes + int64(n); {
		case errors.Is(ended, io.EOF):
			return received, nil
		case ended != nil:
			return received, ended
		}
	}
}

func (p *Part) put(f *os.File, number int64, plain []byte) error {
	sealed := p.key.Seal(plain, p.name, strconv.FormatInt(number, 10))
	if _, err := f.WriteAt(sealed, number*sealedBytes); err != nil {
		return diskError("keep what arrives", errors.Join(err, f.Truncate(number*sealedBytes)))
	}
	return nil
}

// fill is io.ReadFull that hands on the reader's own error, so that a connection that broke is not taken for the end.
func fill(buf []byte, r io.Reader) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

// Open reads what has arrived, from the first byte. A block that does not open is unavailable: the content has to be sent
// again.
func (p *Part) Open() (io.ReadCloser, error) {
	f, err := os.Open(p.path)
	if err != nil {
		return nil, diskError("read what has arrived", err)
	}
	return &partReader{part: p, file: f}, nil
}

type partReader struct {
	part   *Part
	file   *os.File
	number int64 // of the next block
	plain  []byte
}

// Read implements io.Reader.
func (r *partReader) Read(b []byte) (int, error) {
	if len(r.plain) == 0 {
		plain, err := r.part.block(r.file, r.number)
		if errors.Is(err, seal.ErrChanged) {
			return 0, contract.Errorf(contract.CodeUnavailable, "what had arrived was damaged on the server: %w", err).Mend("send it again")
		}
		if err != nil {
			return 0, err
		}
		r.plain, r.number = plain, r.number+1
	}
	n := copy(b, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

// Close implements io.Closer.
func (r *partReader) Close() error { return r.file.Close() }

// Remove forgets what has arrived; a part that is not there is no error.
func (p *Part) Remove() error {
	if err := os.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// RemoveParts removes the parts that spare does not: it is asked with a part's name and when that was last written.
func (s *Store) RemoveParts(spare func(name string, written time.Time) bool) error {
	entries, err := os.ReadDir(s.spool)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	for _, e := range entries {
		name, isPart := strings.CutSuffix(e.Name(), partSuffix)
		info, err := e.Info()
		if err != nil || !isPart || spare(name, info.ModTime()) {
			continue
		}
		if err := s.Part(name).Remove(); err != nil {
			return err
		}
		s.log.Info("an upload was given up", "part", name, "bytes", info.Size())
	}
	return nil
}

// openSpool makes the folder, and removes what earlier builds left there in the clear: its senders begin again.
func (s *Store) openSpool(context.Context, map[string]bool) error {
	if err := os.MkdirAll(s.spool, 0o700); err != nil {
		return diskError("make the spool folder", err)
	}
	open, err := filepath.Glob(filepath.Join(s.spool, "*"+openSuffix))
	if err != nil {
		return err
	}
	for _, path := range open {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
	}
	raw, err := s.master.Derive("spool")
	if err != nil {
		return err
	}
	s.parts, err = seal.NewKey(raw)
	return err
}
