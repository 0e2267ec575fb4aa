package api

import (
	"cmp"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"path"
	"strings"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/modelfolder"
	"github.com/vibeflow/vibeflow/internal/store"
)

// modelUpload is what the multipart form of a model's upload holds; its files come last, so that they can be streamed.
type modelUpload struct {
	name, project string
	begun         bool
	archive       string // its file name
	intake        *modelfolder.Intake
}

// UploadModel takes in a model's files, or an archive of them: all of it becomes a model of the project, or nothing is kept.
func (s *Server) UploadModel(c *echo.Context, _ apigen.UploadModelParams) error {
	ctx := c.Request().Context()
	form := modelUpload{intake: &modelfolder.Intake{Put: s.putModelFile, Limit: s.MaxUploadBytes}}
	model, err := s.takeModel(c, &form)
	if err != nil {
		s.dropObjects(ctx, form.intake.Objects())
		return err
	}
	s.dropObjects(ctx, model.Unused)
	row := form.row(model)
	c.Set(resourceKey, row.ID)
	asked := s.asked(c, form.name, form.project, form.archive, digests(row.Files))
	if _, err := s.Store.CreateModel(asked, row); err != nil {
		s.dropObjects(ctx, form.intake.Objects())
		return err
	}
	return s.showModel(c, http.StatusCreated, row.ID)
}

func (s *Server) putModelFile(ctx context.Context, name string, content io.Reader, limit int64) (contract.Object, error) {
	return s.Artifacts.Put(ctx, artifact.PutInput{Reader: content, Name: name, MaxBytes: limit})
}

// dropObjects deletes what an upload has stored and no model holds; the client may have left by now, its context with it.
func (s *Server) dropObjects(ctx context.Context, objects []string) {
	for _, object := range objects {
		_ = s.discard(ctx, contract.Object{ID: object}, nil)
	}
}

// digests are those of files, by path: their order in the upload does not matter.
func digests(files []store.ModelFile) map[string]string {
	byPath := map[string]string{}
	for _, f := range files {
		byPath[f.Path] = f.SHA256
	}
	return byPath
}

func (f modelUpload) row(m modelfolder.Model) store.Model {
	id := contract.NewID(contract.PrefixModel)
	row := catalog.Row(catalog.Uploaded(id, f.name, m.Parameters, m.Context, m.Dims, m.Chat))
	row.ProjectID, row.Source, row.Files, row.Size = f.project, "upload", m.Files, m.Size
	row.Description = cmp.Or(f.archive, "an uploaded folder")
	return row
}

// takeModel reads the form to its end, and checks that a model came of it.
func (s *Server) takeModel(c *echo.Context, form *modelUpload) (modelfolder.Model, error) {
	r := c.Request()
	if r.ContentLength > s.MaxUploadBytes+maxFormOverhead {
		return modelfolder.Model{}, s.tooLarge()
	}
	r.Body = http.MaxBytesReader(c.Response(), r.Body, s.MaxUploadBytes+maxFormOverhead)
	parts, err := r.MultipartReader()
	if err != nil {
		return modelfolder.Model{}, contract.Errorf(contract.CodeUnsupported, "an upload is a multipart/form-data request").On("file").
			Mend("send the model's files, or one archive of them, as the form's fields `file`")
	}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return form.intake.Finish()
		}
		if err != nil {
			return modelfolder.Model{}, s.uploadError(err)
		}
		if err := s.takeModelPart(r.Context(), form, part); err != nil {
			return modelfolder.Model{}, err
		}
	}
}

func (s *Server) takeModelPart(ctx context.Context, form *modelUpload, part *multipart.Part) error {
	if part.FormName() != "file" {
		return s.takeModelField(form, part)
	}
	if part.FileName() == "" {
		return contract.Errorf(contract.CodeInvalid, "the field `file` is a text, not a file").On("file").Mend("send it with a file name, as in `curl -F file=@FILE`")
	}
	if !form.begun {
		if err := s.begin(ctx, form, part.FileName()); err != nil {
			return err
		}
	}
	if form.archive != "" {
		return contract.Errorf(contract.CodeInvalid, "something comes after the archive").On("file").Mend("upload either one archive or the model's files")
	}
	content := fromClient{part, s}
	switch kind := modelfolder.KindOf(part.FileName()); kind {
	case modelfolder.None:
		return form.intake.Add(ctx, part.FileName(), content)
	case modelfolder.Zip:
		form.archive = part.FileName()
		return s.takeZip(ctx, form, content)
	default:
		form.archive = part.FileName()
		return form.intake.AddTar(ctx, kind, content)
	}
}

// begin finds the project before the first file is stored.
func (s *Server) begin(ctx context.Context, form *modelUpload, fileName string) error {
	project, err := s.project(ctx, form.project)
	if err != nil {
		return err
	}
	form.begun = true
	form.project = project.ID
	if form.name == "" {
		form.name = strings.TrimSuffix(strings.TrimSuffix(fileName, path.Ext(fileName)), ".tar")
		if modelfolder.KindOf(fileName) == modelfolder.None {
			form.name = "uploaded model"
		}
	}
	return checkName("name", form.name)
}

func (s *Server) takeModelField(form *modelUpload, part *multipart.Part) error {
	field, text, err := readField(part)
	if err != nil {
		return s.uploadError(err)
	}
	switch {
	case form.begun:
		return contract.Errorf(contract.CodeInvalid, "a field comes after a file").On(field).Mend("send name and project_id before the files")
	case field == "name":
		form.name = strings.TrimSpace(text)
	case field == "project_id":
		form.project = text
	default:
		return contract.Errorf(contract.CodeInvalid, "an upload of a model has no field %q", field).On(field).Mend("send name, project_id and the files, in this order")
	}
	return checkName(field, text)
}

// takeZip stores the archive first: its list is at its end, and memory must not grow with it.
func (s *Server) takeZip(ctx context.Context, form *modelUpload, content io.Reader) error {
	object, err := s.putModelFile(ctx, "archive", content, s.MaxUploadBytes)
	if err != nil {
		return err
	}
	defer s.dropObjects(ctx, []string{object.ID})
	archive, err := s.Artifacts.Open(ctx, object.ID, 0)
	if err != nil {
		return err
	}
	defer func() { _ = archive.Close() }()
	return form.intake.AddZip(ctx, archive, object.Size)
}
