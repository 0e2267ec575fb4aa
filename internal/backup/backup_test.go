package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"database/sql"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/smalldisk"
	"github.com/vibeflow/vibeflow/internal/store"
)

const passphrase = "correct horse battery"

// Environment of the test's program when it plays a process that is killed.
const envKilled = "VIBEFLOW_TEST_KILLED"

func TestMain(m *testing.M) {
	if what := os.Getenv(envKilled); what != "" {
		beKilled(what, os.Getenv("VIBEFLOW_TEST_FROM"), os.Getenv("VIBEFLOW_TEST_TO"))
		return
	}
	workFactor = 8
	os.Exit(m.Run())
}

// beKilled dies by kill -9 when half is done.
func beKilled(what, from, to string) {
	die := func(done, total int64) {
		if done > total/2 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
	var err error
	if what == "backup" {
		dir, openErr := datadir.Open(from)
		if openErr != nil {
			panic(openErr)
		}
		_, err = Run(context.Background(), Options{Dir: dir, To: to, Progress: die})
	} else {
		_, err = Restore(context.Background(), RestoreOptions{From: from, To: to, Progress: die})
	}
	panic(err)
}

// installation is a data folder with a store and objects in it, and a database in the place of Temporal's.
type installation struct {
	t        *testing.T
	dir      *datadir.Dir
	store    *store.Store
	blobs    *artifact.Store
	temporal *sql.DB
}

func newInstallation(t *testing.T, root string) *installation {
	t.Helper()
	dir, err := datadir.Open(root)
	require.NoError(t, err)
	i := &installation{t: t, dir: dir}
	_, err = dir.Token(datadir.SecretJWTKey)
	require.NoError(t, err)
	require.NoError(t, datadir.WriteFile(filepath.Join(dir.TemporalDir(), "version.json"), []byte(`{"server":"1.2.3"}`)))
	require.NoError(t, os.WriteFile(dir.TemporalDB(), nil, 0o600))
	i.temporal, err = open(dir.TemporalDB(), "_pragma=journal_mode(WAL)")
	require.NoError(t, err)
	t.Cleanup(func() { _ = i.temporal.Close() })
	i.execTemporal(`CREATE TABLE IF NOT EXISTS ticks (n INTEGER)`)
	i.openStore()
	return i
}

func (i *installation) openStore() {
	i.t.Helper()
	key, err := i.dir.MasterKey()
	require.NoError(i.t, err)
	log := slog.New(slog.DiscardHandler)
	i.store, err = store.Open(i.t.Context(), store.Options{Path: i.dir.AppDB(), MasterKey: key, Logger: log})
	require.NoError(i.t, err)
	i.t.Cleanup(func() { _ = i.store.Close() })
	i.blobs, err = artifact.Open(i.t.Context(), artifact.Options{BucketURL: artifact.FolderURL(i.dir.Blobs()), MasterKey: key, Index: i.store,
		SpoolDir: i.dir.Spool(), Logger: log, Held: func() bool { _, held := i.dir.Owner(datadir.LockBackup); return held }})
	require.NoError(i.t, err)
	i.t.Cleanup(func() { _ = i.blobs.Close() })
}

func (i *installation) execTemporal(statement string, args ...any) {
	i.t.Helper()
	_, err := i.temporal.ExecContext(i.t.Context(), statement, args...)
	require.NoError(i.t, err)
}

// put stores an object that something refers to.
func (i *installation) put(content []byte) string {
	i.t.Helper()
	o, err := i.blobs.Put(i.t.Context(), artifact.PutInput{Reader: bytes.NewReader(content), Name: "a file"})
	require.NoError(i.t, err)
	require.NoError(i.t, i.store.HoldObject(i.t.Context(), "test", o.ID))
	return o.ID
}

func (i *installation) job(id string) {
	i.t.Helper()
	payload := contract.JobCreated{ProjectID: store.DefaultProject, Name: "a job"}
	_, err := i.store.Create(i.t.Context(), store.Creation{Kind: contract.KindJob, ID: id, Payload: payload})
	require.NoError(i.t, err)
}

func (i *installation) options(to, passphrase string) Options {
	return Options{Dir: i.dir, To: to, Passphrase: passphrase, Version: "test"}
}

func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// restored opens what was restored, as a server would.
func restored(t *testing.T, root string) *installation {
	t.Helper()
	dir, err := datadir.Open(root)
	require.NoError(t, err)
	i := &installation{t: t, dir: dir}
	i.openStore()
	return i
}

func (i *installation) read(id string) []byte {
	i.t.Helper()
	r, err := i.blobs.Open(i.t.Context(), id, 0)
	require.NoError(i.t, err)
	got, err := io.ReadAll(r)
	require.NoError(i.t, err)
	require.NoError(i.t, r.Close())
	return got
}

func TestWhatWasBackedUpIsRestored(t *testing.T) {
	i := newInstallation(t, filepath.Join(t.TempDir(), "data"))
	i.job("job_1")
	i.execTemporal(`INSERT INTO ticks VALUES (7)`)
	objects := map[string][]byte{}
	for _, n := range []int{0, 1, 3 << 20} {
		c := content(n)
		objects[i.put(c)] = c
	}
	for name, to := range map[string]struct{ path, passphrase string }{
		"a file": {"b.tar", ""}, "an encrypted file": {"b.tar.age", passphrase},
		"a folder": {"kept", ""}, "an encrypted folder": {"sealed", passphrase},
	} {
		t.Run(name, func(t *testing.T) {
			place := filepath.Join(t.TempDir(), to.path)
			report, err := Run(t.Context(), i.options(place, to.passphrase))
			require.NoError(t, err)
			require.Equal(t, to.passphrase != "", report.Encrypted)
			require.Equal(t, len(objects), report.Objects)
			requirePrivate(t, filepath.Dir(report.Path))
			archive, err := os.ReadFile(report.Path)
			require.NoError(t, err)
			require.Equal(t, to.passphrase == "", bytes.Contains(archive, []byte("SQLite format 3")), "an encrypted backup shows nothing")

			to2 := filepath.Join(t.TempDir(), "data")
			got, err := Restore(t.Context(), RestoreOptions{From: place, To: to2, Passphrase: to.passphrase})
			require.NoError(t, err)
			require.Empty(t, got.Missing)
			requirePrivate(t, to2)
			back := restored(t, to2)
			_, err = back.store.GetJob(t.Context(), "job_1")
			require.NoError(t, err)
			for id, want := range objects {
				require.Equal(t, want, append([]byte{}, back.read(id)...))
			}
			for _, secret := range []datadir.Secret{datadir.SecretMasterKey, datadir.SecretJWTKey} {
				was, err := i.dir.Existing(secret)
				require.NoError(t, err)
				is, err := back.dir.Existing(secret)
				require.NoError(t, err)
				require.Equal(t, was, is)
			}
			require.Equal(t, []int64{7}, ticks(t, back.dir))
			mark, err := back.dir.Restored()
			require.NoError(t, err)
			require.Equal(t, report.Path, mark.From)
			require.True(t, mark.TakenUp.IsZero())
		})
	}
}

func requirePrivate(t *testing.T, root string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		if d.IsDir() && path == root {
			return nil
		}
		require.Zero(t, info.Mode().Perm()&0o077, path)
		return nil
	}))
}

