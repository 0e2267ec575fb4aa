package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// ListDatasets lists datasets.
func (s *Server) ListDatasets(c *echo.Context, p apigen.ListDatasetsParams) error {
	page, err := s.Store.ListDatasets(c.Request().Context(), store.Filter{Text: p.Q, Sort: store.Sort(p.Sort), Status: statuses(p.Status), Tags: p.Tag, Limit: p.Limit, Cursor: p.Cursor})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, apigen.DatasetPage{Items: mapped(page.Items, viewDataset), NextCursor: page.Next})
}

// GetDataset shows a dataset.
func (s *Server) GetDataset(c *echo.Context, id string) error {
	return s.showDataset(c, http.StatusOK, id)
}

func (s *Server) showDataset(c *echo.Context, status int, id string) error {
	d, err := s.Store.GetDataset(c.Request().Context(), id)
	if err != nil {
		return err
	}
	c.Response().Header().Set("ETag", etagOf(d.Version))
	return c.JSON(status, viewDataset(*d))
}

// ProcessDataset runs the dataset's processing again: with the options that it has, changed by those of the request.
func (s *Server) ProcessDataset(c *echo.Context, id string) error {
	changes, err := body[json.RawMessage](c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	d, err := s.Store.GetDataset(ctx, id)
	if err != nil {
		return err
	}
	options, err := processOptions(d.Options, changes, "")
	if err != nil {
		return err
	}
	input, err := json.Marshal(contract.IngestInput{DatasetID: id, Options: &options})
	if err != nil {
		return err
	}
	queued := contract.DatasetQueued{Queued: contract.Queued{Queue: contract.QueueControl}, Options: &options}
	_, err = s.Store.Command(ctx, store.Command{Kind: contract.KindDataset, ID: id,
		Event: command(contract.KindDataset, contract.EventQueued, queued),
		Start: &contract.Start{Workflow: contract.WorkflowIngest, ID: fmt.Sprintf("%s/%d", contract.WorkflowID(contract.KindDataset, id), d.Seq+1),
			Queue: contract.QueueControl, Input: input, Summary: "Process " + d.Name + " again", Project: d.ProjectID}})
	if err != nil {
		return err
	}
	return s.showDataset(c, http.StatusAccepted, id)
}

// PreviewDataset shows rows: the first of the upload from its profile, or those of a processed split.
func (s *Server) PreviewDataset(c *echo.Context, id string, p apigen.PreviewDatasetParams) error {
	ctx := c.Request().Context()
	d, err := s.Store.GetDataset(ctx, id)
	if err != nil {
		return err
	}
	if p.Split == "" || p.Split == "raw" {
		return c.JSON(http.StatusOK, rawPreview(d, p.Offset, p.Limit))
	}
	ref := d.Train
	if p.Split == "eval" {
		ref = d.Eval
	}
	if ref == nil {
		return contract.Errorf(contract.CodeConflict, "the dataset is not processed yet").On("split").Mend("wait until its status is ready")
	}
	preview, err := s.splitPreview(ctx, *ref, apigen.Preview{Offset: p.Offset, Split: string(p.Split)}, limitOf(p.Limit))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, preview)
}

// rawPreview comes from the profile, which keeps the first rows as they were uploaded.
func rawPreview(d *store.Dataset, offset int64, limit int) apigen.Preview {
	var profile struct {
		Preview []json.RawMessage `json:"preview"`
	}
	_ = json.Unmarshal(d.Profile, &profile)
	rows := profile.Preview[min(offset, int64(len(profile.Preview))):]
	return apigen.Preview{Rows: orEmpty(rows[:min(limitOf(limit), len(rows))]), Offset: offset, Split: "raw"}
}

// splitPreview fills a preview with rows of a split from its offset on.
func (s *Server) splitPreview(ctx ctx, ref contract.ObjectRef, preview apigen.Preview, limit int) (apigen.Preview, error) {
	preview.Rows = []json.RawMessage{}
	reader, err := s.Artifacts.Open(ctx, ref.ObjectID, 0)
	if err != nil {
		return preview, err
	}
	defer func() { _ = reader.Close() }()
	lines := bufio.NewReaderSize(reader, 256<<10)
	for n := int64(0); ; n++ {
		line, err := lines.ReadBytes('\n')
		if line = bytes.TrimSpace(line); len(line) > 0 && n >= preview.Offset {
			if len(preview.Rows) == limit {
				preview.NextOffset = n
				return preview, nil
			}
			preview.Rows = append(preview.Rows, line)
		}
		if errors.Is(err, io.EOF) {
			return preview, nil
		}
		if err != nil {
			return preview, err
		}
	}
}

func limitOf(limit int) int {
	if limit <= 0 {
		return 50
	}
	return limit
}

func orEmpty[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
