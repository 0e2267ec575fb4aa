package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

// nastyValues are put in place of every parameter and every field.
var nastyValues = []string{
	`null`, `true`, `-1`, `0`, `1e400`, `1e30`, `99999999999999999999`, `-9223372036854775809`, `0.5`, `""`, `"x"`, `"\u0000"`, `"\ud800"`,
	`"../../etc/passwd"`, `"' OR 1=1 --"`, `[]`, `[[]]`, `{}`, `{"x":{"x":1}}`, `"` + strings.Repeat("A", 70_000) + `"`,
}

// nastyBodies are sent whole.
func nastyBodies() []string {
	return []string{"", "null", "{", "[]", `"x"`, "1", "true", `{"x":1}`, `{}{}`, `{"model_id":"a","model_id":"b"}`, "\xff\xfe{}", "\x00",
		strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 20_000), `{"config":` + strings.Repeat(`{"lora":`, 9_000) + "1" + strings.Repeat("}", 9_001)}
}

var nastyIDs = []string{"x", "..", "%2e%2e", "%00", "a%2fb", "ds_%27--", "%F0%9F%92%A9", strings.Repeat("i", 129), "-", "_", "a%0d%0ab", "*", "job_1%20"}

// TestBadInputIsNeverOurFault sends nonsense to every operation of the document: each answer is described there (the
// harness checks), and none is a 5xx or an accepted command on a resource that is not there.
func TestBadInputIsNeverOurFault(t *testing.T) {
	w := newWorld(t)
	resources := everything(w)
	for path, item := range w.check.doc.Paths.Map() {
		for method, op := range item.Operations() {
			if path == "/readyz" || path == "/healthz" || strings.HasSuffix(path, "/stream") || strings.HasSuffix(path, "/events") {
				continue
			}
			t.Run(op.OperationID, func(t *testing.T) {
				w := *w
				w.t = t
				for _, id := range nastyIDs {
					if strings.Contains(path, "{") {
						w.harmless(method, strings.NewReplacer("{id}", id, "{model}", id).Replace(path), "{}", http.StatusBadRequest)
					}
				}
				kind := strings.Split(path, "/")[2]
				real := strings.NewReplacer("{id}", resources[kind], "{model}", "none").Replace(path)
				for _, query := range nastyQueries(op) {
					w.harmless(method, real+query, "{}", http.StatusOK)
				}
				for _, body := range append(nastyBodies(), nastyFields(op)...) {
					w.harmless(method, real, body, http.StatusOK)
				}
			})
		}
	}
}

// harmless sends a request whose answer must be a problem of the client's, or a success from `best` on.
func (w *world) harmless(method, path, body string, best int) {
	w.t.Helper()
	var sent any
	if method == http.MethodPost {
		sent = body
	}
	a := w.call(method, path, sent)
	require.Less(w.t, a.status, http.StatusInternalServerError, "%s %.200s %.200s: %s", method, path, body, a.body)
	require.GreaterOrEqual(w.t, a.status, best, "%s %.200s", method, path)
	if a.status >= http.StatusBadRequest {
		said := a.refusal(operation{path: path}, a.status)
		require.NotContains(w.t, said, "Go struct", "%s %.200s", path, body)
		require.Less(w.t, len(a.body), 8<<10, "a problem that echoes what was sent")
	}
}

func nastyQueries(op *openapi3.Operation) []string {
	var queries []string
	for _, ref := range op.Parameters {
		if ref.Value.In != "query" {
			continue
		}
		for _, v := range []string{"", "-1", "0", "1e9", "99999999999999999999", "x", "%00", "%ff", "a&" + ref.Value.Name + "=b", strings.Repeat("z", 5000)} {
			queries = append(queries, "?"+ref.Value.Name+"="+v)
		}
	}
	return queries
}

