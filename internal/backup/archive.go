package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"filippo.io/age"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/hardware"
)

// Entries of an archive.
const (
	headEntry     = "backup.json"
	manifestEntry = "manifest.json"
	temporalEntry = "temporal/temporal.db"
	stampEntry    = "temporal/version.json"
	appEntry      = "app.db"
	objectsPrefix = "objects/"
)

// secretEntries are the secrets without which the rest says nothing.
var secretEntries = []string{"secrets/master.key", "secrets/jwt.key"}

// format is the version of an archive's format; a newer one is refused.
const format = 1

// Head is an archive's first entry: what it is, before anything is unpacked.
type Head struct {
	Format       int       `json:"format"`
	CreatedAt    time.Time `json:"created_at"`
	Version      string    `json:"vibeflow"`           // that made it
	Temporal     string    `json:"temporal,omitempty"` // release whose database it has
	Installation string    `json:"installation"`
	Host         string    `json:"host,omitempty"`
	Bytes        int64     `json:"bytes"` // of all files, the objects included
	Objects      int       `json:"objects"`
	// Beside says that the objects stand in the folder of the archive.
	Beside bool `json:"beside,omitempty"`
}

// file is one of the manifest.
type file struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

type manifest struct {
	Files []file `json:"files"`
}

// partSuffix is of a file that is being written; only a whole one gets its name.
const partSuffix = ".part"

// archive is one that is being written. It has its name once finish has returned.
type archive struct {
	path     string
	file     *os.File
	buffered *bufio.Writer
	sealed   io.WriteCloser // nil: in the clear
	tar      *tar.Writer
	manifest manifest
	at       time.Time
	written  func(int64)
}

const bufferBytes = 1 << 20

func create(path, passphrase string, at time.Time, written func(int64)) (*archive, error) {
	if err := os.Remove(path + partSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, diskError("write the backup", err)
	}
	f, err := os.OpenFile(path+partSuffix, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, diskError("write the backup", err)
	}
	a := &archive{path: path, file: f, buffered: bufio.NewWriterSize(f, bufferBytes), at: at, written: written}
	to := io.Writer(a.buffered)
	if passphrase != "" {
		if a.sealed, err = encrypt(a.buffered, passphrase); err != nil {
			a.abandon()
			return nil, diskError("write the backup", err)
		}
		to = a.sealed
	}
	a.tar = tar.NewWriter(to)
	return a, nil
}

// workFactor is the logarithm of scrypt's cost, age's own choice: about a second for each passphrase that is tried.
var workFactor = 18 // tests lower it

func encrypt(w io.Writer, passphrase string) (io.WriteCloser, error) {
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, err
	}
	recipient.SetWorkFactor(workFactor)
	return age.Encrypt(w, recipient)
}

// add writes an entry of a known size.
func (a *archive) add(ctx context.Context, name string, size int64, content func(io.Writer) error) error {
	header := &tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: a.at, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
	if err := a.tar.WriteHeader(header); err != nil {
		return diskError("write the backup", err)
	}
	sum := sha256.New()
	if err := content(io.MultiWriter(sum, &counted{ctx, a.tar, a.written})); err != nil {
		return diskError("back up "+name, err)
	}
	a.manifest.Files = append(a.manifest.Files, file{name, size, hex.EncodeToString(sum.Sum(nil))})
	return nil
}

func (a *archive) addBytes(ctx context.Context, name string, content []byte) error {
	return a.add(ctx, name, int64(len(content)), func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

func (a *archive) addJSON(ctx context.Context, name string, value any) error {
	content, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		return err
	}
	return a.addBytes(ctx, name, append(content, '\n'))
}

// finish ends the archive with its manifest, has the disk keep it, and gives it its name.
func (a *archive) finish(ctx context.Context) (bytes int64, err error) {
	if err := a.addJSON(ctx, manifestEntry, a.manifest); err != nil {
		return 0, err
	}
	steps := []func() error{a.tar.Close}
	if a.sealed != nil {
		steps = append(steps, a.sealed.Close)
	}
	for _, step := range append(steps, a.buffered.Flush, a.file.Sync) {
		if err := step(); err != nil {
			return 0, diskError("write the backup", err)
		}
	}
	info, err := a.file.Stat()
	if err := errors.Join(err, a.file.Close()); err != nil {
		return 0, diskError("write the backup", err)
	}
	if err := os.Rename(a.path+partSuffix, a.path); err != nil {
		return 0, diskError("write the backup", err)
	}
	return info.Size(), diskError("write the backup", datadir.SyncDir(filepath.Dir(a.path)))
}

// abandon leaves nothing.
func (a *archive) abandon() {
	_ = a.file.Close()
	_ = os.Remove(a.path + partSuffix)
}

// counted tells of what is written, and stops when its context does.
type counted struct {
	ctx     context.Context
	w       io.Writer
	written func(int64)
}

// Write implements io.Writer.
func (c *counted) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.w.Write(p)
	c.written(int64(n))
	return n, err
}

// diskError says what the disk that is written to says, in words that help: the user has chosen the place.
func diskError(doing string, err error) error {
	if contract.CodeOf(err) == contract.CodeInternal && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)) {
		return contract.Errorf(contract.CodePrerequisite, "cannot %s: %w", doing, err).Mend("make it writable for this user, or name another place")
	}
	return hardware.DiskError("the disk that is written to", doing, err)
}

// ageMagic is how an encrypted archive begins.
var ageMagic = []byte("age-encryption.org/v1")

// openArchive reads an archive, decrypting it if it is encrypted. wrong is what to call it in errors.
func openArchive(f io.Reader, path, passphrase string) (*tar.Reader, bool, error) {
	buffered := bufio.NewReaderSize(f, bufferBytes)
	start, err := buffered.Peek(len(ageMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	if !bytes.Equal(start, ageMagic) {
		return tar.NewReader(buffered), false, nil
	}
	if passphrase == "" {
		return nil, true, contract.Errorf(contract.CodeInvalid, "%s is encrypted", path).On("passphrase").
			Mend("give the passphrase that it was made with: --passphrase-file FILE, or $%s", EnvPassphrase)
	}
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, true, err
	}
	plain, err := age.Decrypt(buffered, identity)
	var mismatch *age.NoIdentityMatchError
	if errors.As(err, &mismatch) {
		return nil, true, contract.Errorf(contract.CodeInvalid, "this passphrase does not open %s", path).On("passphrase").
			Mend("give the one that the backup was made with; nobody can open it without")
	}
	if err != nil {
		return nil, true, damaged(path, err)
	}
	return tar.NewReader(plain), true, nil
}

func damaged(path string, err error) error {
	return contract.Errorf(contract.CodeBadData, "%s is damaged, or only a part of a backup: %w", path, err).
		Mend("copy it again from where it came from, or take an older backup; nothing was restored")
}
