package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/seal"
	"github.com/vibeflow/vibeflow/internal/store"
)

// uploads are the files under way: one part of the spool for a run and digest, so that an upload goes on where it stopped,
// over restarts of either side.
type uploads struct {
	artifacts *artifact.Store
	max       int64
	log       *slog.Logger
	mu        sync.Mutex
	busy      map[string]*sync.Mutex
	waiting   map[string]int
	swept     time.Time
}

const (
	// partLife is how long an upload that nobody goes on with is kept.
	partLife   = 48 * time.Hour
	sweepEvery = time.Hour
)

func newUploads(artifacts *artifact.Store, maxBytes int64, log *slog.Logger) (*uploads, error) {
	u := &uploads{artifacts: artifacts, max: maxBytes, log: log, busy: map[string]*sync.Mutex{}, waiting: map[string]int{}}
	return u, u.sweep(time.Now())
}

// sweep removes, now and then, the parts that nobody goes on with: of a run that failed, of a worker that never came back.
func (u *uploads) sweep(now time.Time) error {
	u.mu.Lock()
	due := now.Sub(u.swept) >= sweepEvery
	if due {
		u.swept = now
	}
	u.mu.Unlock()
	if !due {
		return nil
	}
	return u.artifacts.RemoveParts(func(_ string, written time.Time) bool { return now.Sub(written) < partLife })
}

// part is an upload's; run and digest are checked by then, and neither can hold a separator.
func (u *uploads) part(runID, sha string) *artifact.Part {
	return u.artifacts.Part(partOf(runID) + sha)
}

func partOf(runID string) string { return runID + "-" }

// forget removes the parts of a run that has ended; what stays is swept later.
func (u *uploads) forget(runID string) {
	err := u.artifacts.RemoveParts(func(name string, _ time.Time) bool { return !strings.HasPrefix(name, partOf(runID)) })
	if err != nil {
		u.log.Warn("uploads of a run that has ended are not removed yet", "run", runID, "error", err)
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

func (g *Gateway) getUpload(c *echo.Context) error {
	fence, sha := fenceOf(c), c.Param("sha")
	o, err := g.runObject(c)
	if err == nil {
		return c.JSON(http.StatusOK, contract.UploadState{SHA256: sha, Received: o.Size, Complete: true})
	}
	if contract.CodeOf(err) != contract.CodeNotFound {
		return err
	}
	n, err := g.uploads.part(fence.RunID, sha).Received()
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
	if err := g.uploads.sweep(time.Now()); err != nil {
		g.log.Warn("uploads that were given up are not removed yet", "error", err)
	}
	defer g.uploads.lock(partOf(fence.RunID) + sha)()
	if o, err := g.runObject(c); err == nil {
		return c.JSON(http.StatusOK, contract.UploadState{SHA256: sha, Received: o.Size, Complete: true})
	} else if contract.CodeOf(err) != contract.CodeNotFound {
		return err
	}
	arrived := boundBody(c, min(contract.UploadChunkBytes, size-offset))
	part := g.uploads.part(fence.RunID, sha)
	n, err := part.Write(offset, c.Request().Body)
	arrived()
	if err != nil {
		return chunkError(err)
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

// chunkError types what goes wrong with a request's body; what the disk says is typed already.
func chunkError(err error) error {
	var tooLarge *http.MaxBytesError
	var disk *fs.PathError
	switch {
	case contract.CodeOf(err) != contract.CodeInternal, errors.As(err, &disk):
		return err
	case errors.As(err, &tooLarge):
		return contract.Errorf(contract.CodeTooLarge, "the chunk is larger than %d bytes, or than the rest of the file: %w",
			tooLarge.Limit, err).Mend("send at most %d bytes at once", contract.UploadChunkBytes)
	default: // the connection
		return contract.Errorf(contract.CodeUnavailable, "the chunk was cut off: %w", err).Mend("ask how much has arrived and go on from there")
	}
}

// keep moves a whole part into the artifact store, or, if a run stored the same content before, lets this run hold it
// too. Content that does not have its digest, or was damaged meanwhile, is thrown away.
func (g *Gateway) keep(ctx context.Context, fence store.Fence, part *artifact.Part, sha string, size int64) error {
	err := g.share(ctx, fence, part, sha, size)
	if contract.CodeOf(err) == contract.CodeNotFound {
		err = g.encrypt(ctx, fence, part, sha, size)
	}
	if err == nil || contract.CodeOf(err) == contract.CodeInvalid || errors.Is(err, seal.ErrChanged) {
		err = errors.Join(err, part.Remove())
	}
	return err
}

// share holds content that another run has stored: whoever has sent all of it has a right to it. not_found if none has.
func (g *Gateway) share(ctx context.Context, fence store.Fence, part *artifact.Part, sha string, size int64) error {
	o, err := g.store.StoredByRuns(ctx, sha)
	if err != nil {
		return err
	}
	content, err := part.Open()
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, content); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != sha {
		return contract.Errorf(contract.CodeInvalid, "the content's digest is %s, not %s", got, sha).On("sha256").Mend("send it again")
	}
	return g.store.AddRunBlob(ctx, fence, contract.ObjectRef{ObjectID: o.ID, SHA256: sha, Size: size})
}

func (g *Gateway) encrypt(ctx context.Context, fence store.Fence, part *artifact.Part, sha string, size int64) error {
	content, err := part.Open()
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	o, err := g.artifacts.Put(ctx, artifact.PutInput{Reader: content, Name: "run/" + fence.RunID, ContentType: "application/octet-stream", SHA256: sha})
	if err != nil {
		return err
	}
	err = g.store.AddRunBlob(ctx, fence, contract.ObjectRef{ObjectID: o.ID, SHA256: sha, Size: size})
	if err != nil {
		return errors.Join(err, g.artifacts.Delete(ctx, o.ID))
	}
	return nil
}
