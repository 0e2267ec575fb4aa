package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/store"
)

// uploads keeps what has arrived of files under way in the spool, one part file a run and digest, so that an upload goes
// on where it stopped, over restarts of either side.
type uploads struct {
	artifacts *artifact.Store
	max       int64
	mu        sync.Mutex
	busy      map[string]*sync.Mutex
	waiting   map[string]int
}

const (
	partSuffix = ".part"
	// partLife is how long an upload that nobody goes on with is kept.
	partLife = 48 * time.Hour
)

func newUploads(artifacts *artifact.Store, maxBytes int64, log *slog.Logger) (*uploads, error) {
	u := &uploads{artifacts: artifacts, max: maxBytes, busy: map[string]*sync.Mutex{}, waiting: map[string]int{}}
	return u, u.sweep(log, time.Now().Add(-partLife))
}

// sweep removes parts that nobody has touched since a time.
func (u *uploads) sweep(log *slog.Logger, before time.Time) error {
	entries, err := os.ReadDir(u.artifacts.SpoolDir())
	if err != nil {
		return fmt.Errorf("read the spool: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.HasSuffix(e.Name(), partSuffix) || info.ModTime().After(before) {
			continue
		}
		log.Info("removing an upload that was given up", "part", e.Name(), "bytes", info.Size())
		if err := os.Remove(filepath.Join(u.artifacts.SpoolDir(), e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// part names the file of an upload; run and digest are checked by then, and neither can hold a separator.
func (u *uploads) part(runID, sha string) string {
	return filepath.Join(u.artifacts.SpoolDir(), runID+"-"+sha+partSuffix)
}

// forget removes the parts of a run that has ended.
func (u *uploads) forget(runID string) {
	parts, _ := filepath.Glob(u.part(runID, "*")) // the pattern is well formed: ids hold no special characters
	for _, p := range parts {
		_ = os.Remove(p) // what stays is swept at a later start
	}
}

// lock serialises the requests of one upload: a client that gave up waiting may send again while the first is served.
func (u *uploads) lock(part string) (unlock func()) {
	u.mu.Lock()
	m := u.busy[part]
	if m == nil {
		m = &sync.Mutex{}
		u.busy[part] = m
	}
	u.waiting[part]++
	u.mu.Unlock()
	m.Lock()
	return func() {
		m.Unlock()
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.waiting[part]--; u.waiting[part] == 0 {
			delete(u.busy, part)
			delete(u.waiting, part)
		}
	}
}

func received(part string) (int64, error) {
	info, err := os.Stat(part)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (g *Gateway) getUpload(c *echo.Context) error {
	fence, sha := fenceOf(c), c.Param("sha")
	o, err := g.runObject(c)
	if err == nil {
		return c.JSON(http.StatusOK, contract.UploadState{SHA256: sha, Received: o.Size, Complete: true})
	}
	if contract.CodeOf(err) != contract.CodeNotFound {
		return err
	}
	n, err := received(g.uploads.part(fence.RunID, sha))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, contract.UploadState{SHA256: sha, Received: n})
}

// putUpload takes a chunk. An offset at or before what has arrived writes over it, which lets a client begin again; one
// beyond it is a conflict. With the last byte the content is verified and moves into the artifact store.
func (g *Gateway) putUpload(c *echo.Context) error {
	ctx, fence, sha := c.Request().Context(), fenceOf(c), c.Param("sha")
	offset, size, err := g.uploadQuery(c)
	if err != nil {
		return err
	}
	if err := checkDigest(sha); err != nil {
		return err
	}
	part := g.uploads.part(fence.RunID, sha)
	defer g.uploads.lock(part)()
	if o, err := g.runObject(c); err == nil {
		return c.JSON(http.StatusOK, contract.UploadState{SHA256: sha, Received: o.Size, Complete: true})
	} else if contract.CodeOf(err) != contract.CodeNotFound {
		return err
	}
	arrived := boundBody(c, min(contract.UploadChunkBytes, size-offset))
	n, err := writeChunk(part, offset, c.Request().Body)
	arrived()
	if err != nil {
		return err
	}
	if n < size {
		return c.JSON(http.StatusOK, contract.UploadState{SHA256: sha, Received: n})
	}
	// All of it is here: a client that leaves now must not cost the work.
	if err := g.keep(context.WithoutCancel(ctx), fence, part, sha, size); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, contract.UploadState{SHA256: sha, Received: size, Complete: true})
}

func (g *Gateway) uploadQuery(c *echo.Context) (offset, size int64, err error) {
	offset, errOffset := strconv.ParseInt(c.QueryParam("offset"), 10, 64)
	size, errSize := strconv.ParseInt(c.QueryParam("size"), 10, 64)
	if errOffset != nil || errSize != nil || offset < 0 || offset > size {
		return 0, 0, contract.Errorf(contract.CodeInvalid, "offset and size are numbers of bytes, offset at most size").On("offset")
	}
	if size > g.uploads.max {
		return 0, 0, contract.Errorf(contract.CodeTooLarge, "a file of %d bytes is over the limit of %d", size, g.uploads.max).On("size")
	}
	return offset, size, nil
}

// writeChunk writes a body at an offset and returns how much of the file has arrived. What came before a broken
// connection stays.
func writeChunk(part string, offset int64, body io.Reader) (int64, error) {
	have, err := received(part)
	if err != nil {
		return 0, err
	}
	if offset > have {
		return 0, contract.Errorf(contract.CodeConflict, "the chunk begins at %d, and %d bytes have arrived", offset, have).On("offset").
			Mend("go on at %d", have)
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return 0, spoolError(err)
	}
	if err := f.Truncate(offset); err != nil {
		return 0, errors.Join(spoolError(err), f.Close())
	}
	n, err := io.Copy(io.NewOffsetWriter(f, offset), body)
	return offset + n, spoolError(errors.Join(err, f.Close()))
}

func spoolError(err error) error {
	var tooLarge *http.MaxBytesError
	var disk *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return contract.Errorf(contract.CodeDiskFull, "the server's disk is full: %w", syscall.ENOSPC).Mend("free some space on the server")
	case errors.As(err, &tooLarge):
		return contract.Errorf(contract.CodeTooLarge, "the chunk is larger than %d bytes, or than the rest of the file: %w",
			tooLarge.Limit, err).Mend("send at most %d bytes at once", contract.UploadChunkBytes)
	case errors.As(err, &disk):
		return fmt.Errorf("spool: %w", err)
	default: // the connection
		return contract.Errorf(contract.CodeUnavailable, "the chunk was cut off: %w", err).Mend("ask how much has arrived and go on from there")
	}
}

// keep moves a whole part into the artifact store, or, if a run stored the same content before, lets this run hold it
// too. Content that does not have its digest is thrown away.
func (g *Gateway) keep(ctx context.Context, fence store.Fence, part, sha string, size int64) error {
	f, err := os.Open(part)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	err = g.share(ctx, fence, f, sha, size)
	if contract.CodeOf(err) == contract.CodeNotFound {
		err = g.encrypt(ctx, fence, f, sha, size)
	}
	if err == nil || contract.CodeOf(err) == contract.CodeInvalid {
		err = errors.Join(err, os.Remove(part))
	}
	return err
}

// share holds content that another run has stored: whoever has sent all of it has a right to it. not_found if none has.
func (g *Gateway) share(ctx context.Context, fence store.Fence, f *os.File, sha string, size int64) error {
	o, err := g.store.StoredByRuns(ctx, sha)
	if err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != sha {
		return contract.Errorf(contract.CodeInvalid, "the content's digest is %s, not %s", got, sha).On("sha256").Mend("send it again")
	}
	return g.store.AddRunBlob(ctx, fence, contract.ObjectRef{ObjectID: o.ID, SHA256: sha, Size: size})
}

func (g *Gateway) encrypt(ctx context.Context, fence store.Fence, f *os.File, sha string, size int64) error {
	o, err := g.artifacts.Put(ctx, artifact.PutInput{Reader: f, Name: "run/" + fence.RunID, ContentType: "application/octet-stream", SHA256: sha})
	if err != nil {
		return err
	}
	err = g.store.AddRunBlob(ctx, fence, contract.ObjectRef{ObjectID: o.ID, SHA256: sha, Size: size})
	if err != nil {
		return errors.Join(err, g.artifacts.Delete(ctx, o.ID))
	}
	return nil
}