func ticks(t *testing.T, dir *datadir.Dir) (all []int64) {
	t.Helper()
	db, err := open(dir.TemporalDB())
	require.NoError(t, err)
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(t.Context(), `SELECT n FROM ticks ORDER BY n`)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var n int64
		require.NoError(t, rows.Scan(&n))
		all = append(all, n)
	}
	require.NoError(t, rows.Err())
	return all
}

// TestBothDatabasesAreOfOneMoment: what Temporal was told is in the application's copy, and that copy is no further than
// what was just being told, although both are written to all the time.
func TestBothDatabasesAreOfOneMoment(t *testing.T) {
	i := newInstallation(t, filepath.Join(t.TempDir(), "data"))
	i.job("job_1")
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for n := int64(1); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			_, err := i.store.Append(context.Background(), "job/job_1", contract.NewEvent{Type: "runner.log", Payload: []byte(`{"message":"x"}`)})
			if err == nil {
				_, err = i.temporal.Exec(`INSERT INTO ticks VALUES (?)`, n)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for n := range 6 {
		to := filepath.Join(t.TempDir(), "data")
		from := filepath.Join(t.TempDir(), "b.tar")
		report, err := Run(t.Context(), i.options(from, ""))
		require.NoError(t, err)
		t.Logf("writes waited %.1f ms", report.HeldMS)
		_, err = Restore(t.Context(), RestoreOptions{From: from, To: to})
		require.NoError(t, err)
		back := restored(t, to)
		events, err := back.store.LastSeq(t.Context(), "job/job_1")
		require.NoError(t, err)
		told := int64(len(ticks(t, back.dir)))
		require.GreaterOrEqual(t, events-1, told, "round %d: Temporal's copy knows what the application's does not", n)
		require.LessOrEqual(t, events-1, told+1, "round %d: the copies are of different moments", n)
	}
	close(stop)
	<-ended
}

func TestAFolderStoresEachObjectOnceAndForgetsWhatNoBackupNeeds(t *testing.T) {
	i := newInstallation(t, filepath.Join(t.TempDir(), "data"))
	old, place := i.put(content(1<<20)), filepath.Join(t.TempDir(), "kept")
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	backup := func() Report {
		at = at.Add(time.Hour)
		o := i.options(place, "")
		o.Keep, o.Now = 2, func() time.Time { return at }
		report, err := Run(t.Context(), o)
		require.NoError(t, err)
		return report
	}
	first := backup()
	_, err := i.store.ReleaseOwner(t.Context(), "test")
	require.NoError(t, err)
	require.NoError(t, i.blobs.Discard(t.Context(), old))
	kept := i.put(content(2 << 20))
	second := backup()
	require.Greater(t, second.Copied, int64(2<<20))
	third := backup()
	require.Less(t, third.Copied, int64(1<<20), "nothing of what is there is copied again")
	require.Equal(t, []string{first.Path}, third.Removed)
	names, err := filepath.Glob(filepath.Join(place, "objects", "*"))
	require.NoError(t, err)
	require.Len(t, names, 1, "the object that only the first needed is gone")
	require.Contains(t, names[0], kept)

	other := newInstallation(t, filepath.Join(t.TempDir(), "other"))
	_, err = Run(t.Context(), other.options(place, ""))
	require.Equal(t, contract.CodeConflict, contract.CodeOf(err), "two installations do not share a folder")
}

// TestNoObjectIsDeletedWhileABackupCopies: a checkpoint that is pruned meanwhile is in the backup all the same.
func TestNoObjectIsDeletedWhileABackupCopies(t *testing.T) {
	i := newInstallation(t, filepath.Join(t.TempDir(), "data"))
	doomed := i.put(content(2 << 20))
	o := i.options(filepath.Join(t.TempDir(), "b.tar"), "")
	prune := sync.OnceFunc(func() {
		_, err := i.store.ReleaseOwner(t.Context(), "test")
		require.NoError(t, err)
		require.NoError(t, i.blobs.Discard(t.Context(), doomed))
		require.FileExists(t, filepath.Join(i.dir.Blobs(), "objects", doomed))
	})
	o.Progress = func(int64, int64) { prune() } // at the first write both databases are pinned
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	got, err := Restore(t.Context(), RestoreOptions{From: report.Path, To: filepath.Join(t.TempDir(), "data")})
	require.NoError(t, err)
	require.Equal(t, 1, got.Objects)
	require.NoError(t, i.blobs.Discard(t.Context()))
	require.NoFileExists(t, filepath.Join(i.dir.Blobs(), "objects", doomed), "it is deleted after the backup")
}

func TestOneBackupAtATime(t *testing.T) {
	i := newInstallation(t, filepath.Join(t.TempDir(), "data"))
	lock, err := i.dir.Lock(datadir.LockBackup)
	require.NoError(t, err)
	_, err = Run(t.Context(), i.options(filepath.Join(t.TempDir(), "b.tar"), ""))
	require.Equal(t, contract.CodeInUse, contract.CodeOf(err))
	lock.Release()
}

func TestRefusals(t *testing.T) {
	i := newInstallation(t, filepath.Join(t.TempDir(), "data"))
	i.put(content(1 << 20))
	sealed := filepath.Join(t.TempDir(), "b.tar.age")
	_, err := Run(t.Context(), i.options(sealed, passphrase))
	require.NoError(t, err)
	_, err = Run(t.Context(), i.options(sealed, passphrase))
	require.Equal(t, contract.CodeConflict, contract.CodeOf(err), "no backup overwrites a file")
	_, err = Run(t.Context(), i.options(filepath.Join(t.TempDir(), "c.tar.age"), "short"))
	require.Equal(t, contract.CodeInvalid, contract.CodeOf(err))
	empty, err := datadir.Open(filepath.Join(t.TempDir(), "empty"))
	require.NoError(t, err)
	_, err = Run(t.Context(), Options{Dir: empty, To: filepath.Join(t.TempDir(), "c.tar")})
	require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err))

	to := filepath.Join(t.TempDir(), "data")
	for name, o := range map[string]RestoreOptions{
		"no passphrase":       {From: sealed, To: to},
		"another passphrase":  {From: sealed, To: to, Passphrase: "another horse"},
		"no such file":        {From: sealed + "x", To: to},
		"a folder in use":     {From: sealed, To: i.dir.Root(), Passphrase: passphrase},
		"a folder of nothing": {From: t.TempDir(), To: to},
		"a newer format": {From: sealed, To: to, Passphrase: passphrase, Check: func(Head) error {
			return contract.Errorf(contract.CodePrerequisite, "newer")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Restore(t.Context(), o)
			require.Error(t, err)
			require.NotEqual(t, contract.CodeInternal, contract.CodeOf(err), "%v", err)
			require.NoDirExists(t, to)
		})
	}
	require.FileExists(t, i.dir.AppDB(), "the folder in use is untouched")
}

