package gatewayclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/vibeflow/vibeflow/contract"
)

// Run reaches one run under one epoch. It is safe for concurrent use.
type Run struct {
	client *Client
	id     string
	epoch  int64
	worker string

	mu    sync.Mutex
	token string
}

// Run returns the door to a run that worker ("host/instance/boot") has claimed or adopted.
func (c *Client) Run(id, worker string, claim contract.Claim) *Run {
	return &Run{client: c, id: id, epoch: claim.Epoch, worker: worker, token: claim.Token}
}

// SendEvents appends lines of the epoch's event file; lines that the log has are left alone.
func (r *Run) SendEvents(ctx context.Context, batch contract.EventBatch) (contract.Ack, error) {
	var ack contract.Ack
	err := r.call(ctx, http.MethodPost, "/events", batch, &ack)
	return ack, err
}

// PutCheckpoint commits a checkpoint whose files and events the gateway has.
func (r *Run) PutCheckpoint(ctx context.Context, manifest contract.Manifest) error {
	return r.call(ctx, http.MethodPut, "/checkpoints/"+url.PathEscape(manifest.Name), manifest, nil)
}

// PutArtifact commits an artifact whose files the gateway has.
func (r *Run) PutArtifact(ctx context.Context, manifest contract.Manifest) error {
	return r.call(ctx, http.MethodPut, "/artifacts/"+url.PathEscape(manifest.Name), manifest, nil)
}

// PutResult hands in how the epoch ended.
func (r *Run) PutResult(ctx context.Context, result contract.RunResult) error {
	return r.call(ctx, http.MethodPut, "/result", result, nil)
}

// HasBlob reports whether the gateway has content with this digest for the run.
func (r *Run) HasBlob(ctx context.Context, sha256 string) (bool, error) {
	err := r.call(ctx, http.MethodHead, "/blobs/"+url.PathEscape(sha256), nil, nil)
	switch contract.CodeOf(err) {
	case contract.CodeNotFound, contract.CodeConflict:
		// An answer to HEAD has no body to say which conflict: the upload that follows is told.
		return false, nil
	default:
		return err == nil, err
	}
}

// UploadState returns how much of an upload has arrived; none when it was never begun.
func (r *Run) UploadState(ctx context.Context, sha256 string) (contract.UploadState, error) {
	state := contract.UploadState{SHA256: sha256}
	err := r.call(ctx, http.MethodGet, "/uploads/"+url.PathEscape(sha256), nil, &state)
	if contract.CodeOf(err) == contract.CodeNotFound {
		return contract.UploadState{SHA256: sha256}, nil
	}
	return state, err
}

// UploadChunk sends the bytes of a file of size bytes from offset on: at most contract.UploadChunkBytes of them.
func (r *Run) UploadChunk(ctx context.Context, sha256 string, offset, size int64, chunk []byte) (contract.UploadState, error) {
	var state contract.UploadState
	query := url.Values{"offset": {strconv.FormatInt(offset, 10)}, "size": {strconv.FormatInt(size, 10)}}
	path := runPath(r.id, "/uploads/"+url.PathEscape(sha256)) + "?" + query.Encode()
	err := r.withToken(ctx, func(token string) error {
		ctx, cancel := context.WithTimeout(ctx, 4*callTimeout)
		defer cancel()
		answer, err := r.client.send(ctx, http.MethodPut, path, token, bytes.NewReader(chunk), func(h http.Header) {
			h.Set("Content-Type", "application/octet-stream")
		})
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		return decode(answer, &state)
	})
	return state, err
}

// Blobs is the source of the run's inputs and checkpoints.
func (r *Run) Blobs() BlobSource {
	return func(ctx context.Context, sha256 string, offset int64) (io.ReadCloser, int64, error) {
		var body io.ReadCloser
		var start int64
		err := r.withToken(ctx, func(token string) (err error) {
			body, start, err = r.client.openBlob(ctx, runPath(r.id, "/blobs/"+url.PathEscape(sha256)), token, offset)
			return err
		})
		return body, start, err
	}
}

func (r *Run) call(ctx context.Context, method, suffix string, in, out any) error {
	return r.withToken(ctx, func(token string) error {
		return r.client.call(ctx, method, runPath(r.id, suffix), token, in, out)
	})
}

// withToken does a call and, when its token is no longer taken (it ran out, or the server has new keys), adopts the
// epoch again for a fresh one. An epoch that is another's by then surfaces as CodeEpochSuperseded.
func (r *Run) withToken(ctx context.Context, call func(token string) error) error {
	token := r.currentToken()
	err := call(token)
	if contract.CodeOf(err) != contract.CodeUnauthenticated {
		return err
	}
	if err := r.renew(ctx, token); err != nil {
		return fmt.Errorf("renew the run's token: %w", err)
	}
	return call(r.currentToken())
}

func (r *Run) currentToken() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.token
}

func (r *Run) renew(ctx context.Context, stale string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.token != stale {
		return nil // another goroutine was here first
	}
	claim, err := r.client.Adopt(ctx, r.id, contract.AdoptRequest{Epoch: r.epoch, Worker: r.worker})
	if err != nil {
		return err
	}
	r.token = claim.Token
	return nil
}

// openBlob opens content from offset on, and says from where the bytes really start: a gateway may ignore the range.
func (c *Client) openBlob(ctx context.Context, path, token string, offset int64) (io.ReadCloser, int64, error) {
	answer, err := c.send(ctx, http.MethodGet, path, token, nil, func(h http.Header) {
		h.Set("Accept", "application/octet-stream")
		if offset > 0 {
			h.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		}
	})
	if err != nil {
		return nil, 0, err
	}
	if answer.StatusCode != http.StatusPartialContent {
		return answer.Body, 0, nil
	}
	var start int64
	if _, err := fmt.Sscanf(answer.Header.Get("Content-Range"), "bytes %d-", &start); err != nil || start != offset {
		return nil, 0, errors.Join(
			contract.Errorf(contract.CodeUnavailable, "the gateway answered another range than asked for"), answer.Body.Close())
	}
	return answer.Body, start, nil
}
