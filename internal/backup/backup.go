package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/hardware"
)

// EnvPassphrase names the environment variable with the passphrase.
const EnvPassphrase = "VIBEFLOW_BACKUP_PASSPHRASE" //nolint:gosec // a name

// leastPassphrase is for a file that somebody may try passphrases on for as long as they like.
const leastPassphrase = 10

// Options says what to back up, and where to.
//
// To is a file that ends in .tar or .age and does not exist, or a folder (made if it is missing) that keeps several backups
// and stores each object once. Keep is how many archives a folder keeps, 0: all. An empty Passphrase writes in the clear.
// Scheduled says that nobody sees how it goes, so that it is written down.
type Options struct {
	Dir        *datadir.Dir
	To         string
	Passphrase string
	Keep       int
	Version    string
	Scheduled  bool
	Progress   func(done, total int64)
	Now        func() time.Time
}

// Report is what a backup is.
type Report struct {
	Path      string    `json:"path"`
	At        time.Time `json:"at"`
	Seconds   float64   `json:"seconds"`
	Bytes     int64     `json:"bytes"`  // of all that it stands for
	Copied    int64     `json:"copied"` // less what the folder had already
	Objects   int       `json:"objects"`
	Encrypted bool      `json:"encrypted"`
	HeldMS    float64   `json:"held_ms"`           // for how long the server's writes waited
	Missing   []string  `json:"missing,omitempty"` // stored files that the data folder itself lacks
	Removed   []string  `json:"removed,omitempty"` // older archives that were one too many
}

// run is one backup under way.
type run struct {
	Options
	folder  *folder // nil: everything goes into one file
	moment  moment
	head    Head
	objects []object
	done    int64
	total   int64
	report  Report
}

type object struct {
	id   string
	size int64
}

// Run makes a backup. Nothing of it is left if it fails, or is cut off by a kill, but a file that ends in .part, which the
// next one removes. Errors: CodeInUse if another one is under way, CodeDiskFull (looked at before, and while writing),
// CodeInvalid, CodePrerequisite, CodeStorageAway.
func Run(ctx context.Context, options Options) (Report, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Progress == nil {
		options.Progress = func(int64, int64) {}
	}
	if p := options.Passphrase; p != "" && len(p) < leastPassphrase {
		return Report{}, contract.Errorf(contract.CodeInvalid, "the passphrase is too short").On("passphrase").
			Mend("take %d characters or more: whoever has the file can try as often as they like", leastPassphrase)
	}
	lock, err := options.Dir.Lock(datadir.LockBackup)
	if contract.CodeOf(err) == contract.CodeInUse {
		return Report{}, contract.Errorf(contract.CodeInUse, "another backup of %s is under way", options.Dir.Root()).Mend("wait until it has ended")
	}
	if err != nil {
		return Report{}, err
	}
	defer lock.Release()
	r := &run{Options: options}
	return r.run(ctx)
}

func (r *run) run(ctx context.Context) (Report, error) {
	began := r.Now()
	var err error
	if r.moment, err = cut(ctx, r.Dir); err != nil {
		return Report{}, err
	}
	defer r.moment.close()
	at := r.Now().UTC()
	if err := r.plan(ctx, at); err != nil {
		return Report{}, err
	}
	path, err := r.place(at)
	if err != nil {
		return Report{}, err
	}
	if err := r.requireSpace(path); err != nil {
		return Report{}, err
	}
	if err := r.write(ctx, path, at); err != nil {
		return Report{}, err
	}
	if r.folder != nil {
		if r.report.Removed, err = r.folder.prune(r.Keep); err != nil {
			return Report{}, diskError("remove older backups", err)
		}
	}
	r.report.Path, r.report.At, r.report.Seconds = path, at, r.Now().Sub(began).Seconds()
	r.report.Encrypted, r.report.HeldMS = r.Passphrase != "", float64(r.moment.held.Microseconds())/1000
	return r.report, nil
}

// plan counts what there is.
func (r *run) plan(ctx context.Context, at time.Time) error {
	ids, err := r.moment.app.objects(ctx)
	if err != nil {
		return fmt.Errorf("list the stored files: %w", err)
	}
	for _, id := range ids {
		info, err := os.Stat(r.blob(id))
		if errors.Is(err, fs.ErrNotExist) {
			r.report.Missing = append(r.report.Missing, id)
			continue
		}
		if err != nil {
			return fmt.Errorf("look at a stored file: %w", err)
		}
		r.objects = append(r.objects, object{id, info.Size()})
		r.total += info.Size()
	}
	for _, d := range r.moment.all() {
		r.total += d.size()
	}
	installation, err := r.moment.app.identity(ctx)
	if err != nil {
		return fmt.Errorf("read the installation's identity: %w", err)
	}
	if len(r.report.Missing) > 0 { // a backup without stored files that are only not mounted would take the place of a good one
		if err := artifact.Marked(r.Dir.Blobs(), installation); err != nil {
			return err
		}
		if len(r.report.Missing) > 1 && len(r.objects) == 0 { // a mount point may have the mark, of a start before the first mount
			return artifact.NotIn(r.Dir.Blobs())
		}
	}
	host, _ := os.Hostname() // for people only
	r.head = Head{Format: format, CreatedAt: at, Version: r.Version, Installation: installation, Host: host, Bytes: r.total, Objects: len(r.objects)}
	r.report.Bytes, r.report.Objects = r.total, len(r.objects)
	if r.moment.temporal != nil {
		r.head.Temporal, err = temporalRelease(r.Dir)
	}
	return err
}

