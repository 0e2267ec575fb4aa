package artifact_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
)

// index is an artifact.Index in memory.
type index struct {
	id      string
	mu      sync.Mutex
	objects map[string]contract.Object
	fail    error
}

func newIndex() *index { return &index{id: "this index", objects: map[string]contract.Object{}} }

func (x *index) ID(context.Context) (string, error) { return x.id, nil }

func (x *index) PutObject(_ context.Context, o contract.Object) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.fail != nil {
		return x.fail
	}
	x.objects[o.ID] = o
	return nil
}

func (x *index) GetObject(_ context.Context, id string) (contract.Object, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	o, ok := x.objects[id]
	if !ok {
		return o, contract.Errorf(contract.CodeNotFound, "no object %s", id)
	}
	return o, nil
}

func (x *index) DeleteObject(_ context.Context, id string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.objects, id)
	return nil
}

func (x *index) LiveObjects(context.Context) (map[string]bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	live := map[string]bool{}
	for id := range x.objects {
		live[id] = true
	}
	return live, nil
}

var masterKey = bytes.Repeat([]byte{1}, 32)

func open(t *testing.T, bucket string, x *index) *artifact.Store {
	t.Helper()
	s, err := artifact.Open(t.Context(), artifact.Options{BucketURL: bucket, MasterKey: masterKey, Index: x,
		SpoolDir: filepath.Join(t.TempDir(), "spool"), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func openFile(t *testing.T) (*artifact.Store, *index, string) {
	t.Helper()
	x, dir := newIndex(), filepath.Join(t.TempDir(), "bucket")
	return open(t, "file://"+dir, x), x, filepath.Join(dir, "objects")
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(b)
	return b
}

func put(t *testing.T, s *artifact.Store, content []byte) contract.Object {
	t.Helper()
	o, err := s.Put(t.Context(), artifact.PutInput{Reader: bytes.NewReader(content), Name: "n", ContentType: "text/plain"})
	require.NoError(t, err)
	return o
}

func files(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Sizes around the borders of segments: a first segment holds less than the rest, by the header's length.
func sizes() []int {
	const tag, header = subtle.AESGCMHKDFTagSizeInBytes, 1 + 32 + subtle.AESGCMHKDFNoncePrefixSizeInBytes
	first, rest := 1<<20-tag-header, 1<<20-tag
	return []int{0, 1, 100, first - 1, first, first + 1, first + rest - 1, first + rest, first + rest + 1, 3<<20 + 17}
}

// TestConformance is what every bucket must do.
func TestConformance(t *testing.T) {
	for name, bucket := range map[string]func(t *testing.T) string{
		"file": func(t *testing.T) string { return "file://" + filepath.ToSlash(t.TempDir()) + "/blobs" },
		"mem":  func(*testing.T) string { return "mem://" },
	} {
		t.Run(name, func(t *testing.T) { conform(t, open(t, bucket(t), newIndex())) })
	}
}

func conform(t *testing.T, s *artifact.Store) {
	t.Run("what is put is read, from any byte", func(t *testing.T) {
		for _, n := range sizes() {
			content := noise(n)
			sum := sha256.Sum256(content)
			o := put(t, s, content)
			require.Equal(t, hex.EncodeToString(sum[:]), o.SHA256)
			require.EqualValues(t, n, o.Size)
			for _, from := range []int{0, 1, n / 3, n / 2, n - 1, n} {
				if from < 0 || from > n {
					continue
				}
				r, err := s.Open(t.Context(), o.ID, int64(from))
				require.NoError(t, err)
				got, err := io.ReadAll(r)
				require.NoError(t, err)
				require.True(t, bytes.Equal(content[from:], got), "%d bytes from %d", n, from)
				require.NoError(t, r.Close())
			}
		}
	})
	t.Run("seeking", func(t *testing.T) {
		content := noise(3<<20 + 5)
		r, err := s.Open(t.Context(), put(t, s, content).ID, 0)
		require.NoError(t, err)
		defer func() { require.NoError(t, r.Close()) }()
		end, err := r.Seek(-10, io.SeekEnd)
		require.NoError(t, err)
		tail, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, content[end:], tail)
		_, err = r.Seek(-1, io.SeekStart)
		require.Error(t, err)
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				rng, p := rand.New(rand.NewPCG(1, uint64(worker))), make([]byte, 2000)
				for range 20 {
					at := rng.IntN(len(content) - len(p))
					n, err := r.ReadAt(p, int64(at))
					require.NoError(t, err)
					require.Equal(t, content[at:at+n], p)
				}
			})
		}
		wg.Wait()
		n, err := r.ReadAt(make([]byte, 20), end)
		require.Equal(t, []any{10, io.EOF}, []any{n, err})
	})
	t.Run("deleting", func(t *testing.T) {
		o := put(t, s, noise(10))
		require.NoError(t, s.Delete(t.Context(), o.ID))
		require.NoError(t, s.Delete(t.Context(), o.ID))
		_, err := s.Open(t.Context(), o.ID, 0)
		require.Equal(t, contract.CodeNotFound, contract.CodeOf(err))
	})
	t.Run("offsets outside", func(t *testing.T) {
		o := put(t, s, noise(10))
		for _, from := range []int64{-1, 11} {
			_, err := s.Open(t.Context(), o.ID, from)
			require.Equal(t, contract.CodeInvalid, contract.CodeOf(err))
		}
	})
}

