package api_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api"
	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/sample"
)

// field is one part of a form; one with a file name is a file.
type field struct{ name, fileName, content string }

func form(t testing.TB, fields ...field) (body *bytes.Buffer, contentType string) {
	t.Helper()
	body = &bytes.Buffer{}
	writer := multipart.NewWriter(body)
	for _, f := range fields {
		var part io.Writer
		var err error
		if f.fileName == "" {
			part, err = writer.CreateFormField(f.name)
		} else {
			part, err = writer.CreateFormFile(f.name, f.fileName)
		}
		require.NoError(t, err)
		_, err = io.WriteString(part, f.content)
		require.NoError(t, err)
	}
	require.NoError(t, writer.Close())
	return body, writer.FormDataContentType()
}

func (w *world) upload(fields ...field) answer {
	w.t.Helper()
	body, contentType := form(w.t, fields...)
	return w.post("/api/datasets/upload", body, header("Content-Type", contentType))
}

// nothing asserts that no dataset, no object and no file is there.
func (w *world) nothing() {
	w.t.Helper()
	require.Empty(w.t, into[apigen.DatasetPage](w.get("/api/datasets"), http.StatusOK).Items)
	require.Empty(w.t, w.files())
	entries, err := w.store.PendingOutbox(w.t.Context(), 10)
	require.NoError(w.t, err)
	require.Empty(w.t, entries)
}

func TestUploadStoresTheFileAndStartsItsIngest(t *testing.T) {
	w := newWorld(t)
	d := into[apigen.Dataset](w.upload(field{"name", "", "Questions"}, field{"file", "q.jsonl", "{}\n{}\n"}), http.StatusCreated)
	require.Equal(t, "Questions", d.Name)
	require.Equal(t, "q.jsonl", d.FileName)
	require.Equal(t, apigen.Status("queued"), d.Status)
	require.EqualValues(t, 6, d.Size)

	row, err := w.store.GetDataset(t.Context(), d.ID)
	require.NoError(t, err)
	content, err := w.artifacts.Open(t.Context(), row.ObjectID, 0)
	require.NoError(t, err)
	data, err := io.ReadAll(content)
	require.NoError(t, err)
	require.NoError(t, content.Close())
	require.Equal(t, "{}\n{}\n", string(data))
	entries, err := w.store.PendingOutbox(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, contract.WorkflowIngest, entries[0].Start.Workflow)
	require.Equal(t, "dataset/"+d.ID, entries[0].Start.ID)
}

func TestUploadStreams(t *testing.T) {
	w := newWorld(t)
	const size = 64 << 20
	source := rand.NewChaCha8([32]byte{1})
	sum := sha256.New()
	before := heap()
	peak := before
	progress := &spy{Reader: io.TeeReader(io.LimitReader(source, size), sum), every: 8 << 20, tell: func() { peak = max(peak, heap()) }}
	d, err := w.client().UploadDatasetFrom(t.Context(), progress, "big.jsonl", apiclient.Upload{})
	require.NoError(t, err)
	require.EqualValues(t, size, d.Size)
	row, err := w.store.GetDataset(t.Context(), d.ID)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%x", sum.Sum(nil)), row.SHA256)
	require.Less(t, peak-before, uint64(24<<20), "the heap grew with the file")
}

func TestUploadTakesProcessingOptions(t *testing.T) {
	w := newWorld(t)
	file := field{"file", "q.csv", "Q,A\n1,2\n"}
	d := into[apigen.Dataset](w.upload(field{"options", "", `{"mapping":{"prompt":"Q","completion":"A"},"eval_rows":3}`}, file), http.StatusCreated)
	want := contract.ProcessOptions{Mapping: map[string]string{"prompt": "Q", "completion": "A"}, EvalRows: 3, Deduplicate: true, Seed: 42}
	require.Equal(t, want, d.Options)
	require.Equal(t, want, *w.ingests()[0].Options, "the first reading has them")
	require.Equal(t, contract.DefaultProcessOptions(), into[apigen.Dataset](w.upload(file), http.StatusCreated).Options)
}

