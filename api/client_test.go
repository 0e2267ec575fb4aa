package api_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api"
	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

// The client against the real server; internal/apiclient tests it against servers that misbehave.

func bytesOf(n int) []byte {
	data := make([]byte, n)
	_, _ = io.ReadFull(rand.NewChaCha8([32]byte{3}), data)
	return data
}

func TestClientUploadsAFile(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "q.jsonl")
	content := bytesOf(3 << 20)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	var last, total int64
	d, err := w.client().UploadDataset(t.Context(), path, apiclient.Upload{Name: "mine"}, func(sent, of int64) { last, total = sent, of })
	require.NoError(t, err)
	require.Equal(t, "mine", d.Name)
	require.EqualValues(t, len(content), d.Size)
	require.EqualValues(t, len(content), last)
	require.EqualValues(t, len(content), total)
	_, err = w.client().UploadDataset(t.Context(), filepath.Join(t.TempDir(), "none"), apiclient.Upload{}, nil)
	require.Equal(t, contract.CodeNotFound, contract.CodeOf(err))
	_, err = w.client().UploadDataset(t.Context(), t.TempDir(), apiclient.Upload{}, nil)
	require.Equal(t, contract.CodeInvalid, contract.CodeOf(err))
}

func TestClientLearnsOfARefusalBeforeTheFileIsSent(t *testing.T) {
	w := newWorld(t, func(o *api.Options) { o.MaxUploadBytes = 1 << 20 })
	path := filepath.Join(t.TempDir(), "q.jsonl")
	require.NoError(t, os.WriteFile(path, make([]byte, 40<<20), 0o600))
	for name, c := range map[string]struct {
		client *apiclient.Client
		code   contract.Code
	}{
		"too large":   {w.client(), contract.CodeTooLarge},
		"wrong token": {&apiclient.Client{Base: w.url(""), Token: "wrong"}, contract.CodeUnauthenticated},
	} {
		var sent int64
		_, err := c.client.UploadDataset(t.Context(), path, apiclient.Upload{}, func(n, _ int64) { sent = n })
		require.Equal(t, c.code, contract.CodeOf(err), "%s: %v", name, err)
		require.Less(t, sent, int64(8<<20), name)
	}
	w.nothing()
}

func TestDownloadGoesOnWhereItBroke(t *testing.T) {
	w := newWorld(t)
	w.models()
	content := bytesOf(3<<20 + 17)
	file := w.export("exp_1", content)
	path := filepath.Join(t.TempDir(), "weights")
	query := url.Values{"file": {file.Path}}
	for name, part := range map[string][]byte{"nothing yet": nil, "a part": content[:1<<20], "all but the rename": content,
		"a part of something else": bytesOf(1<<20 + 1)[1:], "more than there is": append(bytes.Clone(content), 1, 2, 3)} {
		require.NoError(t, os.WriteFile(path+".part", part, 0o600))
		require.NoError(t, w.client().Download(t.Context(), "/api/exports/exp_1/download", query, path, file.Size, nil), name)
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, got), name)
		require.NoFileExists(t, path+".part")
	}
}

func TestDownloadsAnswerRanges(t *testing.T) {
	w := newWorld(t)
	w.models()
	content := bytesOf(100)
	file := w.export("exp_1", content)
	view := into[apigen.Export](w.get("/api/exports/exp_1"), http.StatusOK)
	require.Equal(t, []contract.FileInfo{file}, view.Files)
	path := "/api/exports/exp_1/download?file=" + url.QueryEscape(file.Path)
	sum := sha256.Sum256(content)
	for given, want := range map[string]struct {
		status int
		body   []byte
	}{
		"":                            {http.StatusOK, content},
		"bytes=10-":                   {http.StatusPartialContent, content[10:]},
		"bytes=10-19":                 {http.StatusPartialContent, content[10:20]},
		"bytes=99-500":                {http.StatusPartialContent, content[99:]},
		"bytes=-5":                    {http.StatusOK, content},
		"bytes=0-1,5-6":               {http.StatusOK, content},
		"bytes=9-3":                   {http.StatusOK, content},
		"lines=1-2":                   {http.StatusOK, content},
		"bytes=99999999999999999999-": {http.StatusOK, content},
	} {
		a := w.get(path, header("Range", given))
		require.Equal(t, want.status, a.status, given)
		require.True(t, bytes.Equal(want.body, a.body), given)
		require.Equal(t, `"`+hex.EncodeToString(sum[:])+`"`, a.header.Get("ETag"))
	}
	a := w.get(path, header("Range", "bytes=100-"))
	a.problem(http.StatusRequestedRangeNotSatisfiable)
	require.Equal(t, "bytes */100", a.header.Get("Content-Range"))
	require.Equal(t, http.StatusNotModified, w.get(path, header("If-None-Match", `"`+hex.EncodeToString(sum[:])+`"`)).status)
	for _, name := range []string{"../secrets/cli.token", "/etc/passwd", "adapter", "adapter/../adapter/weights.safetensors"} {
		w.get("/api/exports/exp_1/download?file=" + url.QueryEscape(name)).problem(http.StatusNotFound)
	}
	w.create(contract.KindExport, "exp_2", contract.ExportCreated{ModelID: tunedModel, Format: "adapter"})
	w.get("/api/exports/exp_2/download?file=x").problem(http.StatusConflict)
}

func TestClientMapsProblems(t *testing.T) {
	w := newWorld(t)
	_, err := apiclient.Get[apigen.Job](t.Context(), w.client(), "/api/training/none", nil)
	var typed *contract.Error
	require.ErrorAs(t, err, &typed)
	require.Equal(t, contract.CodeNotFound, typed.Code)
	require.Equal(t, "id", typed.Field)
	_, err = apiclient.Post[struct{}](t.Context(), w.client(), "/v1/chat/completions", map[string]string{"model": "none"})
	require.Equal(t, contract.CodeNotFound, contract.CodeOf(err))
	w.stop()
	_, err = apiclient.Get[apigen.Job](t.Context(), w.client(), "/api/training/none", nil)
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err))
}
