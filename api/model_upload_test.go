package api_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api"
	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/store"
)

// What an upload may hold is tested in internal/modelfolder; here is what becomes of it.

// tinyModel is a model's folder.
func tinyModel() map[string]string {
	header := `{"model.embed_tokens.weight":{"dtype":"F32","shape":[6,4],"data_offsets":[0,96]},"model.norm.weight":{"dtype":"F32","shape":[4],"data_offsets":[96,112]}}`
	weights := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
	return map[string]string{"tokenizer.json": `{"model":{"type":"BPE"}}`, "model.safetensors": string(append(weights, make([]byte, 112)...)),
		"config.json": `{"model_type":"llama","hidden_size":4,"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":8,"vocab_size":6}`}
}

func fieldsOf(files map[string]string, more ...field) []field {
	fields := slices.Clone(more)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fields = append(fields, field{"file", name, files[name]})
	}
	return fields
}

func (w *world) uploadModel(fields []field, changes ...with) answer {
	w.t.Helper()
	body, contentType := form(w.t, fields...)
	return w.call(http.MethodPost, "/api/models/upload", body, append(changes, header("Content-Type", contentType))...)
}

func zipOf(t *testing.T, files map[string]string) string {
	t.Helper()
	var archive bytes.Buffer
	writer := zip.NewWriter(&archive)
	for name, content := range files {
		part, err := writer.Create("tiny/" + name)
		require.NoError(t, err)
		_, err = io.WriteString(part, content)
		require.NoError(t, err)
	}
	require.NoError(t, writer.Close())
	return archive.String()
}

func TestAnUploadedModelIsAModelOfTheProject(t *testing.T) {
	x := newTenants(t)
	asAda := bearer(x.ada.AccessToken)
	for name, fields := range map[string][]field{
		"files":   fieldsOf(tinyModel(), field{"name", "", "mine"}, field{"project_id", "", store.DefaultProject}),
		"archive": {{"name", "", "mine"}, {"project_id", "", store.DefaultProject}, {"file", "tiny.zip", zipOf(t, tinyModel())}},
	} {
		before := len(x.files())
		a := x.uploadModel(fields, asAda)
		m := into[apigen.Model](a, http.StatusCreated)
		require.Equal(t, `"1"`, a.header.Get("ETag"))
		require.Equal(t, "mine", m.Name, name)
		require.EqualValues(t, "base", m.Kind)
		require.Equal(t, "upload", m.Source)
		require.EqualValues(t, 28, m.Parameters)
		require.EqualValues(t, 112, m.Size)
		require.EqualValues(t, 1, m.Requirements["layers"], "what the memory estimate needs")
		require.Len(t, m.Files, 3)
		require.Len(t, x.files(), before+3, "an archive does not stay")

		require.Contains(t, x.listed("/api/models"), m.ID)
		path := "/api/models/" + url.PathEscape(m.ID)
		x.get(path, bearer(x.bob.AccessToken)).problem(http.StatusNotFound)
		require.Contains(t, string(x.get("/api/audit?action=uploadModel").body), m.ID)

		require.Equal(t, http.StatusOK, x.post("/api/system/gc", nil).status)
		x.later(48 * time.Hour)
		into[apigen.Garbage](x.post("/api/system/gc", nil), http.StatusOK)
		require.Len(t, x.files(), before+3, "a model's files are no garbage")
		x.later(-48 * time.Hour)
		require.Equal(t, 3, into[apigen.Deletion](x.call(http.MethodDelete, path, nil, asAda), http.StatusOK).Files)
		require.Len(t, x.files(), before)
	}
	into[apigen.Problem](x.uploadModel(fieldsOf(tinyModel(), field{"project_id", "", store.DefaultProject}), bearer(x.bob.AccessToken)), http.StatusNotFound)
}

