package apiclient

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"mime/multipart"
	"os"
	"path/filepath"

	"github.com/vibeflow/vibeflow/api/apigen"
)

// UploadModel streams a model to the server: its files, or one archive of them. progress is called with the bytes sent so
// far, and not after the return.
func (c *Client) UploadModel(ctx context.Context, paths []string, as Upload, progress func(sent, total int64)) (apigen.Model, error) {
	var form bytes.Buffer
	writer := multipart.NewWriter(&form)
	if err := as.write(writer); err != nil {
		return apigen.Model{}, err
	}
	var parts []io.Reader
	var size int64
	add := func(r io.Reader, n int64) { parts, size = append(parts, r), size+n }
	written := func() {
		add(bytes.NewReader(bytes.Clone(form.Bytes())), int64(form.Len()))
		form.Reset()
	}
	for _, path := range paths {
		file, info, err := openFile(path)
		if err != nil {
			return apigen.Model{}, err
		}
		defer func() { _ = file.Close() }()
		if _, err := writer.CreateFormFile("file", filepath.Base(path)); err != nil {
			return apigen.Model{}, err
		}
		written()
		add(io.LimitReader(file, info.Size()), info.Size())
	}
	if err := writer.Close(); err != nil {
		return apigen.Model{}, err
	}
	written()
	content := &meter{r: io.MultiReader(parts...), total: size, tell: progress}
	defer content.end()
	return sendForm[apigen.Model](ctx, c, modelUploads, content, size, writer.FormDataContentType())
}

// openFile opens what is a file, not a folder, a pipe or a device.
func openFile(path string) (*os.File, fs.FileInfo, error) {
	file, err := os.Open(path) //nolint:gosec // the user's own choice of file
	if err != nil {
		return nil, nil, CannotOpen(path, err)
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		_ = file.Close()
		return nil, nil, NoFile(path)
	}
	return file, info, nil
}
