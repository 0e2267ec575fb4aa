package artifact

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
	"gocloud.dev/gcerrors"

	"github.com/vibeflow/vibeflow/contract"
)

// Sizes of Tink's AES-GCM-HKDF streaming format: a header (its length, a salt, a nonce prefix), then segments of
// ciphertext with a tag each; the header counts towards the first segment. A segment's nonce is the prefix, its number
// and whether it is the last.
const (
	headerBytes = 1 + dataKeyBytes + subtle.AESGCMHKDFNoncePrefixSizeInBytes
	tagBytes    = subtle.AESGCMHKDFTagSizeInBytes
	plainBytes  = segmentBytes - tagBytes
)

// Reader reads an object's plaintext from any offset, and checks every byte that it gives. Read and Seek are for one
// goroutine; ReadAt may be called by many, and takes turns. Close releases it.
type Reader struct {
	mu      sync.Mutex
	ctx     context.Context
	store   *Store
	object  Object
	gcm     cipher.AEAD
	prefix  []byte
	pos     int64
	segment int64  // number of the segment in plain, -1: none
	plain   []byte // that segment's plaintext
	sealed  []byte
	body    io.ReadCloser // ciphertext from the start of segment next on, nil: not open
	next    int64
}

// Open returns a reader of an object's content from offset on (0 ≤ offset ≤ size), of which it reads the first bytes. The
// context covers all reads. Errors, of reads too: not_found, invalid (offset), prerequisite (another master key), bad_data
// for content that is gone, cut off or changed, storage_away while that cannot be told.
func (s *Store) Open(ctx context.Context, id string, offset int64) (*Reader, error) {
	o, err := s.index.GetObject(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.OpenObject(ctx, o, offset)
}

// OpenObject is Open for an entry that is at hand.
func (s *Store) OpenObject(ctx context.Context, o Object, offset int64) (*Reader, error) {
	key, err := unwrap(s.master, o)
	if err != nil {
		return nil, err
	}
	r := &Reader{ctx: ctx, store: s, object: o, segment: -1}
	if _, err := r.Seek(offset, io.SeekStart); err != nil {
		return nil, contract.Errorf(contract.CodeInvalid, "offset %d lies outside of the object's %d bytes", offset, o.Size).On("offset")
	}
	if err := r.begin(key.raw); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// begin reads what comes first: whoever answers with the content is told of damage before the answer has begun.
func (r *Reader) begin(raw []byte) error {
	if err := r.readHeader(raw); err != nil {
		return err
	}
	if r.pos == r.object.Size {
		return nil
	}
	segment, _ := locate(r.pos)
	return r.load(segment)
}

// Object returns the entry of what is read.
func (r *Reader) Object() Object { return r.object }

// Size is the object's size in bytes.
func (r *Reader) Size() int64 { return r.object.Size }

// damaged is for content that another try brings no otherwise, once the bucket is known to be the right one.
func (r *Reader) damaged(err error) error {
	if away := r.store.There(r.ctx); away != nil {
		return away
	}
	r.store.log.Error("a stored file is damaged", "object", r.object.ID, "name", r.object.Name, "error", err)
	return contract.Errorf(contract.CodeBadData, "the stored file %s is damaged: %w", r.object.ID, err).
		Mend("upload or make again what it belongs to, or restore a backup")
}

// failed types a failure to read. One of the disk itself (EIO: a bad sector) does not pass while all else can be read: the content
// is as good as gone, and waiting for it would be for ever. Any other may pass.
func (r *Reader) failed(doing string, err error) error {
	err = r.store.orAway(r.ctx, fmt.Errorf("%s object %s: %w", doing, r.object.ID, err))
	if errors.Is(err, syscall.EIO) && contract.CodeOf(err) == contract.CodeInternal {
		return r.damaged(err)
	}
	return err
}

// cut types a read that ended too soon, or failed.
func (r *Reader) cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return r.damaged(errors.New("it is cut off"))
	}
	return r.failed("read", err)
}

