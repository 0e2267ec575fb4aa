package gatewayclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/hardware"
)

// BlobSource opens content by digest from offset on; it returns the offset that the bytes really start at.
type BlobSource func(ctx context.Context, sha256 string, offset int64) (body io.ReadCloser, start int64, err error)

var digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ValidDigest reports whether s is a sha256 in lower-case hexadecimal: a digest becomes a file name.
func ValidDigest(s string) bool { return digestPattern.MatchString(s) }

// Fetch brings content to path (mode 0600) and verifies its digest. What an earlier, interrupted fetch left in
// path+".part" is carried on with, and a file that is there already and right is not fetched again. Interruptions are
// retried for as long as ctx lives; content that does not match its digest is CodeUnavailable after a second try.
func Fetch(ctx context.Context, log *slog.Logger, source BlobSource, file contract.FileInfo, path string) error {
	if !ValidDigest(file.SHA256) {
		return contract.Errorf(contract.CodeInvalid, "%q is not a sha256 digest", file.SHA256)
	}
	if sum, err := HashFile(path); err == nil && sum == file.SHA256 {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return localError("fetch", err)
	}
	part := path + ".part"
	var err error
	for range 2 {
		err = Patiently(ctx, log, "fetch "+short(file.SHA256), func(ctx context.Context) error {
			return fetchRest(ctx, source, file, part)
		})
		if err != nil {
			return err
		}
		if err = verify(part, file); err == nil {
			return publish(part, path)
		}
		if removeErr := os.Remove(part); removeErr != nil {
			return errors.Join(err, removeErr)
		}
	}
	return err
}

// fetchRest appends what part lacks.
func fetchRest(ctx context.Context, source BlobSource, file contract.FileInfo, part string) error {
	out, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return localError("fetch", err)
	}
	defer out.Close()
	have, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return localError("fetch", err)
	}
	switch {
	case file.Size > 0 && have == file.Size:
		return nil
	case file.Size > 0 && have > file.Size:
		have = 0 // of an earlier content under this name
	}
	body, start, err := source(ctx, file.SHA256, have)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := rewindTo(out, start); err != nil {
		return localError("fetch", err)
	}
	// One byte more than promised shows a wrong size without taking in whatever is sent.
	limit := int64(1<<62) - 1
	if file.Size > 0 {
		limit = file.Size - start + 1
	}
	guarded := guardStall(body)
	defer guarded.stop()
	if _, err := io.Copy(out, io.LimitReader(guarded, limit)); err != nil {
		var local *os.PathError
		if errors.As(err, &local) {
			return localError("fetch", err)
		}
		return unreachable(ctx, err)
	}
	return localError("fetch", out.Close())
}

func rewindTo(file *os.File, offset int64) error {
	if err := file.Truncate(offset); err != nil {
		return err
	}
	_, err := file.Seek(offset, io.SeekStart)
	return err
}

func verify(path string, file contract.FileInfo) error {
	info, err := os.Stat(path)
	if err != nil {
		return localError("verify", err)
	}
	sum, err := HashFile(path)
	if err != nil {
		return localError("verify", err)
	}
	if sum != file.SHA256 || (file.Size > 0 && info.Size() != file.Size) {
		return contract.Errorf(contract.CodeUnavailable, "what arrived for %s has another digest or size", short(file.SHA256)).
			Mend("it is tried again; if it stays, this machine's disk or memory, or what stands between it and the server, changes what it fetches")
	}
	return nil
}

// publish makes a verified file appear under its name at once, on the disk and not only in memory.
func publish(part, path string) error {
	file, err := os.OpenFile(part, os.O_RDWR, 0o600)
	if err != nil {
		return localError("publish", err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return localError("publish", err)
	}
	return localError("publish", os.Rename(part, path))
}

// Upload sends the file at path unless the gateway has its content already; an upload that was cut off is carried on
// with. Interruptions are retried for as long as ctx lives. A file that is gone surfaces as os.ErrNotExist.
func Upload(ctx context.Context, log *slog.Logger, run *Run, path string, file contract.FileInfo) error {
	var stored bool
	err := Patiently(ctx, log, "look for "+short(file.SHA256), func(ctx context.Context) (err error) {
		stored, err = run.HasBlob(ctx, file.SHA256)
		return err
	})
	if err != nil || stored {
		return err
	}
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	defer in.Close()
	return Patiently(ctx, log, "upload "+filepath.Base(path), func(ctx context.Context) error {
		return uploadRest(ctx, run, in, file)
	})
}

// uploadRest asks how much has arrived and sends the rest, a chunk at a time.
func uploadRest(ctx context.Context, run *Run, in io.ReaderAt, file contract.FileInfo) error {
	state, err := run.UploadState(ctx, file.SHA256)
	if err != nil || state.Complete {
		return err
	}
	chunk := make([]byte, min(contract.UploadChunkBytes, max(file.Size, 1)))
	for !state.Complete {
		offset := state.Received
		n, err := in.ReadAt(chunk[:min(int64(len(chunk)), file.Size-offset)], offset)
		if err != nil && !(errors.Is(err, io.EOF) && offset+int64(n) == file.Size) {
			return fmt.Errorf("upload: %w", err)
		}
		state, err = run.UploadChunk(ctx, file.SHA256, offset, file.Size, chunk[:n])
		if err != nil {
			return err
		}
		if !state.Complete && state.Received <= offset {
			return contract.Errorf(contract.CodeUnavailable, "the gateway took nothing of the upload at %d", offset)
		}
		if !state.Complete && state.Received >= file.Size {
			return contract.Errorf(contract.CodeInvalid, "the gateway has all %d bytes and does not complete the upload", file.Size)
		}
	}
	return nil
}

// HashFile returns a file's sha256 in lower-case hexadecimal.
func HashFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// localError keeps a failure of this machine's disk from being taken for the gateway's.
func localError(doing string, err error) error {
	return hardware.DiskError("the worker's disk", doing, err)
}

func short(digest string) string { return digest[:min(12, len(digest))] }

// stallGuard closes a body of which nothing was read for stallTimeout: a peer that vanished without a word would
// otherwise hold the fetch forever.
type stallGuard struct {
	body  io.ReadCloser
	timer *time.Timer
}

func guardStall(body io.ReadCloser) *stallGuard {
	return &stallGuard{body: body, timer: time.AfterFunc(stallTimeout, func() { _ = body.Close() })}
}

func (g *stallGuard) stop() { g.timer.Stop() }

// Read implements io.Reader.
func (g *stallGuard) Read(p []byte) (int, error) {
	n, err := g.body.Read(p)
	if n > 0 {
		g.timer.Reset(stallTimeout)
	}
	return n, err
}
