package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/store"
)

const (
	maxFieldBytes = 4 << 10
	maxNameRunes  = 200
)

// uploadForm is what the multipart form of an upload holds; the file comes last, so that it can be streamed.
type uploadForm struct {
	name, project, fileName string
	object                  contract.Object
}

// UploadDataset streams the file into the artifact store and starts its Ingest workflow. A broken upload leaves nothing.
func (s *Server) UploadDataset(c *echo.Context) error {
	form, err := s.readUpload(c)
	if err != nil {
		return err
	}
	id := contract.NewID(contract.PrefixDataset)
	input, err := json.Marshal(contract.IngestInput{DatasetID: id})
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	_, err = s.Store.Create(ctx, store.Creation{
		Kind: contract.KindDataset, ID: id,
		Payload: contract.DatasetCreated{ProjectID: form.project, Name: form.name, FileName: form.fileName,
			ObjectID: form.object.ID, SHA256: form.object.SHA256, Size: form.object.Size},
		Start: &contract.Start{Workflow: contract.WorkflowIngest, ID: contract.WorkflowID(contract.KindDataset, id),
			Queue: contract.QueueControl, Input: input, Summary: "Read " + form.name, Project: form.project},
	})
	if err != nil {
		return errors.Join(err, s.Artifacts.Delete(ctx, form.object.ID))
	}
	return s.showDataset(c, http.StatusCreated, id)
}

func (s *Server) readUpload(c *echo.Context) (uploadForm, error) {
	var form uploadForm
	r := c.Request()
	r.Body = http.MaxBytesReader(c.Response(), r.Body, s.MaxUploadBytes+1<<20)
	reader, err := r.MultipartReader()
	if err != nil {
		return form, contract.Errorf(contract.CodeInvalid, "an upload is a multipart/form-data request").On("file")
	}
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return form, contract.Errorf(contract.CodeInvalid, "the upload has no file").On("file")
		}
		if err != nil {
			return form, uploadError(err)
		}
		if part.FormName() == "file" {
			return s.takeFile(r, part, form)
		}
		text, err := io.ReadAll(io.LimitReader(part, maxFieldBytes))
		if err != nil {
			return form, uploadError(err)
		}
		switch part.FormName() {
		case "name":
			form.name = string(text)
		case "project_id":
			form.project = string(text)
		}
	}
}

func (s *Server) takeFile(r *http.Request, part *multipart.Part, form uploadForm) (uploadForm, error) {
	form.fileName = filepath.Base(part.FileName())
	if form.name == "" {
		form.name = strings.TrimSuffix(form.fileName, filepath.Ext(form.fileName))
	}
	if form.project == "" {
		form.project = store.DefaultProject
	}
	if !utf8.ValidString(form.name) || utf8.RuneCountInString(form.name) > maxNameRunes || !utf8.ValidString(form.fileName) {
		return form, contract.Errorf(contract.CodeInvalid, "the name is longer than %d characters or not UTF-8", maxNameRunes).On("name")
	}
	if _, err := s.Store.GetProject(r.Context(), form.project); err != nil {
		return form, err
	}
	body := bufio.NewReaderSize(part, 64<<10)
	if _, err := body.Peek(1); errors.Is(err, io.EOF) {
		return form, contract.Errorf(contract.CodeInvalid, "the file is empty").On("file").Mend("upload a file with at least two rows")
	}
	object, err := s.Artifacts.Put(r.Context(), artifact.PutInput{Reader: body, Name: form.fileName, MaxBytes: s.MaxUploadBytes})
	if err != nil {
		return form, uploadError(err)
	}
	form.object = object
	return form, nil
}

// uploadError tells a cut-off or oversized upload from a failure of ours.
func uploadError(err error) error {
	var tooLarge *http.MaxBytesError
	var typed *contract.Error
	switch {
	case errors.As(err, &tooLarge):
		return contract.Errorf(contract.CodeTooLarge, "the file is larger than %d bytes", tooLarge.Limit).On("file")
	case errors.As(err, &typed):
		return typed
	case errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "multipart"):
		return contract.Errorf(contract.CodeInvalid, "the upload was cut off; nothing was kept").On("file").Mend("upload the file again")
	default:
		return fmt.Errorf("upload: %w", err)
	}
}

// ListDatasets lists datasets.
func (s *Server) ListDatasets(c *echo.Context, p apigen.ListDatasetsParams) error {
	page, err := s.Store.ListDatasets(c.Request().Context(), store.Filter{Limit: p.Limit, Cursor: p.Cursor})
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
	return c.JSON(status, viewDataset(*d))
}

// ProcessDataset runs the dataset's processing again with other options.
func (s *Server) ProcessDataset(c *echo.Context, id string) error {
	options, err := body[json.RawMessage](c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	d, err := s.Store.GetDataset(ctx, id)
	if err != nil {
		return err
	}
	input, err := json.Marshal(contract.IngestInput{DatasetID: id, Options: options})
	if err != nil {
		return err
	}
	_, err = s.Store.Command(ctx, store.Command{
		Kind: contract.KindDataset, ID: id,
		Event: command(contract.KindDataset, contract.EventQueued, contract.Queued{Queue: contract.QueueControl}),
		Start: &contract.Start{Workflow: contract.WorkflowIngest, ID: fmt.Sprintf("%s/%d", contract.WorkflowID(contract.KindDataset, id), d.Seq+1),
			Queue: contract.QueueControl, Input: input, Summary: "Process " + d.Name + " again", Project: d.ProjectID},
	})
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
		return c.JSON(http.StatusOK, rawPreview(d, int(p.Offset), p.Limit))
	}
	ref := d.Train
	if p.Split == "eval" {
		ref = d.Eval
	}
	if ref == nil {
		return contract.Errorf(contract.CodeConflict, "the dataset is not processed yet").On("split").Mend("wait until its status is ready")
	}
	preview, err := s.splitPreview(ctx, *ref, p)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, preview)
}

// rawPreview comes from the profile, which keeps the first rows as they were uploaded.
func rawPreview(d *store.Dataset, offset, limit int) apigen.Preview {
	var profile struct {
		Preview []map[string]any `json:"preview"`
	}
	_ = json.Unmarshal(d.Profile, &profile)
	rows := profile.Preview[min(offset, len(profile.Preview)):]
	return apigen.Preview{Rows: orEmpty(rows[:min(limitOf(limit), len(rows))]), Offset: int64(offset), Split: "raw"}
}

func (s *Server) splitPreview(ctx ctx, ref contract.ObjectRef, p apigen.PreviewDatasetParams) (apigen.Preview, error) {
	preview := apigen.Preview{Rows: []map[string]any{}, Offset: p.Offset, Split: string(p.Split)}
	reader, err := s.Artifacts.Open(ctx, ref.ObjectID, 0)
	if err != nil {
		return preview, err
	}
	defer func() { _ = reader.Close() }()
	lines := bufio.NewReaderSize(reader, 256<<10)
	for n := int64(0); ; n++ {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 && n >= p.Offset {
			if len(preview.Rows) == limitOf(p.Limit) {
				preview.NextOffset = n
				return preview, nil
			}
			preview.Rows = append(preview.Rows, object(line))
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
