package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/memblob" // mem:// for tests
	"gocloud.dev/gcerrors"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/hardware"
	"github.com/vibeflow/vibeflow/internal/seal"
)

// Index keeps what must be known of an object to read it: *store.Store is one. Its errors are *contract.Error
// (not_found; conflict for an object still in use).
type Index interface {
	// ID tells this index from every other.
	ID(ctx context.Context) (string, error)
	PutObject(ctx context.Context, o Object) error
	GetObject(ctx context.Context, id string) (Object, error)
	DeleteObject(ctx context.Context, id string) error
	// LiveObjects forgets what nothing refers to and returns the ids of the rest; it is called once, at the start.
	LiveObjects(ctx context.Context) (map[string]bool, error)
}

// Object is an object's index entry.
type Object = contract.Object

// Options configures Open. MasterKey is 32 bytes. SpoolDir holds uploads under way; it is made with mode 0700. A file://
// bucket's folder is made likewise.
type Options struct {
	BucketURL string
	MasterKey []byte
	Index     Index
	SpoolDir  string
	Logger    *slog.Logger
	// Held, if set, tells that a backup is copying objects: none is deleted until it has ended.
	Held func() bool
}

// Store is the artifact store. It is safe for concurrent use.
type Store struct {
	bucket *blob.Bucket
	folder string // of a file:// bucket, else ""
	owner  string // the index's ID, with which the bucket is marked
	master *seal.Master
	index  Index
	spool  string
	parts  *seal.Key // seals what is in the spool
	log    *slog.Logger
	held   func() bool

	witnesses witnesses

	mu   sync.Mutex
	late []string // ids that were to be deleted while a backup ran, or the bucket was away
}

const (
	objectPrefix = "obj_"
	objectFolder = "objects/"
)

// Open opens the bucket and sweeps it: content that the index does not know, or knows no use for, is what a crash left of
// a Put or a Delete. A bucket that another index has used is refused with prerequisite: it would all be swept. One that is
// not there, although the index knows of content, is refused with storage_away, and nothing is made in its place.
func Open(ctx context.Context, opts Options) (*Store, error) {
	master, err := seal.NewMaster(opts.MasterKey)
	if err != nil {
		return nil, err
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Held == nil {
		opts.Held = func() bool { return false }
	}
	s := &Store{master: master, index: opts.Index, spool: opts.SpoolDir, log: opts.Logger, held: opts.Held}
	if s.owner, err = s.index.ID(ctx); err != nil {
		return nil, err
	}
	known, err := s.index.LiveObjects(ctx)
	if err != nil {
		return nil, err
	}
	if s.bucket, s.folder, err = openBucket(ctx, opts.BucketURL, len(known)); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context, map[string]bool) error{s.openSpool, s.claim, s.sweep} {
		if err := step(ctx, known); err != nil {
			return nil, errors.Join(err, s.bucket.Close())
		}
	}
	return s, nil
}

// Folders are those of this machine that it writes to: that of uploads under way, and the bucket's if it is one.
func (s *Store) Folders() []string {
	if s.folder == "" {
		return []string{s.spool}
	}
	return []string{s.spool, s.folder}
}

// Close closes the bucket.
func (s *Store) Close() error { return s.bucket.Close() }

// sweep deletes what no index entry names. It runs before anything else uses the store.
func (s *Store) sweep(ctx context.Context, known map[string]bool) error {
	if s.held() { // what is left now is swept at another start
		return nil
	}
	it := s.bucket.List(&blob.ListOptions{Prefix: objectFolder})
	for {
		entry, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list the bucket: %w", err)
		}
		if known[strings.TrimPrefix(entry.Key, objectFolder)] {
			continue
		}
		s.log.Info("deleting what an interrupted write left", "key", entry.Key, "bytes", entry.Size)
		if err := s.deleteKey(ctx, entry.Key); err != nil {
			return err
		}
	}
}