// TestADamagedBackupIsNeverTakenForAWholeOne cuts and changes archives at random places.
func TestADamagedBackupIsNeverTakenForAWholeOne(t *testing.T) {
	i := newInstallation(t, filepath.Join(t.TempDir(), "data"))
	i.put(content(100 << 10))
	for _, pass := range []string{"", passphrase} {
		whole := filepath.Join(t.TempDir(), "b.tar")
		_, err := Run(t.Context(), i.options(whole, pass))
		require.NoError(t, err)
		archive, err := os.ReadFile(whole)
		require.NoError(t, err)
		content := len(archive) - 4*512 // beyond it are the end of the tar file, and padding
		for range 20 {
			at := rand.IntN(content)
			cut, changed := archive[:at], bytes.Clone(archive)
			changed[at] ^= 1 << rand.IntN(8)
			for name, bytes := range map[string][]byte{"cut": cut, "changed": changed} {
				path, to := filepath.Join(t.TempDir(), "b.tar"), filepath.Join(t.TempDir(), "data")
				require.NoError(t, os.WriteFile(path, bytes, 0o600))
				got, err := Restore(t.Context(), RestoreOptions{From: path, To: to, Passphrase: pass})
				if err == nil && name == "changed" && pass == "" {
					requireSame(t, i, to) // a bit that says nothing: a time, a name of a user
					continue
				}
				require.Error(t, err, "%s at %d of %d: %+v", name, at, len(archive), got)
				require.NotEqual(t, contract.CodeInternal, contract.CodeOf(err), "%s at %d: %v", name, at, err)
				require.NoDirExists(t, to, "nothing is left")
			}
		}
	}
}