// ingests are the inputs of the Ingest workflows that wait to be started.
func (w *world) ingests() (inputs []contract.IngestInput) {
	w.t.Helper()
	entries, err := w.store.PendingOutbox(w.t.Context(), 100)
	require.NoError(w.t, err)
	for _, e := range entries {
		var input contract.IngestInput
		require.NoError(w.t, json.Unmarshal(e.Start.Input, &input))
		inputs = append(inputs, input)
	}
	return inputs
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// spy calls tell every so many bytes.
type spy struct {
	io.Reader
	every, n int64
	tell     func()
}

func (s *spy) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if s.n/s.every != (s.n+int64(n))/s.every {
		s.tell()
	}
	s.n += int64(n)
	return n, err
}

func TestUploadCutOffLeavesNothing(t *testing.T) {
	body, contentType := form(t, field{"file", "q.jsonl", strings.Repeat("{}\n", 1<<20)})
	whole := body.Bytes()
	for name, cut := range map[string]int{"in the file": len(whole) / 2, "before the form's end": len(whole) - 4, "in the headers of the part": 60} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var dialer net.Dialer
			conn, err := dialer.DialContext(t.Context(), "tcp", w.address)
			require.NoError(t, err)
			_, err = fmt.Fprintf(conn, "POST /api/datasets/upload HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n",
				w.address, ownerToken, contentType, len(whole))
			require.NoError(t, err)
			_, err = conn.Write(whole[:cut])
			require.NoError(t, err)
			require.NoError(t, conn.Close())
			w.stop() // waits for the handler
			w.start()
			w.nothing()
		})
	}
}

func TestUploadOverTheLimitIsRefused(t *testing.T) {
	const limit = 1 << 20
	small := func(o *api.Options) { o.MaxUploadBytes = limit }
	for name, size := range map[string]int{"by a byte": limit + 1, "by far": 8 << 20} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, small)
			p := w.upload(field{"file", "q.jsonl", strings.Repeat("x", size)}).problem(http.StatusRequestEntityTooLarge)
			require.Equal(t, "too_large", p.Code)
			require.Equal(t, "file", p.Field)
			require.NotEmpty(t, p.Remedy)
			w.nothing()
		})
	}
	t.Run("a client in mid-stream learns why", func(t *testing.T) {
		w := newWorld(t, small)
		_, err := w.client().UploadDatasetFrom(t.Context(), io.LimitReader(rand.NewChaCha8([32]byte{}), 32<<20), "q.jsonl", apiclient.Upload{})
		require.Equal(t, contract.CodeTooLarge, contract.CodeOf(err), "%v", err)
		w.nothing()
	})
	t.Run("exactly the limit is not over it", func(t *testing.T) {
		w := newWorld(t, small)
		require.Equal(t, http.StatusCreated, w.upload(field{"file", "q.jsonl", strings.Repeat("x", limit)}).status)
	})
}

