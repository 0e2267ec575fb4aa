package gatewayclient

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

const (
	// answerLimit bounds a JSON answer; manifests of many files are the largest.
	answerLimit = 16 << 20
	// callTimeout bounds one call that carries no blob.
	callTimeout = 30 * time.Second
	// stallTimeout bounds the wait for an answer's headers, for blobs too.
	stallTimeout = 60 * time.Second
)

// Client talks to the gateway with the worker token. It is safe for concurrent use.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// New returns a client of the gateway below base, for example "http://127.0.0.1:8080"; the paths under /internal are
// added to it. It fails with CodeInvalid for an address that is not an absolute http or https URL.
func New(base, token string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, contract.Errorf(contract.CodeInvalid, "the gateway's address %q is not an http or https URL", base).
			Mend("give one like http://127.0.0.1:8080")
	}
	if token == "" {
		return nil, contract.Errorf(contract.CodeInvalid, "the worker token is empty").
			Mend("give the worker the data folder's worker token")
	}
	transport := &http.Transport{
		// Loopback and private gateways must not be sent through a proxy that cannot reach them; ProxyFromEnvironment
		// leaves loopback out by itself.
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: stallTimeout,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   8,
		ForceAttemptHTTP2:     true,
	}
	client := &http.Client{Transport: transport, CheckRedirect: refuseRedirect}
	return &Client{base: strings.TrimRight(u.String(), "/"), token: token, http: client}, nil
}

// refuseRedirect keeps tokens from travelling to wherever an answer points.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Report tells the gateway what this worker is.
func (c *Client) Report(ctx context.Context, report contract.WorkerReport) error {
	return c.call(ctx, http.MethodPut, "/internal/workers/"+url.PathEscape(report.ID), c.token, report, nil)
}

// RunState returns what the gateway knows of a run; CodeNotFound when it knows none.
func (c *Client) RunState(ctx context.Context, run string) (contract.RunState, error) {
	var state contract.RunState
	err := c.call(ctx, http.MethodGet, runPath(run, ""), c.token, nil, &state)
	return state, err
}

// Claim takes a new epoch of a run; CodeEpochSuperseded or CodeConflict when somebody else was faster.
func (c *Client) Claim(ctx context.Context, run string, request contract.ClaimRequest) (contract.Claim, error) {
	var claim contract.Claim
	err := c.call(ctx, http.MethodPost, runPath(run, "/claim"), c.token, request, &claim)
	return claim, err
}

// Adopt returns a fresh token of the current epoch; CodeEpochSuperseded when it is another one by now.
func (c *Client) Adopt(ctx context.Context, run string, request contract.AdoptRequest) (contract.Claim, error) {
	var claim contract.Claim
	err := c.call(ctx, http.MethodPost, runPath(run, "/adopt"), c.token, request, &claim)
	return claim, err
}

// Deployment returns what to serve.
func (c *Client) Deployment(ctx context.Context, id string) (contract.DeploymentSpec, error) {
	var spec contract.DeploymentSpec
	err := c.call(ctx, http.MethodGet, "/internal/deployments/"+url.PathEscape(id), c.token, nil, &spec)
	return spec, err
}

// PutServing tells the gateway where a deployment answers.
func (c *Client) PutServing(ctx context.Context, id string, serving contract.Serving) error {
	return c.call(ctx, http.MethodPut, "/internal/deployments/"+url.PathEscape(id)+"/serving", c.token, serving, nil)
}

// TokensQuestion returns a question about tokens; CodeNotFound once nobody waits for it.
func (c *Client) TokensQuestion(ctx context.Context, id string) (contract.TokensQuestion, error) {
	var question contract.TokensQuestion
	err := c.call(ctx, http.MethodGet, "/internal/tokens/"+url.PathEscape(id), c.token, nil, &question)
	return question, err
}

// PutTokens answers a question about tokens.
func (c *Client) PutTokens(ctx context.Context, id string, answer contract.TokensAnswer) error {
	return c.call(ctx, http.MethodPut, "/internal/tokens/"+url.PathEscape(id), c.token, answer, nil)
}

// TokensBlobs is the source of the files that a question's model names.
func (c *Client) TokensBlobs(id string) BlobSource {
	return func(ctx context.Context, sha256 string, offset int64) (io.ReadCloser, int64, error) {
		return c.openBlob(ctx, "/internal/tokens/"+url.PathEscape(id)+"/blobs/"+url.PathEscape(sha256), c.token, offset)
	}
}