func requireSame(t *testing.T, i *installation, root string) {
	t.Helper()
	back := restored(t, root)
	live, err := i.store.LiveObjects(t.Context())
	require.NoError(t, err)
	for id := range live {
		require.Equal(t, i.read(id), back.read(id))
	}
}

func TestObjectsThatAFolderLost(t *testing.T) {
	i := newInstallation(t, filepath.Join(t.TempDir(), "data"))
	gone, bad, fine := i.put(content(1000)), i.put(content(1000)), i.put(content(1000))
	place := filepath.Join(t.TempDir(), "kept")
	_, err := Run(t.Context(), i.options(place, ""))
	require.NoError(t, err)
	one := func(id string) string {
		found, err := filepath.Glob(filepath.Join(place, "objects", id+".*"))
		require.NoError(t, err)
		require.Len(t, found, 1)
		return found[0]
	}
	require.NoError(t, os.Remove(one(gone)))
	require.NoError(t, os.WriteFile(one(bad), content(1000+200), 0o600))
	to := filepath.Join(t.TempDir(), "data")
	_, err = Restore(t.Context(), RestoreOptions{From: place, To: to})
	require.Equal(t, contract.CodeBadData, contract.CodeOf(err))
	require.ErrorContains(t, err, gone)
	require.ErrorContains(t, err, "--partial")
	require.NoDirExists(t, to)
	got, err := Restore(t.Context(), RestoreOptions{From: place, To: to, Partial: true})
	require.NoError(t, err)
	require.Len(t, got.Missing, 2)
	back := restored(t, to)
	require.NotEmpty(t, back.read(fine))
	_, err = back.blobs.Open(t.Context(), bad, 0)
	require.Error(t, err)
	mark, err := back.dir.Restored()
	require.NoError(t, err)
	require.Equal(t, got.Missing, mark.Missing)
}

