package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/hardware"
)

// RestoreOptions says which backup to restore, and into which folder.
//
// From is an archive, or a folder of backups, of which the newest is taken. Partial goes on where stored files are missing
// or damaged. Check and CheckApp, if set, refuse a backup that this program could not go on with.
type RestoreOptions struct {
	From       string
	To         string
	Passphrase string
	Partial    bool
	Check      func(Head) error
	CheckApp   func(ctx context.Context, path string) error // of the application's database; nil: none
	Progress   func(done, total int64)
	Now        func() time.Time
}

// Restored is what was restored.
type Restored struct {
	Path      string    `json:"path"`
	From      string    `json:"from"`
	BackupAt  time.Time `json:"backup_at"`
	Version   string    `json:"vibeflow"`
	Bytes     int64     `json:"bytes"`
	Objects   int       `json:"objects"`
	Encrypted bool      `json:"encrypted"`
	Missing   []string  `json:"missing,omitempty"`
	Seconds   float64   `json:"seconds"`
}

// restore is one under way.
type restore struct {
	RestoreOptions
	target  *datadir.Restoration
	archive string
	head    Head
	files   map[string]file // as they were unpacked
	have    map[string]bool // ids of objects
	missing []string
	done    int64
}

// Restore makes a data folder of a backup. Every file is compared with its digest, and both databases are checked. Nothing
// is left if it fails; what a kill leaves is no data folder, and the next restore into it begins anew. Errors: CodeBadData
// for a damaged backup, CodeInvalid for a wrong passphrase, CodePrerequisite for one of a newer VibeFlow, CodeConflict for
// a folder that is not empty, CodeDiskFull.
func Restore(ctx context.Context, options RestoreOptions) (Restored, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Progress == nil {
		options.Progress = func(int64, int64) {}
	}
	r := &restore{RestoreOptions: options, files: map[string]file{}, have: map[string]bool{}}
	return r.run(ctx)
}

func (r *restore) run(ctx context.Context) (done Restored, err error) {
	began := r.Now()
	if r.archive, err = r.find(); err != nil {
		return done, err
	}
	f, err := os.Open(r.archive)
	if err != nil {
		return done, contract.Errorf(contract.CodeNotFound, "the backup cannot be read: %w", err).On("file")
	}
	defer func() { _ = f.Close() }()
	entries, encrypted, err := openArchive(f, r.archive, r.Passphrase)
	if err != nil {
		return done, err
	}
	if err := r.readHead(entries); err != nil {
		return done, err
	}
	if r.target, err = datadir.BeginRestore(r.To); err != nil {
		return done, err
	}
	if err := r.fill(ctx, entries); err != nil {
		return done, errors.Join(err, r.target.Abandon())
	}
	if err := r.target.Finish(); err != nil {
		return done, err
	}
	return Restored{Path: r.target.Root(), From: r.archive, BackupAt: r.head.CreatedAt, Version: r.head.Version, Bytes: r.head.Bytes,
		Objects: len(r.have), Encrypted: encrypted, Missing: r.missing, Seconds: r.Now().Sub(began).Seconds()}, nil
}

func (r *restore) find() (string, error) {
	path, err := filepath.Abs(r.From)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", contract.Errorf(contract.CodeNotFound, "there is no backup at %s: %w", path, err).On("file")
	}
	if info.IsDir() {
		return newest(path)
	}
	return path, nil
}

// largestJSON bounds what is read into memory; a manifest of a million objects has less.
const largestJSON = 256 << 20

func (r *restore) readHead(entries *tar.Reader) error {
	header, err := entries.Next()
	if err != nil {
		return damaged(r.archive, err)
	}
	if header.Name != headEntry {
		return contract.Errorf(contract.CodeBadData, "%s is no backup of VibeFlow", r.archive).On("file")
	}
	if err := r.decode(entries, header, &r.head); err != nil {
		return err
	}
	if r.head.Format > format {
		return contract.Errorf(contract.CodePrerequisite, "%s was made by a newer VibeFlow (%s)", r.archive, r.head.Version).Mend("restore it with that version, or a newer one")
	}
	if r.Check != nil {
		return r.Check(r.head)
	}
	return nil
}

// decode reads an entry whole, and notes its digest.
func (r *restore) decode(entries io.Reader, header *tar.Header, into any) error {
	content, err := io.ReadAll(io.LimitReader(entries, largestJSON))
	if err != nil {
		return damaged(r.archive, err)
	}
	sum := sha256.Sum256(content)
	r.files[header.Name] = file{header.Name, int64(len(content)), hex.EncodeToString(sum[:])}
	if err := json.Unmarshal(content, into); err != nil {
		return damaged(r.archive, err)
	}
	return nil
}

