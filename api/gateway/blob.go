package gateway

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

func (g *Gateway) runObject(c *echo.Context) (contract.Object, error) {
	sha := c.Param("sha")
	if err := checkDigest(sha); err != nil {
		return contract.Object{}, err
	}
	ctx, fence := c.Request().Context(), fenceOf(c)
	if err := g.store.CheckFence(ctx, fence); err != nil {
		return contract.Object{}, err
	}
	return g.store.RunObject(ctx, fence.RunID, sha)
}

// headBlob says whether this run holds content; that others do is not its business.
func (g *Gateway) headBlob(c *echo.Context) error {
	o, err := g.runObject(c)
	if err != nil {
		return err
	}
	setBlobHeaders(c, o)
	return c.NoContent(http.StatusOK)
}

func (g *Gateway) getBlob(c *echo.Context) error {
	o, err := g.runObject(c)
	if err != nil {
		return err
	}
	return g.serve(c, o)
}

func setBlobHeaders(c *echo.Context, o contract.Object) {
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, "application/octet-stream")
	h.Set("ETag", `"`+o.SHA256+`"`)
	h.Set(echo.HeaderCacheControl, "no-store")
}

// serve answers with an object's content, or the range of it that was asked for.
func (g *Gateway) serve(c *echo.Context, o contract.Object) error {
	// What is damaged further on cuts the answer off; the range that is asked for next begins there, and is told why.
	r, err := g.artifacts.OpenObject(c.Request().Context(), o, min(rangeStart(c.Request()), o.Size))
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	setBlobHeaders(c, o)
	http.ServeContent(&steady{ResponseWriter: c.Response(), control: http.NewResponseController(c.Response())}, c.Request(), "", time.Time{}, r)
	return nil
}

func rangeStart(r *http.Request) (offset int64) {
	_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &offset) // any other range begins at 0, or is refused below
	return max(offset, 0)
}

// steady moves the write deadline with every write, so that a long download is fine and one that nobody reads is not.
type steady struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Write implements io.Writer.
func (w *steady) Write(p []byte) (int, error) {
	_ = w.control.SetWriteDeadline(time.Now().Add(bodyTimeout)) // a recorder in a test has none
	return w.ResponseWriter.Write(p)
}

// deploymentFile finds a digest among the weights of a deployment's model, and the files of its base.
func (g *Gateway) deploymentFile(ctx context.Context, deploymentID, sha256 string) (contract.Object, error) {
	d, err := g.store.GetDeployment(ctx, deploymentID)
	if err != nil {
		return contract.Object{}, err
	}
	m, err := g.store.GetModel(ctx, d.ModelID)
	if err != nil {
		return contract.Object{}, err
	}
	base, err := g.store.BaseOf(ctx, m)
	if err != nil {
		return contract.Object{}, err
	}
	return g.modelFile(ctx, "deployment "+deploymentID, append(slices.Clone(m.Files), base.Files...), sha256)
}

// modelFile finds a digest among the files of models; owner is whose they are, for the refusal.
func (g *Gateway) modelFile(ctx context.Context, owner string, files []store.ModelFile, sha256 string) (contract.Object, error) {
	for _, f := range files {
		if f.SHA256 == sha256 {
			return g.artifacts.Stat(ctx, f.ObjectID)
		}
	}
	return contract.Object{}, contract.Errorf(contract.CodeNotFound, "%s has no content with the digest %s", owner, sha256)
}

func (g *Gateway) getDeploymentBlob(c *echo.Context) error {
	if err := checkDigest(c.Param("sha")); err != nil {
		return err
	}
	o, err := g.deploymentFile(c.Request().Context(), c.Param("id"), c.Param("sha"))
	if err != nil {
		return err
	}
	return g.serve(c, o)
}