// TestAnArchiveLeadsNowhereElse: a backup that somebody made up writes only where backups do.
func TestAnArchiveLeadsNowhereElse(t *testing.T) {
	for _, header := range []tar.Header{
		{Name: "../evil", Typeflag: tar.TypeReg}, {Name: "objects/../../evil", Typeflag: tar.TypeReg}, {Name: "/tmp/evil", Typeflag: tar.TypeReg},
		{Name: "objects/obj_1", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, {Name: "run/server.json", Typeflag: tar.TypeReg},
		{Name: "secrets/cli.token", Typeflag: tar.TypeReg}, {Name: "objects/obj_.", Typeflag: tar.TypeReg}, {Name: "app.db/", Typeflag: tar.TypeDir},
	} {
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		head := []byte(`{"format":1,"bytes":10}`)
		require.NoError(t, w.WriteHeader(&tar.Header{Name: headEntry, Size: int64(len(head)), Mode: 0o600, Typeflag: tar.TypeReg}))
		_, err := w.Write(head)
		require.NoError(t, err)
		require.NoError(t, w.WriteHeader(&header))
		require.NoError(t, w.Close())
		root := t.TempDir()
		path, to := filepath.Join(root, "b.tar"), filepath.Join(root, "data")
		require.NoError(t, os.WriteFile(path, archive.Bytes(), 0o600))
		_, err = Restore(t.Context(), RestoreOptions{From: path, To: to})
		require.Equal(t, contract.CodeBadData, contract.CodeOf(err), "%s: %v", header.Name, err)
		entries, err := os.ReadDir(root)
		require.NoError(t, err)
		require.Len(t, entries, 1, header.Name)
	}
}

func TestAFullDiskWhileBackingUpAndRestoring(t *testing.T) {
	smalldisk.Run(t, 128<<20, func(t *testing.T, disk string) {
		i := newInstallation(t, filepath.Join(t.TempDir(), "data"))
		for range 4 {
			i.put(content(8 << 20))
		}
		for name, place := range map[string]string{"a file": filepath.Join(disk, "b.tar"), "a folder": filepath.Join(disk, "kept")} {
			smalldisk.Fill(t, disk, 80<<20)
			_, err := Run(t.Context(), i.options(place, ""))
			require.Equal(t, contract.CodeDiskFull, contract.CodeOf(err), "%s, seen before: %v", name, err)
			smalldisk.Free(t, disk)

			full := sync.OnceFunc(func() { smalldisk.Fill(t, disk, 0) })
			o := i.options(place, "")
			o.Progress = func(done, _ int64) {
				if done > 10<<20 {
					full()
				}
			}
			_, err = Run(t.Context(), o)
			require.Equal(t, contract.CodeDiskFull, contract.CodeOf(err), "%s, on the way: %v", name, err)
			smalldisk.Free(t, disk)
			requireNoArchive(t, disk)

			report, err := Run(t.Context(), i.options(place, ""))
			require.NoError(t, err, "%s: once there is room", name)
			require.NoError(t, os.RemoveAll(place))
			require.NotEmpty(t, report.Path)
		}
		from, to := filepath.Join(t.TempDir(), "b.tar"), filepath.Join(disk, "data")
		_, err := Run(t.Context(), i.options(from, ""))
		require.NoError(t, err)
		full := sync.OnceFunc(func() { smalldisk.Fill(t, disk, 0) })
		_, err = Restore(t.Context(), RestoreOptions{From: from, To: to, Progress: func(done, _ int64) {
			if done > 10<<20 {
				full()
			}
		}})
		require.Equal(t, contract.CodeDiskFull, contract.CodeOf(err), "%v", err)
		require.NoDirExists(t, to)
		smalldisk.Free(t, disk)
		_, err = Restore(t.Context(), RestoreOptions{From: from, To: to})
		require.NoError(t, err)
	})
}

func requireNoArchive(t *testing.T, root string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		require.NoError(t, err)
		require.False(t, strings.HasSuffix(path, plainSuffix) || strings.HasSuffix(path, sealedSuffix), "%s looks whole", path)
		return nil
	}))
}