func (r *run) blob(id string) string { return filepath.Join(r.Dir.Blobs(), "objects", id) }

// temporalRelease reads the stamp of internal/embedded.
func temporalRelease(dir *datadir.Dir) (string, error) {
	content, err := os.ReadFile(filepath.Join(dir.TemporalDir(), filepath.Base(stampEntry)))
	var stamp struct {
		Server string `json:"server"`
	}
	if err == nil {
		err = json.Unmarshal(content, &stamp)
	}
	if err != nil {
		return "", contract.Errorf(contract.CodePrerequisite, "which Temporal wrote its database is unknown: %w", err).
			Mend("see `vibeflow doctor`")
	}
	return stamp.Server, nil
}

const (
	archivePrefix = "vibeflow-"
	timeInName    = "20060102T150405Z"
	plainSuffix   = ".tar"
	sealedSuffix  = ".tar.age"
)

// Name is what an archive is called where nobody has named it.
func Name(at time.Time, encrypted bool) string {
	if encrypted {
		return archivePrefix + at.UTC().Format(timeInName) + sealedSuffix
	}
	return archivePrefix + at.UTC().Format(timeInName) + plainSuffix
}

// IsFile tells whether a place is one file; any other is a folder of backups.
func IsFile(to string) bool {
	return strings.HasSuffix(to, plainSuffix) || strings.HasSuffix(to, ".age")
}

// place finds where the archive goes. It is never on another file's.
func (r *run) place(at time.Time) (path string, err error) {
	if path, err = filepath.Abs(r.To); err != nil {
		return "", err
	}
	info, err := os.Lstat(path)
	isFolder := err == nil && info.IsDir()
	if !IsFile(path) || isFolder {
		if r.folder, err = openFolder(path, r.head.Installation); err != nil {
			return "", err
		}
		r.head.Beside = true
		path = filepath.Join(path, Name(at, r.Passphrase != ""))
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return "", contract.Errorf(contract.CodeConflict, "%s is there already", path).On("to").Mend("name another file, or a folder")
	}
	return path, nil
}

// margin is left free beside what a backup takes.
const margin = 64 << 20

func (r *run) requireSpace(path string) error {
	need := r.total
	for _, o := range r.objects {
		if r.folder != nil && r.folder.has(o) {
			need -= o.size
		}
	}
	r.total, r.report.Copied = need, need
	disk := hardware.DiskOf(filepath.Dir(path))
	if disk.Total == 0 || int64(disk.Free) >= need+margin {
		return nil
	}
	return contract.Errorf(contract.CodeDiskFull, "the backup takes %s, and %s has %s free", humanize.IBytes(uint64(need)), filepath.Dir(path), humanize.IBytes(disk.Free)).On("to").
		Mend("free some space there, or name another place with --to")
}

func (r *run) wrote(n int64) {
	r.done += n
	r.Progress(min(r.done, r.total), r.total)
}

func (r *run) write(ctx context.Context, path string, at time.Time) (err error) {
	a, err := create(path, r.Passphrase, at, r.wrote)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			a.abandon()
			_ = removeIfThere(listOf(path))
		}
	}()
	if err := r.writeState(ctx, a); err != nil {
		return err
	}
	r.moment.close() // the databases' logs need not grow while objects are copied
	if r.folder == nil {
		err = r.embedObjects(ctx, a)
	} else {
		err = r.folder.keep(ctx, r, a)
	}
	if err != nil {
		return err
	}
	_, err = a.finish(ctx)
	return err
}

// writeState writes all but the objects.
func (r *run) writeState(ctx context.Context, a *archive) error {
	if err := a.addJSON(ctx, headEntry, r.head); err != nil {
		return err
	}
	plain := secretEntries
	if r.moment.temporal != nil {
		plain = append(plain[:len(plain):len(plain)], stampEntry)
	}
	for _, name := range plain {
		content, err := os.ReadFile(filepath.Join(r.Dir.Root(), filepath.FromSlash(name)))
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if err := a.addBytes(ctx, name, content); err != nil {
			return err
		}
	}
	for _, d := range r.moment.all() {
		if err := a.add(ctx, d.name, d.size(), func(w io.Writer) error { return d.copyTo(ctx, w) }); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) embedObjects(ctx context.Context, a *archive) error {
	for _, o := range r.objects {
		err := a.add(ctx, objectsPrefix+o.id, o.size, func(w io.Writer) error { return r.copyObject(o, w) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) copyObject(o object, w io.Writer) error {
	f, err := os.Open(r.blob(o.id))
	if err != nil {
		return err
	}
	n, err := io.Copy(w, io.LimitReader(f, o.size))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if n != o.size {
		return fmt.Errorf("%s has %d bytes, and %d were read", o.id, o.size, n)
	}
	return nil
}

// Passphrase reads the passphrase from a file, else from the environment; the empty string if there is none.
func Passphrase(path string) (string, error) {
	if path == "" {
		return os.Getenv(EnvPassphrase), nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", contract.Errorf(contract.CodeInvalid, "the passphrase cannot be read: %w", err).On("passphrase-file")
	}
	first, _, _ := strings.Cut(string(content), "\n")
	if first = strings.TrimRight(first, "\r"); first == "" {
		return "", contract.Errorf(contract.CodeInvalid, "%s is empty", path).On("passphrase-file").Mend("put the passphrase on its first line")
	}
	return first, nil
}