func TestFailedPutsLeaveNothing(t *testing.T) {
	s, x, folder := openFile(t)
	broken := errors.New("the connection broke")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		in   artifact.PutInput
		code contract.Code
	}{
		"cut off":        {t.Context(), artifact.PutInput{Reader: io.MultiReader(bytes.NewReader(noise(2<<20)), iotest.ErrReader(broken))}, contract.CodeInternal},
		"too large":      {t.Context(), artifact.PutInput{Reader: bytes.NewReader(noise(3 << 20)), MaxBytes: 2 << 20}, contract.CodeTooLarge},
		"another digest": {t.Context(), artifact.PutInput{Reader: bytes.NewReader(noise(10)), SHA256: "00"}, contract.CodeInvalid},
		"cancelled":      {cancelled, artifact.PutInput{Reader: bytes.NewReader(noise(10))}, contract.CodeInternal},
	} {
		_, err := s.Put(c.ctx, c.in)
		require.Error(t, err, name)
		require.Equal(t, c.code, contract.CodeOf(err), name)
		require.Empty(t, files(t, folder), name)
	}
	x.fail = errors.New("the index is away")
	_, err := s.Put(t.Context(), artifact.PutInput{Reader: bytes.NewReader(noise(10))})
	require.ErrorIs(t, err, x.fail)
	require.Empty(t, files(t, folder))
	require.Empty(t, x.objects)
	_, err = s.Put(t.Context(), artifact.PutInput{Reader: bytes.NewReader(noise(10)), MaxBytes: 10})
	require.Error(t, err, "the index is still away")
	x.fail = nil
	_, err = s.Put(t.Context(), artifact.PutInput{Reader: bytes.NewReader(noise(10)), MaxBytes: 10})
	require.NoError(t, err, "exactly the limit is within it")
}

func TestNothingLiesInTheOpen(t *testing.T) {
	s, _, folder := openFile(t)
	o := put(t, s, bytes.Repeat([]byte("a secret "), 1000))
	sealed, err := os.ReadFile(filepath.Join(folder, o.ID))
	require.NoError(t, err)
	require.NotContains(t, string(sealed), "secret")
	again := put(t, s, bytes.Repeat([]byte("a secret "), 1000))
	other, err := os.ReadFile(filepath.Join(folder, again.ID))
	require.NoError(t, err)
	require.NotEqual(t, sealed, other, "equal content is not seen to be equal")
	require.NoError(t, filepath.WalkDir(filepath.Dir(folder), func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, path)
		return nil
	}))
}

// readAll reads an object to its end; what is given before an error must be true.
func readAll(t *testing.T, s *artifact.Store, id string, content []byte) error {
	t.Helper()
	r, err := s.Open(t.Context(), id, 0)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	got, err := io.ReadAll(r)
	require.True(t, bytes.HasPrefix(content, got), "changed content was given out")
	if err == nil {
		require.Len(t, got, len(content))
	}
	return err
}

