package api

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/sample"
)

const (
	maxFieldBytes = 16 << 10
	maxNameRunes  = 200
	// maxFormOverhead bounds what a form may be longer than its file.
	maxFormOverhead = 1 << 20
	readAhead       = 64 << 10
)

// upload is what the multipart form of an upload holds; the file comes last, so that it can be streamed.
type upload struct {
	name, project, fileName string
	options                 contract.ProcessOptions
	object                  contract.Object
}

// UploadDataset streams the file into the artifact store and starts its Ingest workflow. A broken upload leaves nothing.
func (s *Server) UploadDataset(c *echo.Context, _ apigen.UploadDatasetParams) error {
	form, err := s.readUpload(c)
	if err != nil {
		return err
	}
	return s.startIngest(c, form)
}

// AddSampleDataset stores the sample that the binary carries, and starts its Ingest workflow.
func (s *Server) AddSampleDataset(c *echo.Context, p apigen.AddSampleDatasetParams) error {
	ctx := c.Request().Context()
	form := upload{name: sample.Name, project: p.ProjectID, options: contract.DefaultProcessOptions()}
	if err := s.describe(ctx, sample.FileName, &form); err != nil {
		return err
	}
	object, err := s.Artifacts.Put(ctx, artifact.PutInput{Reader: bytes.NewReader(sample.Support()), Name: form.fileName, MaxBytes: s.MaxUploadBytes})
	if err != nil {
		return err
	}
	form.object = object
	return s.startIngest(c, form)
}

// startIngest makes the dataset of a file that is stored; if that fails, the file goes.
func (s *Server) startIngest(c *echo.Context, form upload) error {
	ctx := s.asked(c, form.name, form.project, form.fileName, form.options, form.object.SHA256)
	id := contract.NewID(contract.PrefixDataset)
	err := s.start(ctx, contract.KindDataset, id,
		contract.DatasetCreated{ProjectID: form.project, Name: form.name, FileName: form.fileName,
			ObjectID: form.object.ID, SHA256: form.object.SHA256, Size: form.object.Size, Options: &form.options},
		contract.Start{Workflow: contract.WorkflowIngest, Summary: "Read " + form.name, Project: form.project},
		contract.IngestInput{DatasetID: id, Options: &form.options})
	if err != nil {
		return s.discard(ctx, form.object, err)
	}
	return s.showDataset(c, http.StatusCreated, id)
}

// discard deletes what a refused upload has stored; the client may have left by now, its context with it.
func (s *Server) discard(ctx context.Context, object contract.Object, err error) error {
	if gone := s.Artifacts.Delete(context.WithoutCancel(ctx), object.ID); gone != nil {
		s.Logger.Warn("an object of a refused upload stays until the next start", "object", object.ID, "error", gone)
	}
	return err
}

func (s *Server) readUpload(c *echo.Context) (upload, error) {
	form := upload{options: contract.DefaultProcessOptions()}
	r := c.Request()
	if r.ContentLength > s.MaxUploadBytes+maxFormOverhead {
		return form, s.tooLarge()
	}
	r.Body = http.MaxBytesReader(c.Response(), r.Body, s.MaxUploadBytes+maxFormOverhead)
	parts, err := r.MultipartReader()
	if err != nil {
		return form, contract.Errorf(contract.CodeUnsupported, "an upload is a multipart/form-data request").On("file").
			Mend("send the file as the form's field `file`")
	}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return form, contract.Errorf(contract.CodeInvalid, "the upload has no file").On("file").Mend("send it as the form's field `file`")
		}
		if err != nil {
			return form, s.uploadError(err)
		}
		if part.FormName() == "file" {
			return s.takeFile(r.Context(), parts, part, form)
		}
		if err := s.takeField(&form, part); err != nil {
			return form, s.uploadError(err)
		}
	}
}

// readField reads one of a form's texts.
func readField(part *multipart.Part) (field, text string, err error) {
	field = part.FormName()
	data, err := io.ReadAll(io.LimitReader(part, maxFieldBytes+1))
	if err == nil && len(data) > maxFieldBytes {
		err = contract.Errorf(contract.CodeInvalid, "the field is longer than %d bytes", maxFieldBytes).On(field)
	}
	return field, string(data), err
}

