// Package apiclient is the Go client of VibeFlow's native API: what the CLI is built on. Types are those generated from
// api/openapi.yaml; refusals come back as *contract.Error.
package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
)

// Client calls one server with one credential. The zero HTTP field means http.DefaultClient.
type Client struct {
	Base  string // "http://127.0.0.1:8400"
	Token string
	// Renew, if set, gives the token of each request instead of Token: of a session whose tokens run out.
	Renew func(context.Context) (string, error)
	// Project, if set, is the project that every request is about: what it lists, finds and makes.
	Project string
	HTTP    *http.Client
	// Patience is how long to wait for a server on whose address nothing listens; 0: not at all.
	Patience time.Duration
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

// PostWith posts a query and no body.
func PostWith[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	return call[T](ctx, c, http.MethodPost, path, query, nil)
}

// Start is Post for what starts work. The request carries an Idempotency-Key, so that it is sent again when its answer was
// lost, for as long as the client has patience: what it starts is started once.
func Start[T any](ctx context.Context, c *Client, path string, body any) (T, error) {
	return call[T](ctx, c, http.MethodPost, path, nil, body, once)
}

// once makes a request safe to repeat.
func once(r *http.Request) { r.Header.Set("Idempotency-Key", contract.NewID("")) }

// Put replaces a resource of the version that its ETag names ("*": of any).
func Put[T any](ctx context.Context, c *Client, path, etag string, body any) (T, error) {
	return call[T](ctx, c, http.MethodPut, path, nil, body, func(r *http.Request) { r.Header.Set("If-Match", etag) })
}

// PutWith is Put with a query, of what has no versions.
func PutWith[T any](ctx context.Context, c *Client, path string, query url.Values, body any) (T, error) {
	return call[T](ctx, c, http.MethodPut, path, query, body)
}

// Patch changes a part of a resource.
func Patch[T any](ctx context.Context, c *Client, path string, body any) (T, error) {
	return call[T](ctx, c, http.MethodPatch, path, nil, body)
}

// Delete deletes; T is what the answer holds, struct{} for none.
func Delete[T any](ctx context.Context, c *Client, path string) (T, error) {
	return DeleteWith[T](ctx, c, path, nil)
}

// DeleteWith is Delete with a query.
func DeleteWith[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	return call[T](ctx, c, http.MethodDelete, path, query, nil)
}

func call[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any, changes ...func(*http.Request)) (T, error) {
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
	for _, change := range changes {
		change(req)
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
	token, err := c.token(ctx)
	if err != nil {
		return nil, err
	}
	target := strings.TrimSuffix(c.Base, "/") + path
	if c.Project != "" {
		query = maps.Clone(query)
		if query == nil {
			query = url.Values{}
		}
		query.Set("project_id", c.Project)
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req, nil
}

func (c *Client) token(ctx context.Context) (string, error) {
	if c.Renew == nil {
		return c.Token, nil
	}
	return c.Renew(ctx)
}

// do sends and turns a refusal into its *contract.Error; the caller closes the body of a success.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	httpClient := c.HTTP
	if httpClient == nil {
		httpClient = http.DefaultClient
	}
	res, err := c.patiently(httpClient, req)
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

// patiently tries again, for as long as the client is told to, where nothing listens: a server that is being restarted.
// Nothing was sent then, so that any request may be repeated. One with an Idempotency-Key may be repeated whenever the
// connection broke.
func (c *Client) patiently(httpClient *http.Client, req *http.Request) (*http.Response, error) {
	deadline := time.Now().Add(c.Patience)
	for {
		res, err := httpClient.Do(req)
		if err == nil || !repeatable(req, err) || time.Now().After(deadline) {
			return res, err
		}
		select {
		case <-req.Context().Done():
			return nil, err
		case <-time.After(redialAfter):
		}
		if req.GetBody != nil {
			if req.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

func repeatable(req *http.Request, err error) bool {
	if req.Context().Err() != nil || (req.Body != nil && req.GetBody == nil) {
		return false
	}
	var refused *net.OpError
	return req.Header.Get("Idempotency-Key") != "" || (errors.As(err, &refused) && refused.Op == "dial")
}

const redialAfter = 100 * time.Millisecond

func rootCause(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func problemOf(res *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(res.Body, maxProblemBytes))
	var problem apigen.Problem
	err := json.Unmarshal(data, &problem)
	switch {
	case err == nil && problem.Code != "":
		return &contract.Error{Code: contract.Code(problem.Code), Message: problem.Detail, Field: problem.Field, Remedy: problem.Remedy}
	case openAIError(res.StatusCode, data) != nil: // under /v1
		return openAIError(res.StatusCode, data)
	case res.StatusCode >= http.StatusBadGateway && res.StatusCode <= http.StatusGatewayTimeout:
		return contract.Errorf(contract.CodeUnavailable, "the server answered %s", res.Status).Mend("try again in a moment")
	default:
		return contract.Errorf(contract.CodeInternal, "the server answered %s", res.Status)
	}
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