// TestAKillLeavesNothingThatLooksWhole kills a backup and a restore halfway, and does each again over what is left.
func TestAKillLeavesNothingThatLooksWhole(t *testing.T) {
	i := newInstallation(t, filepath.Join(t.TempDir(), "data"))
	for range 3 {
		i.put(content(4 << 20))
	}
	killed := func(what, from, to string) {
		self := exec.CommandContext(t.Context(), os.Args[0])
		self.Env = append(os.Environ(), envKilled+"="+what, "VIBEFLOW_TEST_FROM="+from, "VIBEFLOW_TEST_TO="+to)
		out, err := self.CombinedOutput()
		require.Error(t, err)
		require.Equal(t, "signal: killed", err.Error(), "%s", out)
	}
	for _, name := range []string{"b.tar", "kept"} {
		root := t.TempDir()
		place := filepath.Join(root, name)
		killed("backup", i.dir.Root(), place)
		requireNoArchive(t, root)
		_, err := Restore(t.Context(), RestoreOptions{From: place, To: filepath.Join(t.TempDir(), "data")})
		require.Equal(t, contract.CodeNotFound, contract.CodeOf(err), "%v", err)
		report, err := Run(t.Context(), i.options(place, ""))
		require.NoError(t, err)
		require.Empty(t, parts(t, root))

		to := filepath.Join(t.TempDir(), "data")
		killed("restore", report.Path, to)
		_, err = datadir.Open(to)
		require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err), "%v", err)
		require.ErrorContains(t, err, "vibeflow restore")
		_, err = Restore(t.Context(), RestoreOptions{From: report.Path, To: to})
		require.NoError(t, err)
		requireSame(t, i, to)
	}
}

