package artifact_test

import (
	"bytes"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
)

// disk is a bucket's folder that can be taken away, as a disk that is not mounted.
type disk struct {
	t      *testing.T
	folder string
}

func (d disk) stowed() string { return d.folder + ".unmounted" }

// unmount leaves an empty mount point.
func (d disk) unmount() {
	require.NoError(d.t, os.Rename(d.folder, d.stowed()))
	require.NoError(d.t, os.Mkdir(d.folder, 0o700))
}

// mount fails where anything was written into the mount point.
func (d disk) mount() {
	d.t.Helper()
	require.Empty(d.t, files(d.t, d.folder), "nothing is written into a mount point")
	require.NoError(d.t, os.Remove(d.folder))
	require.NoError(d.t, os.Rename(d.stowed(), d.folder))
}

func onDisk(t *testing.T) (*artifact.Store, *index, disk) {
	t.Helper()
	s, x, objects := openFile(t)
	return s, x, disk{t, filepath.Dir(objects)}
}

func refused(t *testing.T, code contract.Code, err error) {
	t.Helper()
	require.Equal(t, code, contract.CodeOf(err), "%v", err)
}

func TestContentThatIsGoneIsDamagedAndADiskThatIsGoneIsAway(t *testing.T) {
	s, x, d := onDisk(t)
	content := noise(3 << 20)
	o, lost := put(t, s, content), put(t, s, noise(10))
	require.NoError(t, os.Remove(filepath.Join(d.folder, "objects", lost.ID)))
	refused(t, contract.CodeBadData, readAll(t, s, lost.ID, noise(10)))

	for name, away := range map[string]func(){
		"an empty mount point": d.unmount,
		"no folder": func() {
			d.unmount()
			require.NoError(t, os.Remove(d.folder))
		},
		"another installation's": func() {
			d.unmount()
			require.NoError(t, os.WriteFile(filepath.Join(d.folder, artifact.Mark), []byte("somebody else"), 0o600))
		},
		"a disk that cannot be looked at": func() { // what was in it is asked for, and no answer is had
			d.unmount()
			require.NoError(t, os.WriteFile(filepath.Join(d.folder, artifact.Mark), []byte(x.id), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(d.folder, "objects"), nil, 0o600))
		},
	} {
		away()
		for _, id := range []string{o.ID, lost.ID} {
			err := readAll(t, s, id, content)
			refused(t, contract.CodeStorageAway, err)
			var told *contract.Error
			require.ErrorAs(t, err, &told)
			require.NotContains(t, told.Error(), d.folder)
		}
		refused(t, contract.CodeStorageAway, s.There(t.Context()))
		require.NoError(t, os.RemoveAll(d.folder))
		require.NoError(t, os.Rename(d.stowed(), d.folder))
		require.NoError(t, readAll(t, s, o.ID, content), name)
	}
}