func TestUploadRefusesBadForms(t *testing.T) {
	w := newWorld(t)
	file := field{"file", "q.jsonl", "{}\n"}
	for name, c := range map[string]struct {
		fields []field
		status int
		field  string
	}{
		"an empty file":             {[]field{{"file", "q.jsonl", ""}}, http.StatusBadRequest, "file"},
		"no file":                   {[]field{{"name", "", "x"}}, http.StatusBadRequest, "file"},
		"a file that is a text":     {[]field{{"file", "", "{}"}}, http.StatusBadRequest, "file"},
		"a project that is not":     {[]field{{"project_id", "", "proj_none"}, file}, http.StatusNotFound, "project_id"},
		"a project with NUL":        {[]field{{"project_id", "", "a\x00b"}, file}, http.StatusBadRequest, "project_id"},
		"a field that is not":       {[]field{{"nmae", "", "x"}, file}, http.StatusBadRequest, "nmae"},
		"a field after the file":    {[]field{file, {"name", "", "x"}}, http.StatusBadRequest, "file"},
		"a name that is not UTF-8":  {[]field{{"name", "", "\xff\xfe"}, file}, http.StatusBadRequest, "name"},
		"a name with NUL":           {[]field{{"name", "", "a\x00b"}, file}, http.StatusBadRequest, "name"},
		"a name with an escape":     {[]field{{"name", "", "\x1b[2J"}, file}, http.StatusBadRequest, "name"},
		"a name that is too long":   {[]field{{"name", "", strings.Repeat("n", 201)}, file}, http.StatusBadRequest, "name"},
		"a field that is huge":      {[]field{{"name", "", strings.Repeat("n", 1<<20)}, file}, http.StatusBadRequest, "name"},
		"a file name too long":      {[]field{{"file", strings.Repeat("n", 10_000), "{}"}}, http.StatusBadRequest, "file"},
		"a file name not UTF-8":     {[]field{{"file", "\xff.jsonl", "{}"}}, http.StatusBadRequest, "file"},
		"a file name with NUL":      {[]field{{"file", "a\x00.jsonl", "{}"}}, http.StatusBadRequest, "file"},
		"options that are no JSON":  {[]field{{"options", "", "{"}, file}, http.StatusBadRequest, "options"},
		"options that are a list":   {[]field{{"options", "", "[]"}, file}, http.StatusBadRequest, "options"},
		"an option that is not":     {[]field{{"options", "", `{"eval_row":3}`}, file}, http.StatusBadRequest, "options.eval_row"},
		"a role that is not":        {[]field{{"options", "", `{"mapping":{"answer":"A"}}`}, file}, http.StatusBadRequest, "options.mapping.answer"},
		"a number out of range":     {[]field{{"options", "", `{"eval_rows":1e30}`}, file}, http.StatusBadRequest, "options.eval_rows"},
		"options that cannot be":    {[]field{{"options", "", `{"eval_rows":3,"no_eval":true}`}, file}, http.StatusBadRequest, "options.eval_rows"},
		"an empty name's own field": {[]field{{"", "", "x"}, file}, http.StatusBadRequest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			p := w.upload(c.fields...).problem(c.status)
			require.Equal(t, c.field, p.Field)
			w.nothing()
		})
	}
}

func TestUploadRefusesOtherContentTypes(t *testing.T) {
	w := newWorld(t)
	for _, contentType := range []string{"application/json", "text/csv", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=x", ""} {
		a := w.post("/api/datasets/upload", "{}\n", header("Content-Type", contentType))
		require.Contains(t, []int{http.StatusBadRequest, http.StatusUnsupportedMediaType}, a.status, contentType)
		require.Equal(t, "file", a.problem(a.status).Field)
	}
	w.nothing()
}

func TestUploadTakesOnlyTheLastPartOfAPath(t *testing.T) {
	w := newWorld(t)
	for given, want := range map[string]string{
		"../../../etc/passwd":        "passwd",
		`..\..\windows\system.jsonl`: "system.jsonl",
		"/tmp/data.csv":              "data.csv",
		"Fragen und Antworten ü.csv": "Fragen und Antworten ü.csv",
	} {
		d := into[apigen.Dataset](w.upload(field{"file", given, "{}\n"}), http.StatusCreated)
		require.Equal(t, want, d.FileName)
	}
}

func TestTheSampleIsTakenAsIfItHadBeenUploaded(t *testing.T) {
	w := newWorld(t)
	d := into[apigen.Dataset](w.post("/api/datasets/sample", nil), http.StatusCreated)
	require.Equal(t, sample.Name, d.Name)
	require.Equal(t, int64(len(sample.Support())), d.Size)
	stored, err := w.store.GetDataset(t.Context(), d.ID)
	require.NoError(t, err)
	reader, err := w.artifacts.Open(t.Context(), stored.ObjectID, 0)
	require.NoError(t, err)
	content, err := io.ReadAll(reader)
	require.NoError(t, err)
	require.NoError(t, reader.Close())
	require.Equal(t, sample.Support(), content)
	require.Equal(t, http.StatusNotFound, w.post("/api/datasets/sample?project_id=prj_nowhere", nil).status)
}