// nastyFields replaces each field of a request that is right as a whole with each of the nasty values.
func nastyFields(op *openapi3.Operation) []string {
	if op.RequestBody == nil || op.RequestBody.Value.Content["application/json"] == nil {
		return nil
	}
	schema := op.RequestBody.Value.Content["application/json"].Schema.Value
	var bodies []string
	for field := range schema.Properties {
		for _, nasty := range nastyValues {
			body := map[string]json.RawMessage{}
			for _, required := range schema.Required {
				body[required] = json.RawMessage(`"` + map[string]string{"dataset_id": "ds_ready", "model_id": tunedModel, "source": "hub:a/b", "name": "n"}[required] + `"`)
			}
			delete(body, field)
			rest, _ := json.Marshal(body)
			bodies = append(bodies, strings.TrimSuffix(`{"`+field+`":`+nasty+`,`+strings.TrimPrefix(string(rest), "{"), ",}")+closing(rest))
		}
	}
	return bodies
}

// closing mends the object that nastyFields puts together when there are no other fields.
func closing(rest []byte) string {
	if string(rest) == "{}" {
		return "}"
	}
	return ""
}

func TestMethodsAndPathsThatAreNotThere(t *testing.T) {
	w := newWorld(t)
	w.get("/api/nothing").problem(http.StatusNotFound)
	w.get("/nothing").problem(http.StatusNotFound)
	a := w.call(http.MethodPut, "/api/datasets/x", "{}")
	a.problem(http.StatusMethodNotAllowed)
	require.Equal(t, "GET, PATCH, DELETE", a.header.Get("Allow"))
	w.get("/api/datasets/a%3Ab").problem(http.StatusNotFound) // an id that is escaped is an id
	w.call("BREW", "/api/datasets", nil).problem(http.StatusMethodNotAllowed)
	w.call(http.MethodDelete, "/healthz", nil).problem(http.StatusMethodNotAllowed)
	require.NotContains(t, string(w.get("/metrics").body), "BREW", "a client does not make labels")
}

func TestARequestThatIsTooLargeIsRefused(t *testing.T) {
	w := newWorld(t)
	p := w.post("/api/training/start", `{"dataset_id":"`+strings.Repeat("x", 5<<20)+`"}`).problem(http.StatusRequestEntityTooLarge)
	require.Equal(t, "too_large", p.Code)
}

func TestOtherContentTypesAreRefused(t *testing.T) {
	w := newWorld(t)
	for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""} {
		w.post("/api/keys/generate", `{"name":"k"}`, header("Content-Type", contentType)).problem(http.StatusUnsupportedMediaType)
	}
}

func TestUnknownFieldsAreNamed(t *testing.T) {
	w := newWorld(t)
	everything(w)
	for body, field := range map[string]string{
		`{"dataset_id":"ds_ready","modle_id":"x"}`:                          "modle_id",
		`{"dataset_id":"ds_ready","config":{"learning_rat":1}}`:             "config.learning_rat",
		`{"dataset_id":"ds_ready","config":{"learning_rate":"fast"}}`:       "config.learning_rate",
		`{"dataset_id":"ds_ready","config":{"lora":{"rank":4}}}`:            "config.lora.rank",
		`{"dataset_id":"ds_ready","config":{"learning_rate_scale":0.5}}`:    "config.learning_rate_scale",
		`{"dataset_id":"ds_ready","config":{"batch_size":1e300}}`:           "config.batch_size",
		`{"dataset_id":"ds_ready","queue":"control"}`:                       "queue",
		`{"dataset_id":"ds_ready","name":"a\u0007b"}`:                       "name",
		`{"model_id":"` + baseModel + `"}`:                                  "dataset_id",
		`{"dataset_id":"ds_ready","config":{"method":"magic"}}`:             "config.method",
		`{"dataset_id":"ds_ready","config":{"lora":{"target_modules":[]}}}`: "config.lora.target_modules",
	} {
		p := w.post("/api/training/start", body).problem(http.StatusBadRequest)
		require.Equal(t, field, p.Field, "%s: %s", body, p.Detail)
		require.NotEmpty(t, p.Remedy)
	}
	p := w.post("/api/training/start", `{"dataset_id":"ds_ready","config":{"learning_rat":1}}`).problem(http.StatusBadRequest)
	require.Contains(t, p.Remedy, "learning_rate", "the fields that there are stand in the remedy")
}
