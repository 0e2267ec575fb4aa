package apiclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
)

// Upload says what is to become of uploaded files.
type Upload struct {
	Name string // empty: the file's
	// Options are fields of apigen.ProcessOptions; what is absent is the default's.
	Options map[string]any
}

const (
	datasetUploads = "/api/datasets/upload"
	modelUploads   = "/api/models/upload"
)

// UploadDataset streams a file to the server; progress is called with the bytes sent so far, and not after
// the return.
func (c *Client) UploadDataset(ctx context.Context, path string, as Upload, progress func(sent, total int64)) (apigen.Dataset, error) {
	file, info, err := openFile(path)
	if err != nil {
		return apigen.Dataset{}, err
	}
	defer func() { _ = file.Close() }()
	content := &meter{r: file, total: info.Size(), tell: progress}
	defer content.end() // of an upload that is refused, the transport may still be reading
	return upload[apigen.Dataset](ctx, c, datasetUploads, content, info.Size(), filepath.Base(path), as)
}

// UploadDatasetFrom streams content of unknown length under a file name.
func (c *Client) UploadDatasetFrom(ctx context.Context, content io.Reader, fileName string, as Upload) (apigen.Dataset, error) {
	return upload[apigen.Dataset](ctx, c, datasetUploads, content, -1, fileName, as)
}

// upload sends a form with one file. Its length is told where it is known, and the server is asked first (100-continue),
// so that a refusal comes before the file is sent.
func upload[T any](ctx context.Context, c *Client, apiPath string, content io.Reader, size int64, fileName string, as Upload) (T, error) {
	head, tail, contentType, err := formAround(fileName, as)
	if err != nil {
		var none T
		return none, err
	}
	if size >= 0 {
		size += int64(len(head)) + int64(len(tail))
	}
	return sendForm[T](ctx, c, apiPath, io.MultiReader(bytes.NewReader(head), content, bytes.NewReader(tail)), size, contentType)
}

// sendForm sends a form of a length that is known, or of -1.
func sendForm[T any](ctx context.Context, c *Client, apiPath string, form io.Reader, size int64, contentType string) (T, error) {
	var out T
	req, err := c.request(ctx, http.MethodPost, apiPath, nil, form)
	if err != nil {
		return out, err
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Expect", "100-continue")
	res, err := c.do(req)
	if err != nil {
		return out, err
	}
	defer func() { _ = res.Body.Close() }()
	return out, json.NewDecoder(res.Body).Decode(&out)
}

// formAround returns what stands in a form before and after the file's content.
func formAround(fileName string, as Upload) (head, tail []byte, contentType string, err error) {
	var form bytes.Buffer
	writer := multipart.NewWriter(&form)
	if err := as.write(writer); err != nil {
		return nil, nil, "", err
	}
	if _, err := writer.CreateFormFile("file", fileName); err != nil {
		return nil, nil, "", err
	}
	before := form.Len()
	if err := writer.Close(); err != nil {
		return nil, nil, "", err
	}
	return form.Bytes()[:before], form.Bytes()[before:], writer.FormDataContentType(), nil
}

func (u Upload) write(form *multipart.Writer) error {
	if u.Name != "" {
		if err := form.WriteField("name", u.Name); err != nil {
			return err
		}
	}
	if len(u.Options) == 0 {
		return nil
	}
	options, err := json.Marshal(u.Options)
	if err != nil {
		return err
	}
	return form.WriteField("options", string(options))
}

// CannotOpen says that a file cannot be opened, and why.
func CannotOpen(path string, err error) error {
	return contract.Errorf(contract.CodeNotFound, "cannot open %s: %w", path, rootPathErr(err)).On("file").Mend("check the path")
}

// NoFile says that what is there is a folder, a pipe or a device.
func NoFile(path string) error {
	return contract.Errorf(contract.CodeInvalid, "%s is not a file", path).On("file").Mend("name one file; rows of several can be joined: `cat *.jsonl > all.jsonl`")
}

func rootPathErr(err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// Download writes a server's file of size bytes to path. It goes on from what an earlier try left in path+".part", and
// checks the whole against the digest that the server names; a part of something else is fetched anew.
func (c *Client) Download(ctx context.Context, apiPath string, query url.Values, path string, size int64, progress func(done, total int64)) error {
	d := download{client: c, apiPath: apiPath, query: query, part: path + ".part", size: size, tell: progress}
	resumed, err := d.run(ctx)
	if errors.Is(err, errOtherContent) && resumed {
		_, err = d.run(ctx)
	}
	if errors.Is(err, errOtherContent) {
		return contract.Errorf(contract.CodeInternal, "what was downloaded is not what the server holds").Mend("try again")
	}
	if err != nil {
		return err
	}
	return os.Rename(d.part, path)
}

// errOtherContent tells that a finished download does not have the server's digest; its part has been deleted.
var errOtherContent = errors.New("the content differs")

type download struct {
	client  *Client
	apiPath string
	query   url.Values
	part    string
	size    int64
	tell    func(done, total int64)
}

// run fetches what the part lacks; resumed tells whether there was one.
func (d *download) run(ctx context.Context) (resumed bool, err error) {
	file, err := os.OpenFile(d.part, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	have, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	// Of a part that looks whole the last byte is fetched again, for the digest that comes with it.
	have = max(0, min(have, d.size-1))
	digest, err := d.fetch(ctx, file, have)
	if err != nil {
		return have > 0, err
	}
	sum, err := Digest(file)
	if err == nil && digest != "" && sum != digest {
		err = errors.Join(errOtherContent, os.Remove(d.part))
	}
	return have > 0, errors.Join(err, file.Close())
}

// fetch writes the server's bytes from have on, and returns the digest of the whole, "" if the server names none.
func (d *download) fetch(ctx context.Context, file *os.File, have int64) (digest string, err error) {
	req, err := d.client.request(ctx, http.MethodGet, d.apiPath, d.query, nil)
	if err != nil {
		return "", err
	}
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	res, err := d.client.do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusPartialContent {
		have = 0 // a server that cannot go on starts again
	}
	if err := file.Truncate(have); err != nil {
		return "", err
	}
	if _, err := file.Seek(have, io.SeekStart); err != nil {
		return "", err
	}
	if _, err := io.Copy(file, &meter{r: res.Body, done: have, total: d.size, tell: d.tell}); err != nil {
		return "", contract.Errorf(contract.CodeUnavailable, "the download broke off: %w", err).Mend("run it again: it goes on where it was")
	}
	digest = strings.Trim(res.Header.Get("ETag"), `"`)
	if len(digest) != hex.EncodedLen(sha256.Size) {
		digest = ""
	}
	return digest, nil
}

// Digest reads a file from its start and returns its SHA-256 in hexadecimal.
func Digest(file *os.File) (string, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	sum := sha256.New()
	_, err := io.Copy(sum, file)
	return hex.EncodeToString(sum.Sum(nil)), err
}

// meter tells how much of a stream has been read, until it is ended.
type meter struct {
	r     io.Reader
	total int64

	mu   sync.Mutex
	done int64
	tell func(done, total int64)
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += int64(n)
	if m.tell != nil {
		m.tell(m.done, m.total)
	}
	return n, err
}

func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tell = nil
}