func TestAMountPointWithTheMarkIsNotTheDisk(t *testing.T) {
	s, x, d := onDisk(t)
	content := noise(10)
	o := put(t, s, content)
	put(t, s, noise(20))
	d.unmount()
	require.NoError(t, os.WriteFile(filepath.Join(d.folder, artifact.Mark), []byte(x.id), 0o600)) // a start before the first mount
	refused(t, contract.CodeStorageAway, readAll(t, s, o.ID, content))
	_, err := s.Put(t.Context(), artifact.PutInput{Reader: bytes.NewReader(content)})
	refused(t, contract.CodeStorageAway, err)
	_, err = artifact.Open(t.Context(), artifact.Options{BucketURL: artifact.FolderURL(d.folder), MasterKey: masterKey, Index: x,
		SpoolDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	refused(t, contract.CodeStorageAway, err)
	require.NoError(t, os.Remove(filepath.Join(d.folder, artifact.Mark)))
	d.mount()
	require.NoError(t, readAll(t, s, o.ID, content))
}

func TestAReaderIsToldThatItsDiskWentAway(t *testing.T) {
	s, _, d := onDisk(t)
	content := noise(3 << 20)
	r, err := s.Open(t.Context(), put(t, s, content).ID, 0)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	d.unmount()
	_, err = r.ReadAt(make([]byte, 10), 2<<20)
	refused(t, contract.CodeStorageAway, err)
	d.mount()
	got := make([]byte, 10)
	_, err = r.ReadAt(got, 2<<20)
	require.NoError(t, err)
	require.Equal(t, content[2<<20:2<<20+10], got)
}

// atFirstRead does something once content is read.
type atFirstRead struct {
	io.Reader
	do func()
}

func (r *atFirstRead) Read(p []byte) (int, error) {
	if r.do != nil {
		r.do()
		r.do = nil
	}
	return r.Reader.Read(p)
}

func TestNothingIsWrittenIntoAMountPoint(t *testing.T) {
	s, x, d := onDisk(t)
	d.unmount()
	_, err := s.Put(t.Context(), artifact.PutInput{Reader: bytes.NewReader(noise(10))})
	refused(t, contract.CodeStorageAway, err)
	d.mount()
	for _, size := range []int{10, 3 << 20} {
		_, err = s.Put(t.Context(), artifact.PutInput{Reader: &atFirstRead{bytes.NewReader(noise(size)), d.unmount}})
		refused(t, contract.CodeStorageAway, err)
		require.Empty(t, files(t, filepath.Join(d.folder, "objects")))
		require.NoError(t, os.RemoveAll(filepath.Join(d.folder, "objects")))
		d.mount()
	}
	mark, before := filepath.Join(d.folder, artifact.Mark), files(t, filepath.Join(d.folder, "objects")) // what was cut off is swept at a start
	another := func() { require.NoError(t, os.WriteFile(mark, []byte("somebody else"), 0o600)) }
	_, err = s.Put(t.Context(), artifact.PutInput{Reader: &atFirstRead{bytes.NewReader(noise(10)), another}})
	refused(t, contract.CodeStorageAway, err)
	require.Equal(t, before, files(t, filepath.Join(d.folder, "objects")), "what went into another's is taken out of it")
	require.NoError(t, os.WriteFile(mark, []byte(x.id), 0o600))
	require.Empty(t, x.objects)
	put(t, s, noise(10))
}

func TestWhatIsDeletedWhileTheDiskIsAwayGoesLater(t *testing.T) {
	s, _, d := onDisk(t)
	o, kept := put(t, s, noise(10)), put(t, s, noise(10))
	d.unmount()
	require.NoError(t, s.Delete(t.Context(), o.ID))
	d.mount()
	require.NoError(t, s.Discard(t.Context()))
	require.Equal(t, []string{kept.ID}, files(t, filepath.Join(d.folder, "objects")))
}

func TestAStartWithoutItsDiskIsRefused(t *testing.T) {
	s, x, d := onDisk(t)
	kept := put(t, s, noise(10))
	opts := artifact.Options{BucketURL: artifact.FolderURL(d.folder), MasterKey: masterKey, Index: x, SpoolDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	d.unmount()
	_, err := artifact.Open(t.Context(), opts)
	refused(t, contract.CodeStorageAway, err)
	require.Empty(t, files(t, d.folder))
	require.NoError(t, os.Remove(d.folder))
	_, err = artifact.Open(t.Context(), opts)
	refused(t, contract.CodeStorageAway, err)
	require.ErrorContains(t, err, "restore a backup")
	require.NoDirExists(t, d.folder)
	require.NoError(t, os.Rename(d.stowed(), d.folder))
	require.NoError(t, readAll(t, open(t, opts.BucketURL, x), kept.ID, noise(10)))

	require.NoError(t, os.Remove(filepath.Join(d.folder, artifact.Mark)))
	require.NoError(t, readAll(t, open(t, opts.BucketURL, x), kept.ID, noise(10)), "a folder of before the mark")
	require.FileExists(t, filepath.Join(d.folder, artifact.Mark))

	d.unmount()
	require.NoError(t, os.WriteFile(filepath.Join(d.folder, artifact.Mark), nil, 0o600))
	s = open(t, opts.BucketURL, x)
	refused(t, contract.CodeBadData, readAll(t, s, kept.ID, noise(10)))
	put(t, s, noise(10))
}

func TestAFolderWithAnOddName(t *testing.T) {
	x, folder := newIndex(), filepath.Join(t.TempDir(), "50% #1?", "blobs")
	s := open(t, artifact.FolderURL(folder), x)
	o := put(t, s, noise(10))
	require.NoError(t, readAll(t, s, o.ID, noise(10)))
	require.Equal(t, []string{o.ID}, files(t, filepath.Join(folder, "objects")))
	require.NoError(t, artifact.Marked(folder, x.id))
	refused(t, contract.CodeStorageAway, artifact.Marked(folder, "another"))
}

// TestABadSectorIsDamage: a checkpoint on one would be waited for without end. A disk that fails as a whole is away.
func TestABadSectorIsDamage(t *testing.T) {
	s, _, d := onDisk(t)
	o, _ := put(t, s, noise(10)), put(t, s, noise(20))
	sector := &fs.PathError{Op: "read", Path: "x", Err: syscall.EIO}
	refused(t, contract.CodeBadData, artifact.FailedRead(t.Context(), s, o, sector))
	refused(t, contract.CodeInternal, artifact.FailedRead(t.Context(), s, o, &fs.PathError{Op: "read", Path: "x", Err: syscall.ETIMEDOUT}))
	d.unmount()
	refused(t, contract.CodeStorageAway, artifact.FailedRead(t.Context(), s, o, sector))
}
