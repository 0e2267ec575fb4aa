package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/problem"
	"github.com/vibeflow/vibeflow/contract"
)

// maxAnswer bounds an answer that is not streamed; the longest that an engine gives is far shorter.
const maxAnswer = 32 << 20

var (
	streamData = []byte("data:")
	streamDone = []byte("[DONE]")
)

// passOn answers with what the engine answers, as it comes. An engine has names of its own for models: clients get the
// one that they asked for.
func passOn(c *echo.Context, res *http.Response, model string) error {
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if value := res.Header.Get(name); value != "" {
			c.Response().Header().Set(name, value)
		}
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return passStream(c, res, model)
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		c.Response().Header().Del("Content-Type")
		return engineGone(c.Request().Context())
	}
	c.Response().WriteHeader(res.StatusCode)
	_, _ = c.Response().Write(renamed(answer, model))
	return nil
}

// passStream passes server-sent events on, each as soon as it is whole. A stream that the engine breaks off ends with an
// error in OpenAI's envelope instead of [DONE].
func passStream(c *echo.Context, res *http.Response, model string) error {
	w := c.Response()
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(res.StatusCode)
	flush := http.NewResponseController(w).Flush
	_ = flush()
	lines, done := bufio.NewReader(res.Body), false
	for {
		line, readErr := lines.ReadBytes('\n')
		if readErr != nil { // half a line says nothing
			return endStream(c, done && errors.Is(readErr, io.EOF))
		}
		if data, ok := bytes.CutPrefix(line, streamData); ok {
			data = bytes.TrimSpace(data)
			done = done || bytes.Equal(data, streamDone)
			line = append(append([]byte("data: "), renamed(data, model)...), '\n')
		}
		if _, err := w.Write(line); err != nil {
			return nil // the client left; closing the body stops the engine
		}
		if len(bytes.TrimSpace(line)) == 0 {
			_ = flush()
		}
	}
}

func endStream(c *echo.Context, whole bool) error {
	if whole || c.Request().Context().Err() != nil {
		return nil
	}
	cut := problem.From(contract.Errorf(contract.CodeUnavailable, "the model's engine broke off").Mend("ask again"))
	data, err := json.Marshal(openAIEnvelope(cut))
	if err == nil {
		_, _ = c.Response().Write([]byte("\ndata: " + string(data) + "\n\n"))
	}
	return nil
}

// renamed sets the member "model" of a JSON object and leaves every other byte as it is; what is not such an object, or
// has no model, is left alone.
func renamed(object []byte, model string) []byte {
	decoder := json.NewDecoder(bytes.NewReader(object))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return object
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return object
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return object
		}
		if key != "model" {
			continue
		}
		name, err := json.Marshal(model)
		if err != nil {
			return object
		}
		end := int(decoder.InputOffset())
		return append(append(append([]byte{}, object[:end-len(value)]...), name...), object[end:]...)
	}
	return object
}