func TestTampering(t *testing.T) {
	s, x, folder := openFile(t)
	content := noise(3 << 20)
	o, twin := put(t, s, content), put(t, s, content)
	path := filepath.Join(folder, o.ID)
	sealed, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, readAll(t, s, o.ID, content))
	flip := func(at int) []byte {
		b := bytes.Clone(sealed)
		b[at] ^= 1
		return b
	}
	swapped := bytes.Clone(sealed)
	copy(swapped[1<<20:], sealed[2<<20:3<<20])
	other, err := os.ReadFile(filepath.Join(folder, twin.ID))
	require.NoError(t, err)
	for name, b := range map[string][]byte{
		"header's length": flip(0), "salt": flip(5), "nonce": flip(35), "first segment": flip(100), "middle": flip(2 << 20),
		"last byte": flip(len(sealed) - 1), "cut short": sealed[:len(sealed)-1], "cut at a segment": sealed[:2<<20],
		"segments moved": swapped, "empty": {}, "another object's": other,
	} {
		require.NoError(t, os.WriteFile(path, b, 0o600))
		require.Error(t, readAll(t, s, o.ID, content), name)
	}
	require.NoError(t, os.Remove(path))
	require.Error(t, readAll(t, s, o.ID, content), "gone")

	require.NoError(t, os.WriteFile(path, sealed, 0o600))
	entry := x.objects[o.ID]
	shorter, mixed := entry, entry
	shorter.Size -= 5
	x.objects[o.ID] = shorter
	require.Error(t, readAll(t, s, o.ID, content), "an index that says less")
	mixed.WrappedKey = x.objects[twin.ID].WrappedKey
	x.objects[o.ID] = mixed
	require.Error(t, readAll(t, s, o.ID, content), "another object's key")
	x.objects[o.ID] = entry
	require.NoError(t, readAll(t, s, o.ID, content))
}

func TestAnotherMasterKey(t *testing.T) {
	x, bucket := newIndex(), "file://"+filepath.ToSlash(t.TempDir())
	o := put(t, open(t, bucket, x), noise(10))
	opts := artifact.Options{BucketURL: bucket, MasterKey: bytes.Repeat([]byte{2}, 32), Index: x, SpoolDir: t.TempDir()}
	s, err := artifact.Open(t.Context(), opts)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	_, err = s.Open(t.Context(), o.ID, 0)
	require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err))
	opts.MasterKey = []byte("short")
	_, err = artifact.Open(t.Context(), opts)
	require.Equal(t, contract.CodeInvalidConfig, contract.CodeOf(err))
}

func TestStartSweepsWhatACrashLeft(t *testing.T) {
	s, x, folder := openFile(t)
	kept := put(t, s, noise(10))
	lost := put(t, s, noise(10))
	delete(x.objects, lost.ID)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "obj_half.tmp"), noise(10), 0o600))
	open(t, "file://"+filepath.Dir(folder), x)
	require.Equal(t, []string{kept.ID}, files(t, folder))
}

// TestABucketOfAnotherIndexIsNotSwept: an app.db that was lost, or mixed up, costs nobody the files.
func TestABucketOfAnotherIndexIsNotSwept(t *testing.T) {
	s, x, folder := openFile(t)
	kept := put(t, s, noise(10))
	opts := artifact.Options{BucketURL: "file://" + filepath.Dir(folder), MasterKey: masterKey, SpoolDir: t.TempDir(), Index: &index{id: "fresh"}}
	_, err := artifact.Open(t.Context(), opts)
	require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err))
	require.ErrorContains(t, err, "put back the app.db")
	require.Equal(t, []string{kept.ID}, files(t, folder))
	require.NoError(t, readAll(t, open(t, opts.BucketURL, x), kept.ID, noise(10)))
}

// The format is Tink's own: what this package reads by segments, Tink reads as a stream.
func TestFormatIsTinks(t *testing.T) {
	s, _, folder := openFile(t)
	content := noise(2<<20 + 3)
	o := put(t, s, content)
	sealed, err := os.ReadFile(filepath.Join(folder, o.ID))
	require.NoError(t, err)
	stream, err := artifact.TinkStream(s, o)
	require.NoError(t, err)
	r, err := stream.NewDecryptingReader(bytes.NewReader(sealed), []byte(o.ID))
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, got))
}

type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	z.left -= n
	clear(p[:n])
	return int(n), nil
}

func TestMemoryDoesNotGrowWithTheFile(t *testing.T) {
	s, _, _ := openFile(t)
	const size = 192 << 20
	peak := func(work func()) uint64 {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		work()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc // all that was ever asked for, collected or not
	}
	var o contract.Object
	var err error
	require.Less(t, peak(func() {
		o, err = s.Put(t.Context(), artifact.PutInput{Reader: &zeros{left: size}})
	}), uint64(16<<20))
	require.NoError(t, err)
	require.Less(t, peak(func() {
		r, openErr := s.Open(t.Context(), o.ID, 0)
		require.NoError(t, openErr)
		_, err = io.Copy(io.Discard, r)
		require.NoError(t, r.Close())
	}), uint64(16<<20))
	require.NoError(t, err)
}