func (r *restore) fill(ctx context.Context, entries *tar.Reader) error {
	if err := r.requireSpace(); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(r.target.Blobs(), "objects"), 0o700); err != nil {
		return diskError("restore", err)
	}
	m, err := r.unpack(ctx, entries)
	if err != nil {
		return err
	}
	if err := r.compare(m); err != nil {
		return err
	}
	if err := r.fetchObjects(ctx, m); err != nil {
		return err
	}
	if err := r.examine(ctx); err != nil {
		return err
	}
	return r.target.SaveRestored(datadir.Restored{From: r.archive, BackupAt: r.head.CreatedAt, At: r.Now().UTC(), Missing: r.missing})
}

func (r *restore) requireSpace() error {
	disk := hardware.DiskOf(r.target.Root())
	if disk.Total == 0 || int64(disk.Free) >= r.head.Bytes+margin {
		return nil
	}
	return contract.Errorf(contract.CodeDiskFull, "the backup takes %s, and %s has %s free", humanize.IBytes(uint64(r.head.Bytes)), r.target.Root(), humanize.IBytes(disk.Free)).On("data").
		Mend("free some space there, or name a folder on a larger disk with --data")
}

// unpack writes what the archive has, and returns its manifest, the last entry.
func (r *restore) unpack(ctx context.Context, entries *tar.Reader) (m manifest, err error) {
	for {
		header, err := entries.Next()
		if err != nil {
			return m, damaged(r.archive, fmt.Errorf("it has no end: %w", err))
		}
		if header.Name == manifestEntry {
			// What follows is the end of the tar file, and of the encryption, which tells a cut.
			if err := r.decode(entries, header, &m); err != nil {
				return m, err
			}
			if _, err := entries.Next(); !errors.Is(err, io.EOF) {
				return m, damaged(r.archive, errors.New("something follows its manifest"))
			}
			return m, nil
		}
		if !r.expected(header) {
			return m, damaged(r.archive, fmt.Errorf("it has an entry %q", header.Name))
		}
		if err := r.extract(ctx, entries, header); err != nil {
			return m, err
		}
	}
}

// expected tells whether an entry is one that a backup has, under a name that leads nowhere else.
func (r *restore) expected(header *tar.Header) bool {
	if _, twice := r.files[header.Name]; twice || header.Typeflag != tar.TypeReg {
		return false
	}
	known := append([]string{temporalEntry, stampEntry, appEntry}, secretEntries...)
	id, isObject := strings.CutPrefix(header.Name, objectsPrefix)
	return slices.Contains(known, header.Name) || isObject && plainID(id)
}

// plainID tells an object's id from anything that could be a path.
func plainID(id string) bool {
	rest, ok := strings.CutPrefix(id, "obj_")
	return ok && rest != "" && strings.Trim(rest, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_") == ""
}

func (r *restore) pathOf(entry string) string {
	if id, ok := strings.CutPrefix(entry, objectsPrefix); ok {
		return filepath.Join(r.target.Blobs(), "objects", id)
	}
	return filepath.Join(r.target.Root(), filepath.FromSlash(entry))
}

func (r *restore) extract(ctx context.Context, entries io.Reader, header *tar.Header) error {
	sum, n, err := r.writeFile(ctx, r.pathOf(header.Name), entries)
	if err != nil {
		return err
	}
	r.files[header.Name] = file{header.Name, n, sum}
	if id, ok := strings.CutPrefix(header.Name, objectsPrefix); ok {
		r.have[id] = true
	}
	return nil
}

// writeFile writes a new file, has the disk keep it, and returns its digest and size.
func (r *restore) writeFile(ctx context.Context, path string, from io.Reader) (digest string, n int64, err error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", 0, diskError("restore", err)
	}
	source := &sourceError{r: from}
	sum := sha256.New()
	n, err = io.Copy(io.MultiWriter(sum, &counted{ctx, out, r.wrote}), source)
	err = errors.Join(err, out.Sync(), out.Close())
	if source.err != nil {
		return "", n, damaged(r.archive, source.err)
	}
	return hex.EncodeToString(sum.Sum(nil)), n, diskError("restore", err)
}

// sourceError remembers that it was reading, not writing, that failed.
type sourceError struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (s *sourceError) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func (r *restore) wrote(n int64) {
	r.done += n
	r.Progress(min(r.done, r.head.Bytes), r.head.Bytes)
}