// readHeader derives the content's key as Tink does.
func (r *Reader) readHeader(raw []byte) error {
	if err := r.openAt(0, headerBytes); err != nil {
		return err
	}
	header := make([]byte, headerBytes)
	if _, err := io.ReadFull(r.body, header); err != nil {
		return r.cut(err)
	}
	if err := r.closeBody(); err != nil {
		return err
	}
	if header[0] != headerBytes {
		return r.damaged(errors.New("not its header"))
	}
	salt := header[1 : 1+dataKeyBytes]
	derived, err := hkdf.Key(sha256.New, raw, salt, r.object.ID, dataKeyBytes)
	if err != nil {
		return err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return err
	}
	r.prefix = header[1+dataKeyBytes:]
	r.gcm, err = cipher.NewGCM(block)
	return err
}

func (r *Reader) openAt(offset, length int64) error {
	body, err := r.store.bucket.NewRangeReader(r.ctx, objectFolder+r.object.ID, offset, length, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return r.damaged(errors.New("its content is gone"))
	}
	if err != nil {
		return r.failed("open", err)
	}
	r.store.witnesses.saw(r.object.ID)
	r.body = body
	return nil
}

func (r *Reader) closeBody() error {
	if r.body == nil {
		return nil
	}
	body := r.body
	r.body = nil
	return body.Close()
}

// Close implements io.Closer.
func (r *Reader) Close() error { return r.closeBody() }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read(p)
}

type readerFunc func(p []byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (r *Reader) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.pos >= r.object.Size {
		return 0, io.EOF
	}
	number, within := locate(r.pos)
	if r.segment != number {
		if err := r.load(number); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.plain[within:])
	r.pos += int64(n)
	return n, nil
}

// Seek implements io.Seeker; nothing is read until the next Read.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.object.Size
	}
	if offset < 0 || offset > r.object.Size {
		return 0, fmt.Errorf("seek to %d of %d bytes", offset, r.object.Size)
	}
	r.pos = offset
	return offset, nil
}

// ReadAt implements io.ReaderAt.
func (r *Reader) ReadAt(p []byte, offset int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if offset < 0 || offset >= r.object.Size {
		return 0, io.EOF
	}
	defer func(pos int64) { r.pos = pos }(r.pos)
	r.pos = offset
	n, err := io.ReadFull(readerFunc(r.read), p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

// locate returns the segment that holds a plaintext offset, and the offset within it.
func locate(offset int64) (segment, within int64) {
	shifted := offset + headerBytes // as if the header were the first bytes of the first segment's plaintext
	segment, within = shifted/plainBytes, shifted%plainBytes
	if segment == 0 {
		return 0, offset
	}
	return segment, within
}

// extent returns where a segment's ciphertext lies, and whether it is the last.
func (r *Reader) extent(segment int64) (start, length int64, last bool) {
	final, end := int64(0), int64(0)
	if r.object.Size > 0 {
		final, end = locate(r.object.Size - 1)
	}
	plain := int64(plainBytes)
	switch {
	case segment == final && r.object.Size == 0:
		plain = 0
	case segment == final:
		plain = end + 1
	case segment == 0:
		plain -= headerBytes
	}
	start = segment * segmentBytes
	if segment == 0 {
		start = headerBytes
	}
	return start, plain + tagBytes, segment == final
}

// load decrypts a segment. Segments in a row come from one open stream of the bucket.
func (r *Reader) load(segment int64) error {
	start, length, last := r.extent(segment)
	if r.body == nil || r.next != segment {
		if err := r.closeBody(); err != nil {
			return err
		}
		if err := r.openAt(start, -1); err != nil {
			return err
		}
	}
	r.segment = -1
	if int64(cap(r.sealed)) < length {
		r.sealed = make([]byte, length)
	}
	r.sealed = r.sealed[:length]
	if _, err := io.ReadFull(r.body, r.sealed); err != nil {
		return r.cut(err)
	}
	plain, err := r.gcm.Open(r.plain[:0], r.nonce(segment, last), r.sealed, nil)
	if err != nil {
		return r.damaged(errors.New("it was changed"))
	}
	r.plain, r.segment, r.next = plain, segment, segment+1
	return nil
}

func (r *Reader) nonce(segment int64, last bool) []byte {
	nonce := make([]byte, 0, subtle.AESGCMHKDFNonceSizeInBytes)
	nonce = append(nonce, r.prefix...)
	nonce = binary.BigEndian.AppendUint32(nonce, uint32(segment)) //nolint:gosec // 4 TiB an object: PutInput's limits are far below
	if last {
		return append(nonce, 1)
	}
	return append(nonce, 0)
}
