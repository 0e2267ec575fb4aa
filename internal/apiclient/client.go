// Package apiclient is the Go client of VibeFlow's native API: what the CLI is built on. Types are those generated from
// api/openapi.yaml; refusals come back as *contract.Error.
package apiclient

import (
	"bufio"
	"bytes"
	"context"
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
	"time"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
)

// Client calls one server with one credential. The zero HTTP field means http.DefaultClient.
type Client struct {
	Base  string // "http://127.0.0.1:8642"
	Token string
	HTTP  *http.Client
}

const maxProblemBytes = 64 << 10

// Get fetches a JSON document.
func Get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	return call[T](ctx, c, http.MethodGet, path, query, nil)
}

// Post sends body as JSON (none when nil) and decodes the answer.
func Post[T any](ctx context.Context, c *Client, path string, body any) (T, error) {
	return call[T](ctx, c, http.MethodPost, path, nil, body)
}

// Delete deletes; T is what the answer holds, struct{} for none.
func Delete[T any](ctx context.Context, c *Client, path string) (T, error) {
	return call[T](ctx, c, http.MethodDelete, path, nil, nil)
}

func call[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any) (T, error) {
	var out T
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return out, err
		}
		reader = bytes.NewReader(data)
	}
	req, err := c.request(ctx, method, path, query, reader)
	if err != nil {
		return out, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.do(req)
	if err != nil {
		return out, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusNoContent {
		return out, nil
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("reading the answer of %s %s: %w", method, path, err)
	}
	return out, nil
}

func (c *Client) request(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Request, error) {
	target := strings.TrimSuffix(c.Base, "/") + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	return req, nil
}

// do sends and turns a refusal into its *contract.Error; the caller closes the body of a success.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	httpClient := c.HTTP
	if httpClient == nil {
		httpClient = http.DefaultClient
	}
	res, err := httpClient.Do(req)
	if err != nil {
		if req.Context().Err() != nil {
			return nil, req.Context().Err()
		}
		return nil, contract.Errorf(contract.CodeUnavailable, "no VibeFlow server answers at %s: %w", c.Base, rootCause(err)).
			Mend("start one with `vibeflow up`, or name another with --server")
	}
	if res.StatusCode < http.StatusBadRequest {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	return nil, problemOf(res)
}

func rootCause(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func problemOf(res *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(res.Body, maxProblemBytes))
	var problem struct {
		apigen.Problem
		// OpenAI's envelope, under /v1.
		Error *struct{ Message, Code, Param string } `json:"error"`
	}
	err := json.Unmarshal(data, &problem)
	switch {
	case err == nil && problem.Code != "":
		return &contract.Error{Code: contract.Code(problem.Code), Message: problem.Detail, Field: problem.Field, Remedy: problem.Remedy}
	case err == nil && problem.Error != nil:
		return &contract.Error{Code: contract.Code(problem.Error.Code), Message: problem.Error.Message, Field: problem.Error.Param}
	default:
		return contract.Errorf(contract.CodeInternal, "the server answered %s", res.Status)
	}
}

// UploadDataset streams a file to the server; progress is called with the bytes sent so far.
func (c *Client) UploadDataset(ctx context.Context, path, name string, progress func(sent, total int64)) (apigen.Dataset, error) {
	var out apigen.Dataset
	file, err := os.Open(path) //nolint:gosec // the user's own choice of file
	if err != nil {
		return out, contract.Errorf(contract.CodeNotFound, "cannot open %s: %w", path, rootPathErr(err)).On("file")
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil || info.IsDir() {
		return out, contract.Errorf(contract.CodeInvalid, "%s is not a file", path).On("file")
	}
	return c.UploadDatasetFrom(ctx, &meter{r: file, total: info.Size(), tell: progress}, filepath.Base(path), name)
}

// UploadDatasetFrom streams content under a file name.
func (c *Client) UploadDatasetFrom(ctx context.Context, content io.Reader, fileName, name string) (apigen.Dataset, error) {
	var out apigen.Dataset
	reader, writer := io.Pipe()
	form := multipart.NewWriter(writer)
	go func() { _ = writer.CloseWithError(writeForm(form, content, fileName, name)) }()
	req, err := c.request(ctx, http.MethodPost, "/api/datasets/upload", nil, reader)
	if err != nil {
		return out, err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	res, err := c.do(req)
	_ = reader.Close()
	if err != nil {
		return out, err
	}
	defer func() { _ = res.Body.Close() }()
	return out, json.NewDecoder(res.Body).Decode(&out)
}

func writeForm(form *multipart.Writer, content io.Reader, fileName, name string) error {
	if name != "" {
		if err := form.WriteField("name", name); err != nil {
			return err
		}
	}
	part, err := form.CreateFormFile("file", fileName)
	if err != nil {
		return err
	}
	if _, err := io.Copy(part, content); err != nil {
		return err
	}
	return form.Close()
}

func rootPathErr(err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// Download writes a server's file to path, going on from what an earlier try left in path+".part".
func (c *Client) Download(ctx context.Context, apiPath string, query url.Values, path string, size int64, progress func(done, total int64)) error {
	part := path + ".part"
	file, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // the user's own choice
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	have, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if have < size || size == 0 {
		if err := c.fetch(ctx, apiPath, query, file, have, size, progress); err != nil {
			return err
		}
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(part, path)
}

func (c *Client) fetch(ctx context.Context, apiPath string, query url.Values, file io.Writer, have, size int64, progress func(done, total int64)) error {
	req, err := c.request(ctx, http.MethodGet, apiPath, query, nil)
	if err != nil {
		return err
	}
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	res, err := c.do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if have > 0 && res.StatusCode != http.StatusPartialContent {
		return contract.Errorf(contract.CodeInternal, "the server cannot go on with a broken download").Mend("delete the .part file and try again")
	}
	_, err = io.Copy(file, &meter{r: res.Body, done: have, total: size, tell: progress})
	return err
}

type meter struct {
	r           io.Reader
	done, total int64
	tell        func(done, total int64)
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.done += int64(n)
	if m.tell != nil {
		m.tell(m.done, m.total)
	}
	return n, err
}

// WaitReady returns once the server's /readyz says so, or the context ends.
func (c *Client) WaitReady(ctx context.Context) error {
	for {
		req, err := c.request(ctx, http.MethodGet, "/readyz", nil, nil)
		if err != nil {
			return err
		}
		if res, err := c.do(req); err == nil {
			_ = res.Body.Close()
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Chat streams a chat completion: handle gets each chunk's JSON, in OpenAI's shape, until the stream is done.
func (c *Client) Chat(ctx context.Context, request any, handle func(chunk []byte) error) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	req, err := c.request(ctx, http.MethodPost, "/v1/chat/completions", nil, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	scanner := bufio.NewScanner(res.Body)
	scanner.Buffer(make([]byte, 64<<10), maxEventBytes)
	for scanner.Scan() {
		data, ok := bytes.CutPrefix(scanner.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		if string(data) == "[DONE]" {
			return nil
		}
		if err := handle(data); err != nil {
			return err
		}
	}
	if err := scanner.Err(); err != nil {
		return err
	}
	return contract.Errorf(contract.CodeUnavailable, "the answer was cut off").Mend("ask again")
}
