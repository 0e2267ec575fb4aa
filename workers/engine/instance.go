package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/workers/runner"
)

const (
	// healthEvery and healthMisses decide when an engine that lives but does not answer is given up.
	healthEvery  = 5 * time.Second
	healthMisses = 6
	// loadPatience bounds the load of one adapter, which waits for the answers under way.
	loadPatience = 5 * time.Minute
	answerLimit  = 1 << 20
)

// loopback talks to engines of this machine, never through a proxy.
var loopback = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute}}

// instance is one life of an engine's process.
type instance struct {
	process runner.Process
	url     string
	token   string
	device  string
	gone    chan struct{} // closed when the process has ended
}

func (i *instance) alive() bool {
	select {
	case <-i.gone:
		return false
	default:
		return i.process.Alive()
	}
}

// watch closes gone when the process ends, and ends one that no longer answers.
func (i *instance) watch(log *slog.Logger) {
	defer close(i.gone)
	misses, next := 0, time.Now().Add(healthEvery)
	for !i.process.AwaitExit(poll) {
		if time.Now().Before(next) {
			continue
		}
		next = time.Now().Add(healthEvery)
		if i.healthy() {
			misses = 0
			continue
		}
		if misses++; misses == healthMisses {
			log.Error("the engine does not answer and is killed", "pid", i.process.PID)
			i.process.Kill()
		}
	}
}

func (i *instance) healthy() bool {
	ctx, cancel := context.WithTimeout(context.Background(), healthEvery)
	defer cancel()
	return i.call(ctx, http.MethodGet, "/healthz", nil, nil) == nil
}

// add loads weights under a name and has the engine prove that they answer as they did when training ended. Weights that
// are there already are left alone.
func (i *instance) add(ctx context.Context, name, path, method string) error {
	ctx, cancel := context.WithTimeout(ctx, loadPatience)
	defer cancel()
	return i.call(ctx, http.MethodPost, "/adapters", map[string]string{"id": name, "path": path, "method": method}, nil)
}

// remove unloads weights; nothing happens if they are not there.
func (i *instance) remove(ctx context.Context, name string) error {
	err := i.call(ctx, http.MethodDelete, "/adapters/"+url.PathEscape(name), nil, nil)
	if contract.CodeOf(err) == contract.CodeNotFound {
		return nil
	}
	return err
}

// adapters lists what is loaded.
func (i *instance) adapters(ctx context.Context) ([]string, error) {
	var answer struct {
		Adapters []string `json:"adapters"`
	}
	err := i.call(ctx, http.MethodGet, "/adapters", nil, &answer)
	return answer.Adapters, err
}

func (i *instance) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, i.url+path, body)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+i.token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := loopback.Do(request)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
			return cause
		}
		return contract.Errorf(contract.CodeUnavailable, "the engine does not answer: %w", err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit))
	if err != nil {
		return contract.Errorf(contract.CodeUnavailable, "the engine's answer was cut off: %w", err)
	}
	if answer.StatusCode >= 300 {
		return refusal(answer.StatusCode, data)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return contract.Errorf(contract.CodeUnavailable, "the engine's answer cannot be read: %w", err)
	}
	return nil
}

// refusal reads OpenAI's envelope, with the runner's code, remedy and detail in it.
func refusal(status int, data []byte) error {
	var envelope struct {
		Error struct {
			Message string        `json:"message"`
			Code    contract.Code `json:"code"`
			Remedy  string        `json:"remedy"`
			Detail  string        `json:"detail"`
		} `json:"error"`
	}
	if json.Unmarshal(data, &envelope) != nil || envelope.Error.Message == "" {
		return contract.Errorf(contract.CodeUnavailable, "the engine answered %d", status)
	}
	problem := &contract.Error{
		Code: envelope.Error.Code, Message: envelope.Error.Message, Remedy: envelope.Error.Remedy, Detail: envelope.Error.Detail,
	}
	switch {
	case status == http.StatusNotFound:
		problem.Code = contract.CodeNotFound
	case status == http.StatusUnauthorized:
		problem.Code = contract.CodeUnavailable // another process has the port by now
	case problem.Code == "":
		problem.Code = contract.CodeInternal
	}
	return fmt.Errorf("engine: %w", problem)
}
