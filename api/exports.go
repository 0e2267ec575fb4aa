package api

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// StartExport queues an export of a tuned model.
func (s *Server) StartExport(c *echo.Context, _ apigen.StartExportParams) error {
	request, err := body[apigen.StartExport](c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	model, err := s.tuned(ctx, request.ModelID)
	if err != nil {
		return err
	}
	queue, err := s.queueOr(ctx, request.Queue)
	if err != nil {
		return err
	}
	created := contract.ExportCreated{ProjectID: model.ProjectID, ModelID: model.ID, Format: cmp.Or(string(request.Format), "adapter"), Queue: queue}
	id := contract.NewID(contract.PrefixExport)
	err = s.start(ctx, contract.KindExport, id, created, contract.Start{Workflow: contract.WorkflowExport,
		Summary: "Export " + model.Name, Project: created.ProjectID, Model: model.ID}, contract.ExportInput{ExportID: id, Queue: created.Queue})
	if err != nil {
		return err
	}
	return s.showExport(c, http.StatusCreated, id)
}

// ListExports lists exports.
func (s *Server) ListExports(c *echo.Context, p apigen.ListExportsParams) error {
	ctx := c.Request().Context()
	page, err := s.Store.ListExports(ctx, store.Filter{Text: p.Q, Sort: store.Sort(p.Sort), Status: statuses(p.Status), ModelID: p.ModelID,
		Limit: p.Limit, Cursor: p.Cursor})
	if err != nil {
		return err
	}
	out := apigen.ExportPage{Items: []apigen.Export{}, NextCursor: page.Next}
	for _, e := range page.Items {
		view, err := s.viewExport(ctx, e)
		if err != nil {
			return err
		}
		out.Items = append(out.Items, view)
	}
	return c.JSON(http.StatusOK, out)
}

// GetExport shows an export and its files.
func (s *Server) GetExport(c *echo.Context, id string) error {
	return s.showExport(c, http.StatusOK, id)
}

func (s *Server) showExport(c *echo.Context, status int, id string) error {
	ctx := c.Request().Context()
	e, err := s.Store.GetExport(ctx, id)
	if err != nil {
		return err
	}
	view, err := s.viewExport(ctx, *e)
	if err != nil {
		return err
	}
	return c.JSON(status, view)
}

// exportFiles resolves what the export run left with the gateway.
func (s *Server) exportFiles(ctx ctx, id string) ([]store.ModelFile, error) {
	artifacts, err := s.Store.RunArtifacts(ctx, id)
	if err != nil {
		return nil, err
	}
	var files []store.ModelFile
	for _, a := range artifacts {
		more, err := s.Store.ModelFiles(ctx, id, a.Manifest)
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	return files, nil
}

// DownloadExport sends one file of an export; a range lets a broken download go on.
func (s *Server) DownloadExport(c *echo.Context, id string, p apigen.DownloadExportParams) error {
	ctx := c.Request().Context()
	e, err := s.Store.GetExport(ctx, id)
	if err != nil {
		return err
	}
	if e.Status != contract.StatusCompleted {
		return contract.Errorf(contract.CodeConflict, "the export is %s", e.Status).Mend("wait until its status is completed")
	}
	files, err := s.exportFiles(ctx, id)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Path == p.File {
			return s.sendFile(c, f, e.CompletedAt)
		}
	}
	return contract.Errorf(contract.CodeNotFound, "the export has no file %q", p.File).On("file")
}

func (s *Server) sendFile(c *echo.Context, f store.ModelFile, made time.Time) error {
	header := c.Response().Header()
	from, err := checkRange(c.Request(), header, f.Size)
	if err != nil {
		return err
	}
	content, err := s.Artifacts.Open(c.Request().Context(), f.ObjectID, from)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Content-Disposition", "attachment")
	header.Set("ETag", `"`+f.SHA256+`"`)
	http.ServeContent(c.Response(), c.Request(), "", made, content)
	return nil
}

// singleRange is the only form that clients need to go on with a download.
var singleRange = regexp.MustCompile(`^bytes=(\d{1,18})-(\d{0,18})$`)

// checkRange returns where the answer begins. It refuses a range beyond the end, and drops any other form of Range, as RFC
// 9110 allows: net/http would answer it in plain text.
func checkRange(r *http.Request, header http.Header, size int64) (from int64, err error) {
	match := singleRange.FindStringSubmatch(r.Header.Get("Range"))
	if match == nil {
		r.Header.Del("Range")
		return 0, nil
	}
	from, _ = strconv.ParseInt(match[1], 10, 64)
	to, err := strconv.ParseInt(match[2], 10, 64)
	if err == nil && to < from {
		r.Header.Del("Range")
		return 0, nil
	}
	if from < size {
		return from, nil
	}
	header.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
	return 0, echo.NewHTTPError(http.StatusRequestedRangeNotSatisfiable, fmt.Sprintf("the file has %d bytes", size))
}