// DeleteServing tells the gateway that a deployment's engine died and is started again.
func (c *Client) DeleteServing(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/internal/deployments/"+url.PathEscape(id)+"/serving", c.token, nil, nil)
}

// DeploymentBlobs is the source of a deployment's weights.
func (c *Client) DeploymentBlobs(id string) BlobSource {
	return func(ctx context.Context, sha256 string, offset int64) (io.ReadCloser, int64, error) {
		return c.openBlob(ctx, "/internal/deployments/"+url.PathEscape(id)+"/blobs/"+url.PathEscape(sha256), c.token, offset)
	}
}

func runPath(run, suffix string) string { return "/internal/runs/" + url.PathEscape(run) + suffix }

// call sends in as JSON, if any, and reads the answer into out, if any.
func (c *Client) call(ctx context.Context, method, path, token string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode %s %s: %w", method, path, err)
		}
		body = bytes.NewReader(data)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := c.send(ctx, method, path, token, body, func(h http.Header) {
		if in != nil {
			h.Set("Content-Type", "application/json")
		}
	})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return decode(answer, out)
}

// send does one request; an answer of 400 or more becomes its error.
func (c *Client) send(ctx context.Context, method, path, token string, body io.Reader, header func(http.Header)) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/json")
	if header != nil {
		header(request.Header)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	switch {
	case answer.Header.Get(contract.HeaderGateway) == "":
		defer answer.Body.Close()
		return nil, c.astray(answer)
	case answer.StatusCode >= 300:
		defer answer.Body.Close()
		return nil, refusal(answer)
	}
	return answer, nil
}

// astray is the error of an answer that something before the gateway gave, whatever its status. Waiting is right: a proxy
// that cannot find the gateway must not be taken to say that the gateway has lost a checkpoint, nor a page that greets
// every request that the gateway has stored one.
func (c *Client) astray(answer *http.Response) error {
	said := cmp.Or(problemOf(answer).Detail, "no VibeFlow server's worker gateway")
	return contract.Errorf(contract.CodeUnavailable, "what answers at %s is not the gateway (%s): %s", c.base, answer.Status, said).
		Mend("see that the gateway's address is the server's, and what stands between: a proxy, a network that wants a sign-in, a server of an older version")
}

func decode(answer *http.Response, out any) error {
	limited := io.LimitReader(answer.Body, answerLimit)
	if out == nil {
		_, _ = io.Copy(io.Discard, limited) // lets the connection be used again
		return nil
	}
	if err := json.NewDecoder(limited).Decode(out); err != nil {
		// A connection cut in the middle of an answer reads the same as a wrong one: both are worth another try.
		return contract.Errorf(contract.CodeUnavailable, "the gateway's answer cannot be read: %w", err)
	}
	return nil
}

// unreachable types a failed exchange. The caller's own cancellation stays what it is.
func unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return contract.Errorf(contract.CodeUnavailable, "the gateway cannot be reached: %w", err)
}

// problem is the part of RFC 9457's document that a worker acts on.
type problem struct {
	Title  string        `json:"title"`
	Detail string        `json:"detail"`
	Code   contract.Code `json:"code"`
	Field  string        `json:"field"`
	Remedy string        `json:"remedy"`
}

// problemOf reads an answer's document; it is empty where there is none.
func problemOf(answer *http.Response) problem {
	data, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	var p problem
	if json.Unmarshal(data, &p) != nil {
		return problem{}
	}
	p.Detail = cmp.Or(p.Detail, p.Title)
	return p
}

// refusal is the error that an answer of the gateway stands for. One without a document (to HEAD) is typed by its status.
func refusal(answer *http.Response) error {
	p := problemOf(answer)
	if p.Code == "" {
		return contract.Errorf(codeOfStatus(answer.StatusCode), "the gateway answered %s", answer.Status)
	}
	return &contract.Error{Code: p.Code, Message: p.Detail, Field: p.Field, Remedy: p.Remedy}
}

func codeOfStatus(status int) contract.Code {
	switch {
	case status == http.StatusUnauthorized:
		return contract.CodeUnauthenticated
	case status == http.StatusForbidden:
		return contract.CodeForbidden
	case status == http.StatusNotFound:
		return contract.CodeNotFound
	case status == http.StatusConflict:
		return contract.CodeConflict
	case status == http.StatusRequestEntityTooLarge:
		return contract.CodeTooLarge
	case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500:
		return contract.CodeUnavailable
	default:
		return contract.CodeInvalid
	}
}