func (s *Store) deleteKey(ctx context.Context, key string) error {
	err := s.bucket.Delete(ctx, key)
	if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// PutInput is content to store. MaxBytes ≤ 0 means no limit. SHA256, when given, must be the content's.
type PutInput struct {
	Reader      io.Reader
	Name        string
	ContentType string
	MaxBytes    int64
	SHA256      string
}

// Put encrypts content into a new object. If anything goes wrong (too_large, disk_full, storage_away, invalid for a digest
// that does not match, an error of the reader, ctx) nothing is left.
func (s *Store) Put(ctx context.Context, in PutInput) (Object, error) {
	if err := s.There(ctx); err != nil {
		return Object{}, err
	}
	o := Object{ID: contract.NewID(objectPrefix), Name: in.Name, ContentType: in.ContentType, CreatedAt: time.Now().UTC()}
	key, err := newDataKey(s.master, o.ID)
	if err != nil {
		return Object{}, err
	}
	o.WrappedKey = key.wrapped
	counted, err := s.write(ctx, o.ID, key, in)
	if err != nil {
		return Object{}, s.orAway(ctx, err)
	}
	o.Size, o.SHA256 = counted.n, hex.EncodeToString(counted.sum.Sum(nil))
	err = s.There(ctx) // what went to an empty mount point would be hidden once the disk is back
	if err == nil {
		err = s.index.PutObject(ctx, o)
	}
	if err != nil {
		return Object{}, errors.Join(err, s.deleteKey(context.WithoutCancel(ctx), objectFolder+o.ID))
	}
	s.witnesses.saw(o.ID)
	return o, nil
}

func (s *Store) write(ctx context.Context, id string, key *dataKey, in PutInput) (*counter, error) {
	ctx, cancel := context.WithCancel(ctx) // a blob's writer is abandoned by cancelling its context before Close
	defer cancel()
	w, err := s.bucket.NewWriter(ctx, objectFolder+id, &blob.WriterOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return nil, diskError("store the content", err)
	}
	counted, err := encrypt(w, key, id, in)
	if err != nil {
		cancel()
		_ = w.Close() // reports only that it was cancelled
		return nil, diskError("store the content", err)
	}
	if err := w.Close(); err != nil {
		return nil, diskError("store the content", err)
	}
	if err := s.persist(id); err != nil {
		return nil, errors.Join(diskError("store the content", err), s.deleteKey(context.WithoutCancel(ctx), objectFolder+id))
	}
	return counted, nil
}

func encrypt(w io.Writer, key *dataKey, id string, in PutInput) (*counter, error) {
	enc, err := key.stream.NewEncryptingWriter(w, []byte(id))
	if err != nil {
		return nil, err
	}
	counted := &counter{r: in.Reader, sum: sha256.New(), limit: in.MaxBytes}
	if _, err := io.Copy(enc, counted); err != nil {
		return nil, err
	}
	if got := hex.EncodeToString(counted.sum.Sum(nil)); in.SHA256 != "" && got != in.SHA256 {
		return nil, contract.Errorf(contract.CodeInvalid, "the content's digest is %s, not %s", got, in.SHA256).On("sha256").
			Mend("send it again")
	}
	return counted, enc.Close()
}

// persist asks the system to write a file:// object to the disk: the index, which is written next, will survive a loss
// of power, and must not name content that did not.
func (s *Store) persist(id string) error {
	if s.folder == "" {
		return nil
	}
	path := filepath.Join(s.folder, filepath.FromSlash(objectFolder), id)
	if err := os.Chmod(path, 0o600); err != nil { // the bucket's driver goes by the umask
		return err
	}
	return syncAll(path, filepath.Dir(path), s.folder)
}

func syncAll(paths ...string) error {
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// counter counts, hashes and bounds what passes through.
type counter struct {
	r     io.Reader
	sum   hash.Hash
	n     int64
	limit int64
}

// Read implements io.Reader.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.sum.Write(p[:n])
	if c.limit > 0 && c.n > c.limit {
		return n, contract.Errorf(contract.CodeTooLarge, "the content is larger than the limit of %d bytes", c.limit).
			Mend("send a smaller file")
	}
	return n, err
}

// diskError is what the disk of the bucket or the spool says.
func diskError(doing string, err error) error {
	return hardware.DiskError("the server's disk", doing, err)
}

// Stat returns an object's entry, or not_found.
func (s *Store) Stat(ctx context.Context, id string) (Object, error) {
	return s.index.GetObject(ctx, id)
}

// Delete deletes an object; one that is not there is no error, one that is still in use is a conflict.
func (s *Store) Delete(ctx context.Context, id string) error {
	if err := s.index.DeleteObject(ctx, id); err != nil {
		return err
	}
	return s.Discard(ctx, id)
}

// Discard deletes the content of objects that the index has let go of already; what is not deleted now is swept at the
// next start. While a backup runs it deletes nothing: the backup may be of a moment when they were still known. Nor while
// the bucket is away. The next call after it does.
func (s *Store) Discard(ctx context.Context, ids ...string) error {
	var errs []error
	for _, id := range s.deletable(ctx, ids) {
		s.witnesses.forget(id)
		errs = append(errs, s.deleteKey(ctx, objectFolder+id))
	}
	return errors.Join(errs...)
}

// deletable returns what may be deleted now: the given objects and those that had to wait, or none.
func (s *Store) deletable(ctx context.Context, ids []string) []string {
	there := s.There(ctx) == nil // it may take long, and nobody is to wait for it
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = append(s.late, ids...)
	if s.held() || !there {
		return nil
	}
	all := s.late
	s.late = nil
	return all
}