// takeField takes one of the form's texts; one that the form does not have is refused rather than lost.
func (s *Server) takeField(form *upload, part *multipart.Part) error {
	field, text, err := readField(part)
	if err != nil {
		return err
	}
	switch field {
	case "name":
		form.name = text
		return checkName("name", form.name)
	case "project_id":
		form.project = text
		return checkName("project_id", form.project)
	case "options":
		form.options, err = s.formOptions([]byte(text))
		return err
	default:
		return contract.Errorf(contract.CodeInvalid, "an upload has no field %q", field).On(field).Mend("send name, project_id, options and file, in this order")
	}
}

// takeFile stores the file, then makes sure that the form ends with it.
func (s *Server) takeFile(ctx context.Context, parts *multipart.Reader, part *multipart.Part, form upload) (upload, error) {
	if err := s.describe(ctx, part.FileName(), &form); err != nil {
		return form, err
	}
	content := bufio.NewReaderSize(fromClient{part, s}, readAhead)
	if _, err := content.Peek(1); errors.Is(err, io.EOF) {
		return form, contract.Errorf(contract.CodeInvalid, "the file is empty").On("file").Mend("upload a file with at least two rows")
	}
	object, err := s.Artifacts.Put(ctx, artifact.PutInput{Reader: content, Name: form.fileName, MaxBytes: s.MaxUploadBytes})
	if contract.CodeOf(err) == contract.CodeTooLarge {
		return form, s.tooLarge()
	}
	if err != nil {
		return form, err
	}
	form.object = object
	switch _, err := parts.NextPart(); {
	case errors.Is(err, io.EOF):
		return form, nil
	case err != nil:
		return form, s.discard(ctx, object, s.uploadError(err))
	default:
		return form, s.discard(ctx, object, contract.Errorf(contract.CodeInvalid, "something comes after the file").On("file").
			Mend("send the other fields before the file"))
	}
}

// describe names the upload. Of a file name with folders (some clients send them, and not only with slashes) the last
// part counts; no path is ever made of it.
func (s *Server) describe(ctx context.Context, fileName string, form *upload) error {
	if fileName == "" {
		return contract.Errorf(contract.CodeInvalid, "the field `file` is a text, not a file").On("file").Mend("send it with a file name, as in `curl -F file=@FILE`")
	}
	if !utf8.ValidString(fileName) {
		return contract.Errorf(contract.CodeInvalid, "the file's name is not UTF-8").On("file").Mend("rename the file")
	}
	form.fileName = path.Base(strings.ReplaceAll(fileName, `\`, "/"))
	if err := checkName("file", form.fileName); err != nil {
		return err
	}
	if form.name == "" {
		form.name = cmp.Or(strings.TrimSuffix(form.fileName, path.Ext(form.fileName)), form.fileName)
	}
	project, err := s.project(ctx, form.project)
	if err != nil {
		return err
	}
	form.project = project.ID
	return nil
}

func checkName(field, name string) error {
	switch {
	case !utf8.ValidString(name):
		return contract.Errorf(contract.CodeInvalid, "the name is not UTF-8").On(field).Mend("choose another name")
	case utf8.RuneCountInString(name) > maxNameRunes:
		return contract.Errorf(contract.CodeInvalid, "the name is longer than %d characters", maxNameRunes).On(field).Mend("choose a shorter name")
	case strings.ContainsFunc(name, unicode.IsControl):
		return contract.Errorf(contract.CodeInvalid, "the name has control characters").On(field).Mend("choose another name")
	default:
		return nil
	}
}

func (s *Server) tooLarge() error {
	return contract.Errorf(contract.CodeTooLarge, "the file is larger than %d bytes", s.MaxUploadBytes).On("file").Mend("upload a smaller file")
}

// uploadError says what is wrong with a request that cannot be read on.
func (s *Server) uploadError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return s.tooLarge()
	case contract.CodeOf(err) != contract.CodeInternal:
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.Canceled):
		return contract.Errorf(contract.CodeInvalid, "the upload was cut off; nothing was kept").On("file").Mend("upload the file again")
	default:
		return contract.Errorf(contract.CodeInvalid, "the form cannot be read: %w", err).On("file").Mend("send the file as multipart/form-data")
	}
}

// fromClient makes errors of reading the request the client's, so that they are not taken for errors of storing it.
type fromClient struct {
	io.Reader
	server *Server
}

// Read implements io.Reader.
func (f fromClient) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = f.server.uploadError(err)
	}
	return n, err
}
