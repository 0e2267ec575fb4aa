package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

type ctx = context.Context

// body decodes a JSON request; an absent one is the zero value. The OpenAPI document has been checked before.
func body[T any](c *echo.Context) (T, error) {
	var v T
	decoder := json.NewDecoder(c.Request().Body)
	err := decoder.Decode(&v)
	if errors.Is(err, io.EOF) {
		return v, nil
	}
	if err == nil && decoder.More() {
		err = errors.New("something comes after it")
	}
	return v, notJSON(err, "")
}

// notJSON says what is wrong with a document without speaking of Go's types; within names the field that holds it.
func notJSON(err error, within string) error {
	var tooLarge *http.MaxBytesError
	var mismatch *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case contract.CodeOf(err) != contract.CodeInternal: // of reading the body
		return err
	case errors.As(err, &tooLarge):
		return contract.Errorf(contract.CodeTooLarge, "the request is larger than %d bytes", tooLarge.Limit).Mend("send less at once")
	case errors.As(err, &mismatch):
		field := strings.Trim(within+"."+mismatch.Field, ".")
		return contract.Errorf(contract.CodeInvalid, "%s cannot be %s", cmp.Or(field, "the request"), mismatch.Value).On(field).
			Mend("see /api/openapi.yaml for what is expected")
	default:
		return contract.Errorf(contract.CodeInvalid, "the request is not the JSON that is expected: %w", err).On(within)
	}
}

// command is the event of a user's command; each request is one of its own.
func command(kind contract.Kind, suffix string, payload any) contract.NewEvent {
	data, err := json.Marshal(payload)
	if err != nil || payload == nil {
		data = json.RawMessage(`{}`)
	}
	return contract.NewEvent{Type: contract.EventType(kind, suffix), Payload: data,
		Source: "cmd/" + contract.NewID(""), SourceSeq: 1, At: time.Now().UTC()}
}

// steer writes a command's event and queues the signal to the resource's workflow, all or nothing; the store refuses what
// the resource's state does not allow.
func (s *Server) steer(ctx ctx, kind contract.Kind, id, suffix, signal string, payload any) error {
	var input json.RawMessage
	if payload != nil {
		var err error
		if input, err = json.Marshal(payload); err != nil {
			return err
		}
	}
	_, err := s.Store.Command(ctx, store.Command{Kind: kind, ID: id, Event: command(kind, suffix, payload),
		Signal: &contract.Signal{WorkflowID: contract.WorkflowID(kind, id), Name: signal, Input: input}})
	return err
}

// start creates a resource and the outbox entry of its workflow.
func (s *Server) start(ctx ctx, kind contract.Kind, id string, payload any, start contract.Start, input any) error {
	data, err := json.Marshal(input)
	if err != nil {
		return err
	}
	start.ID, start.Input = contract.WorkflowID(kind, id), data
	if start.Queue == "" {
		start.Queue = contract.QueueControl
	}
	_, err = s.Store.Create(ctx, store.Creation{Kind: kind, ID: id, Payload: payload, Start: &start})
	return err
}