// compare holds what was unpacked against the manifest.
func (r *restore) compare(m manifest) error {
	listed := map[string]file{}
	for _, f := range m.Files {
		listed[f.Name] = f
	}
	for name, got := range r.files {
		if name == manifestEntry {
			continue
		}
		want, ok := listed[name]
		if !ok || want != got {
			return damaged(r.archive, fmt.Errorf("%s is not what was backed up", name))
		}
	}
	needed := append([]string{appEntry}, secretEntries...)
	if r.head.Temporal != "" {
		needed = append(needed, temporalEntry, stampEntry)
	}
	for _, f := range m.Files {
		if !r.head.Beside || !strings.HasPrefix(f.Name, objectsPrefix) {
			needed = append(needed, f.Name)
		}
	}
	for _, name := range needed {
		if _, ok := r.files[name]; !ok {
			return damaged(r.archive, fmt.Errorf("%s is missing", name))
		}
	}
	return nil
}

// fetchObjects copies those that stand beside the archive.
func (r *restore) fetchObjects(ctx context.Context, m manifest) error {
	if !r.head.Beside {
		return nil
	}
	for _, f := range m.Files {
		name, ok := strings.CutPrefix(f.Name, objectsPrefix)
		if !ok {
			continue
		}
		id, _, _ := strings.Cut(name, ".")
		if !plainID(id) || name != id+"."+f.SHA256 {
			return damaged(r.archive, fmt.Errorf("it names an object %q", name))
		}
		if err := r.fetchObject(ctx, id, f, filepath.Join(filepath.Dir(r.archive), objectsFolder, name)); err != nil {
			return err
		}
	}
	return nil
}

// fetchObject leaves out an object that is gone or damaged, for examine to name.
func (r *restore) fetchObject(ctx context.Context, id string, want file, path string) error {
	from, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return contract.Errorf(contract.CodePrerequisite, "the backup cannot be read: %w", err).On("file")
	}
	defer func() { _ = from.Close() }()
	to := r.pathOf(objectsPrefix + id)
	digest, n, err := r.writeFile(ctx, to, from)
	if err != nil && contract.CodeOf(err) != contract.CodeBadData {
		return err
	}
	if err != nil || digest != want.SHA256 || n != want.Size {
		return diskError("restore", os.Remove(to))
	}
	r.have[id] = true
	return nil
}

// examine has SQLite check both databases, and looks whether every stored file is there that the application knows.
func (r *restore) examine(ctx context.Context) error {
	if r.head.Temporal != "" {
		db, err := r.check(ctx, r.target.TemporalDB())
		if err != nil {
			return err
		}
		if err := db.Close(); err != nil {
			return err
		}
	}
	db, err := r.check(ctx, r.target.AppDB())
	if err != nil {
		return err
	}
	if r.CheckApp != nil {
		if err := r.CheckApp(ctx, r.target.AppDB()); err != nil {
			return errors.Join(err, db.Close())
		}
	}
	defer func() { _ = db.Close() }()
	if err := r.markBlobs(ctx, db); err != nil {
		return err
	}
	rows, err := db.QueryContext(ctx, `SELECT id, name FROM objects ORDER BY id`)
	if err != nil {
		return damaged(r.archive, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, name string
		if err := rows.Scan(&id, &name); err != nil {
			return damaged(r.archive, err)
		}
		if !r.have[id] {
			r.missing = append(r.missing, strings.TrimSpace(id+" "+name))
		}
	}
	if err := rows.Err(); err != nil {
		return damaged(r.archive, err)
	}
	if len(r.missing) > 0 && !r.Partial {
		return contract.Errorf(contract.CodeBadData, "%d stored files that the backup names are not in it, or are damaged: %s", len(r.missing), some(r.missing)).
			Mend("take another backup; or restore what is there with --partial: what needs those files then fails, and says so")
	}
	return nil
}

// markBlobs says whose the stored files are, as the server does when it makes their folder: it asks for the mark ever after.
// Where none was to be had, an empty mark has it go on without them.
func (r *restore) markBlobs(ctx context.Context, app *sql.DB) error {
	var installation string
	if err := app.QueryRowContext(ctx, `SELECT id FROM identity`).Scan(&installation); err != nil {
		return damaged(r.archive, err)
	}
	mark := []byte(installation)
	if len(r.have) == 0 {
		mark = nil
	}
	return diskError("restore", datadir.WriteFile(filepath.Join(r.target.Blobs(), artifact.Mark), mark))
}

func some(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + ", …"
}

func (r *restore) check(ctx context.Context, path string) (*sql.DB, error) {
	db, err := open(path)
	if err != nil {
		return nil, err
	}
	var verdict string
	err = db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&verdict)
	if err == nil && verdict != "ok" {
		err = errors.New(verdict)
	}
	if err != nil {
		return nil, errors.Join(damaged(r.archive, fmt.Errorf("%s: %w", filepath.Base(path), err)), db.Close())
	}
	return db, nil
}