func TestARefusedModelLeavesNothing(t *testing.T) {
	w := newWorld(t, func(o *api.Options) { o.MaxUploadBytes = 4096 })
	w.models()
	stored := len(w.files())
	with := func(name, content string) []field {
		files := tinyModel()
		files[name] = content
		return fieldsOf(files)
	}
	for name, c := range map[string]struct {
		fields []field
		status int
	}{
		"no file":             {[]field{{"name", "", "x"}}, http.StatusBadRequest},
		"a pickle":            {with("pytorch_model.bin", "x"), http.StatusBadRequest},
		"code":                {with("zzz.py", "x"), http.StatusBadRequest},
		"a file twice":        {append(fieldsOf(tinyModel()), field{"file", "config.json", "{}"}), http.StatusBadRequest},
		"half a model":        {fieldsOf(map[string]string{"config.json": `{"model_type":"llama"}`}), http.StatusBadRequest},
		"a field behind":      {append(fieldsOf(tinyModel()), field{"name", "", "x"}), http.StatusBadRequest},
		"a field too many":    {fieldsOf(tinyModel(), field{"options", "", "{}"}), http.StatusBadRequest},
		"a bad name":          {fieldsOf(tinyModel(), field{"name", "", "a\x07"}), http.StatusBadRequest},
		"another project":     {fieldsOf(tinyModel(), field{"project_id", "", "proj_none"}), http.StatusNotFound},
		"an archive and more": {append([]field{{"file", "a.zip", zipOf(t, tinyModel())}}, fieldsOf(tinyModel())...), http.StatusBadRequest},
		"no archive":          {[]field{{"file", "a.zip", "not at all"}}, http.StatusBadRequest},
		"too large":           {with("zzz.json", `"`+strings.Repeat("x", 5000)+`"`), http.StatusRequestEntityTooLarge},
		"a text for a file":   {[]field{{"file", "", "x"}}, http.StatusBadRequest},
	} {
		p := w.uploadModel(c.fields).problem(c.status)
		require.NotEmpty(t, p.Remedy+p.Field, name)
		require.Len(t, w.files(), stored, name)
	}
	w.post("/api/models/upload", `{}`).problem(http.StatusUnsupportedMediaType)
	require.Equal(t, []string{tunedModel, baseModel}, w.listed("/api/models"))
}

// TestAProjectThatTakesNothingNewTakesNoModel: also if it was archived while the files came.
func TestAProjectThatTakesNothingNewTakesNoModel(t *testing.T) {
	w := newWorld(t)
	id := into[apigen.Project](w.post("/api/projects", `{"name":"p"}`), http.StatusCreated).ID
	into[apigen.Project](w.post("/api/projects/"+id+"/archive", nil), http.StatusOK)
	w.uploadModel(fieldsOf(tinyModel(), field{"project_id", "", id})).problem(http.StatusConflict)
	limited := store.WithAccess(t.Context(), store.Access{Everything: true})
	_, err := w.store.CreateModel(limited, store.Model{ID: "model_late", ProjectID: id, Name: "late", Source: "upload"})
	require.Equal(t, contract.CodeConflict, contract.CodeOf(err))
	require.Empty(t, w.files())
}

// TestAModelThatBreaksOffLeavesNothing: the client dies in the middle of the weights.
func TestAModelThatBreaksOffLeavesNothing(t *testing.T) {
	w := newWorld(t)
	stored := len(w.files())
	body, contentType := form(t, fieldsOf(tinyModel())...)
	whole, err := io.ReadAll(body)
	require.NoError(t, err)
	for _, cut := range []int{len(whole) / 3, len(whole) / 2, len(whole) - 3} {
		w.call(http.MethodPost, "/api/models/upload", bytes.NewReader(whole[:cut]), header("Content-Type", contentType)).problem(http.StatusBadRequest)
		require.Len(t, w.files(), stored)
	}
}

func TestAModelIsUploadedByTheClient(t *testing.T) {
	w := newWorld(t)
	paths := []string{}
	dir := t.TempDir()
	for name, content := range tinyModel() {
		paths = append(paths, filepath.Join(dir, name))
		require.NoError(t, os.WriteFile(paths[len(paths)-1], []byte(content), 0o600))
	}
	var last, total int64
	m, err := w.client().UploadModel(t.Context(), paths, apiclient.Upload{Name: "mine"}, func(sent, of int64) { last, total = sent, of })
	require.NoError(t, err)
	require.Equal(t, "mine", m.Name)
	require.Positive(t, total)
	require.Equal(t, total, last)
	_, err = w.client().UploadModel(t.Context(), []string{dir}, apiclient.Upload{}, nil)
	require.Equal(t, contract.CodeInvalid, contract.CodeOf(err))
	stored, err := w.store.GetModel(t.Context(), m.ID)
	require.NoError(t, err)
	require.Equal(t, "upload:"+m.ID, stored.Ref.Source)
}

func TestAModelUploadedTwiceWithOneKeyIsOne(t *testing.T) {
	w := newWorld(t)
	key := header("Idempotency-Key", "upload-1")
	fields := fieldsOf(tinyModel(), field{"name", "", "mine"})
	first := into[apigen.Model](w.uploadModel(fields, key), http.StatusCreated)
	before := len(w.files())
	again := w.uploadModel(fieldsOf(tinyModel(), field{"name", "", "mine"}), key)
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	require.Equal(t, first.ID, into[apigen.Model](again, http.StatusCreated).ID)
	require.Len(t, w.files(), before, "what came with the repetition is not kept")

	other := tinyModel()
	other["config.json"] += " "
	require.Equal(t, "Idempotency-Key", w.uploadModel(fieldsOf(other, field{"name", "", "mine"}), key).problem(http.StatusConflict).Field)
	require.Len(t, w.files(), before)
	require.NotEqual(t, first.ID, into[apigen.Model](w.uploadModel(fields), http.StatusCreated).ID)
}