func parts(t *testing.T, root string) (found []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, partSuffix) {
			found = append(found, path)
		}
		return err
	}))
	return found
}

func TestTheSchedule(t *testing.T) {
	i := newInstallation(t, filepath.Join(t.TempDir(), "data"))
	blocked := filepath.Join(t.TempDir(), "kept")
	require.NoError(t, os.WriteFile(blocked, nil, 0o600)) // a file where the folder should be
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	s := &Scheduler{Dir: i.dir, Schedule: Schedule{Every: time.Second, To: blocked, Keep: 2}, Log: slog.New(slog.DiscardHandler), again: 50 * time.Millisecond}
	go func() { defer close(ended); s.Run(ctx) }()
	state := func(want func(State) bool) State {
		for {
			s, err := ReadState(i.dir.Root())
			require.NoError(t, err)
			if want(s) {
				return s
			}
			select {
			case <-time.After(20 * time.Millisecond): // a file that changes tells nobody
			case <-t.Context().Done():
				require.Fail(t, "it never came")
			}
		}
	}
	failed := state(func(s State) bool { return s.Failed != nil && s.Failed.Times >= 2 })
	require.Nil(t, failed.Last)
	require.NotEmpty(t, failed.Failed.Error.Message)
	require.NoError(t, os.Remove(blocked))
	state(func(s State) bool { return s.Last != nil && s.Failed == nil })
	var kept []string
	state(func(State) bool {
		found, err := archives(blocked)
		require.NoError(t, err)
		if len(kept) == 0 {
			kept = found
			return false
		}
		return len(found) == 2 && found[0] > kept[0] // one was made and another removed
	})
	cancel()
	<-ended
}

// TestStoredFilesThatAreAwayAreNotBackedUpAsMissing: a scheduled backup would else push the good ones out.
func TestStoredFilesThatAreAwayAreNotBackedUpAsMissing(t *testing.T) {
	i := newInstallation(t, filepath.Join(t.TempDir(), "data"))
	id, want, place := "", content(100), filepath.Join(t.TempDir(), "kept")
	id = i.put(want)
	report, err := Run(t.Context(), i.options(place, ""))
	require.NoError(t, err)
	require.NoError(t, os.Rename(i.dir.Blobs(), i.dir.Blobs()+".unmounted"))
	options := i.options(place, "")
	options.Keep, options.Now = 1, func() time.Time { return time.Now().Add(time.Hour) }
	_, err = Run(t.Context(), options)
	require.Equal(t, contract.CodeStorageAway, contract.CodeOf(err), "%v", err)
	require.FileExists(t, report.Path)
	require.NoDirExists(t, i.dir.Blobs())

	to := filepath.Join(t.TempDir(), "restored")
	_, err = Restore(t.Context(), RestoreOptions{From: place, To: to})
	require.NoError(t, err)
	back := restored(t, to)
	require.Equal(t, want, back.read(id))
}

// TestAPartialRestoreStarts although it has none of the stored files: it knows that this is so.
func TestAPartialRestoreStarts(t *testing.T) {
	i := newInstallation(t, filepath.Join(t.TempDir(), "data"))
	place := filepath.Join(t.TempDir(), "kept")
	i.put(content(100))
	_, err := Run(t.Context(), i.options(place, ""))
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(place, objectsFolder)))
	to := filepath.Join(t.TempDir(), "restored")
	got, err := Restore(t.Context(), RestoreOptions{From: place, To: to, Partial: true})
	require.NoError(t, err)
	require.Len(t, got.Missing, 1)
	restored(t, to)
}
