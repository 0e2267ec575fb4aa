package apiclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/vibeflow/vibeflow/contract"
)

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
		if err := openAIError(0, data); err != nil {
			return err
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

// openAIError is the error that OpenAI's envelope holds, nil for any other document. status is the answer's, 0 in the
// middle of a stream.
func openAIError(status int, document []byte) error {
	var envelope struct {
		Error *struct{ Message, Code, Param string } `json:"error"`
	}
	if err := json.Unmarshal(document, &envelope); err != nil || envelope.Error == nil {
		return nil
	}
	e := envelope.Error
	return &contract.Error{Code: codeOf(status, e.Code), Message: e.Message, Field: e.Param}
}

// codeOf finds our code for what OpenAI's envelope says; codes that have no other name pass.
func codeOf(status int, code string) contract.Code {
	switch code {
	case "invalid_api_key":
		return contract.CodeUnauthenticated
	case "model_not_found", "unknown_url":
		return contract.CodeNotFound
	case "":
	default:
		return contract.Code(code)
	}
	switch {
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return contract.CodeUnavailable
	case status >= http.StatusBadRequest && status < http.StatusInternalServerError:
		return contract.CodeInvalid
	default:
		return contract.CodeInternal
	}
}
