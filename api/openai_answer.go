package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
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

// answering passes an engine's answer on. An engine has names of its own for models: clients get the one that they asked
// for. It tells the tokens of every answer, for the meter; clients see them as they asked.
type answering struct {
	model string
	use   *use
	shows usageShown
}

// usageShown is where a client wants to see the tokens of its answer.
type usageShown int

const (
	// usageWhole: in the answer, or in every chunk of a stream.
	usageWhole usageShown = iota
	// usageLast: in the last chunk; null in the others.
	usageLast
	// usageHidden: nowhere in the stream.
	usageHidden
)

// askForUsage has the engine tell tokens with every chunk of a stream, so that those of one that breaks off are known, and
// returns what the client wants to see of it. Options that are none are left for the engine to refuse.
func askForUsage(request map[string]json.RawMessage) usageShown {
	var stream bool
	if json.Unmarshal(request["stream"], &stream) != nil || !stream {
		return usageWhole
	}
	options := map[string]json.RawMessage{}
	if given, ok := request["stream_options"]; ok && json.Unmarshal(given, &options) != nil {
		return usageWhole
	}
	if options == nil { // null
		options = map[string]json.RawMessage{}
	}
	var include, each bool
	if given, ok := options["include_usage"]; ok && json.Unmarshal(given, &include) != nil {
		return usageWhole
	}
	_ = json.Unmarshal(options["continuous_usage_stats"], &each)
	options["include_usage"], options["continuous_usage_stats"] = json.RawMessage("true"), json.RawMessage("true")
	request["stream_options"], _ = json.Marshal(options) // of JSON: cannot fail
	switch {
	case include && each:
		return usageWhole
	case include:
		return usageLast
	default:
		return usageHidden
	}
}

// passOn answers with what the engine answers, as it comes.
func (a *answering) passOn(c *echo.Context, res *http.Response) error {
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if value := res.Header.Get(name); value != "" {
			c.Response().Header().Set(name, value)
		}
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return a.passStream(c, res)
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		c.Response().Header().Del("Content-Type")
		return engineGone(c.Request().Context())
	}
	c.Response().WriteHeader(res.StatusCode)
	if object, ok := parseObject(answer); ok {
		a.count(object)
		answer = object.named(a.model).bytes()
	}
	_, err = c.Response().Write(answer)
	a.use.whole = err == nil
	return nil
}

// passStream passes server-sent events on, each as soon as it is whole. A stream that the engine breaks off ends with an
// error in OpenAI's envelope instead of [DONE].
func (a *answering) passStream(c *echo.Context, res *http.Response) error {
	w := c.Response()
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(res.StatusCode)
	flush := http.NewResponseController(w).Flush
	_ = flush()
	lines, done, dropped := bufio.NewReader(res.Body), false, false
	for {
		line, readErr := lines.ReadBytes('\n')
		if readErr != nil { // half a line says nothing
			return a.endStream(c, done && errors.Is(readErr, io.EOF))
		}
		if data, ok := bytes.CutPrefix(line, streamData); ok {
			data = bytes.TrimSpace(data)
			done = done || bytes.Equal(data, streamDone)
			if data = a.shown(data); data == nil {
				dropped = true
				continue
			}
			line = append(append([]byte("data: "), data...), '\n')
		}
		blank := len(bytes.TrimSpace(line)) == 0
		if blank && dropped { // the end of the event that was left out
			dropped = false
			continue
		}
		if _, err := w.Write(line); err != nil {
			return nil // the client left; closing the body stops the engine
		}
		if blank {
			a.use.whole = done
			_ = flush()
		}
	}
}

func (a *answering) endStream(c *echo.Context, whole bool) error {
	a.use.whole = whole
	if whole || c.Request().Context().Err() != nil {
		return nil
	}
	a.use.broke = true
	cut := problem.From(contract.Errorf(contract.CodeUnavailable, "the model's engine broke off").Mend("ask again"))
	data, err := json.Marshal(openAIEnvelope(cut))
	if err == nil {
		_, _ = c.Response().Write([]byte("\ndata: " + string(data) + "\n\n"))
	}
	return nil
}

// shown is what the client gets of a chunk, nil for nothing.
func (a *answering) shown(chunk []byte) []byte {
	object, ok := parseObject(chunk)
	if !ok {
		return chunk
	}
	a.count(object)
	usage, choices := object.find("usage"), object.find("choices")
	if last := choices >= 0 && string(object[choices].value) == "[]"; usage >= 0 {
		switch {
		case a.shows == usageHidden && last:
			return nil
		case a.shows == usageHidden:
			object = slices.Delete(object, usage, usage+1)
		case a.shows == usageLast && !last:
			object[usage].value = json.RawMessage("null")
		}
	}
	return object.named(a.model).bytes()
}

// count notes the tokens that an answer or a chunk tells of: of a stream the latest stand for all.
func (a *answering) count(object jsonObject) {
	at := object.find("usage")
	if at < 0 {
		return
	}
	var told *struct {
		Prompt     int64 `json:"prompt_tokens"`
		Completion int64 `json:"completion_tokens"`
	}
	if json.Unmarshal(object[at].value, &told) == nil && told != nil {
		a.use.prompt, a.use.completion = max(0, told.Prompt), max(0, told.Completion)
	}
}

// jsonObject is a JSON object whose members keep their order and the bytes of their values.
type jsonObject []jsonMember

type jsonMember struct {
	name  string
	value json.RawMessage
}

// parseObject reads a JSON object; ok is false for anything else.
func parseObject(data []byte) (object jsonObject, ok bool) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil, false
	}
	for decoder.More() {
		key, err := decoder.Token()
		name, text := key.(string)
		var value json.RawMessage
		if err != nil || !text || decoder.Decode(&value) != nil {
			return nil, false
		}
		object = append(object, jsonMember{name, value})
	}
	end, err := decoder.Token()
	return object, err == nil && end == json.Delim('}')
}

// find returns where a member is, -1 for nowhere.
func (o jsonObject) find(name string) int {
	for i := range o {
		if o[i].name == name {
			return i
		}
	}
	return -1
}

// named sets the member "model", if there is one.
func (o jsonObject) named(model string) jsonObject {
	if at := o.find("model"); at >= 0 {
		o[at].value, _ = json.Marshal(model) // text: cannot fail
	}
	return o
}

func (o jsonObject) bytes() []byte {
	out := bytes.NewBufferString("{")
	for i, member := range o {
		if i > 0 {
			out.WriteByte(',')
		}
		name, _ := json.Marshal(member.name)
		out.Write(name)
		out.WriteByte(':')
		out.Write(member.value)
	}
	out.WriteByte('}')
	return out.Bytes()
}
