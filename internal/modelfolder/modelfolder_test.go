package modelfolder_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/modelfolder"
)

// disk is where an intake puts its files.
type disk map[string][]byte

func (d disk) put(_ context.Context, name string, content io.Reader, limit int64) (contract.Object, error) {
	data, err := io.ReadAll(io.LimitReader(content, limit+1))
	if err != nil {
		return contract.Object{}, err
	}
	if int64(len(data)) > limit {
		return contract.Object{}, contract.Errorf(contract.CodeTooLarge, "too large")
	}
	id, sum := fmt.Sprintf("%s#%d", name, len(d)), sha256.Sum256(data)
	d[id] = data
	return contract.Object{ID: id, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}, nil
}

func weights(tensors map[string][]int64) []byte {
	header, at := map[string]any{}, int64(0)
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		n := int64(2)
		for _, d := range tensors[name] {
			n *= d
		}
		header[name] = map[string]any{"dtype": "BF16", "shape": tensors[name], "data_offsets": []int64{at, at + n}}
		at += n
	}
	text, _ := json.Marshal(header)
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	return append(append(file, text...), make([]byte, at)...)
}

const (
	llama     = `{"model_type":"llama","hidden_size":4,"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":8,"vocab_size":6,"max_position_embeddings":64}`
	tokenizer = `{"version":"1.0","model":{"type":"BPE"}}`
)

var tensors = map[string][]int64{"model.embed_tokens.weight": {6, 4}, "model.norm.weight": {4}, "lm_head.weight": {6, 4}}

// good is a model's folder.
func good() map[string][]byte {
	return map[string][]byte{"config.json": []byte(llama), "tokenizer.json": []byte(tokenizer), "model.safetensors": weights(tensors),
		"tokenizer_config.json": []byte(`{"chat_template":"x"}`), "README.md": []byte("# hi"), ".gitattributes": []byte("x")}
}

// changed is a good folder with some files put, or taken away (nil).
func changed(files map[string][]byte) map[string][]byte {
	all := good()
	for name, content := range files {
		if all[name] = content; content == nil {
			delete(all, name)
		}
	}
	return all
}

type world struct {
	modelfolder.Intake
	disk disk
}

func newWorld() *world {
	d := disk{}
	return &world{modelfolder.Intake{Put: d.put, Limit: 1 << 20}, d}
}

func (w *world) folder(t *testing.T, files map[string][]byte) (modelfolder.Model, error) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.Add(t.Context(), name, bytes.NewReader(files[name])); err != nil {
			return modelfolder.Model{}, err
		}
	}
	return w.Finish()
}

func TestAFolderBecomesAModel(t *testing.T) {
	t.Parallel()
	w := newWorld()
	m, err := w.folder(t, good())
	require.NoError(t, err)
	require.EqualValues(t, 52, m.Parameters)
	require.EqualValues(t, 104, m.Size)
	require.Equal(t, 64, m.Context)
	require.True(t, m.Chat)
	require.True(t, m.Dims.Known())
	require.False(t, m.Dims.Tied, "there is a head")
	require.Equal(t, 2, m.Dims.KVHeads)
	require.Equal(t, 2, m.Dims.HeadDim)
	var names []string
	for _, f := range m.Files {
		names = append(names, f.Path)
		require.Equal(t, good()[f.Path], w.disk[f.ObjectID])
	}
	require.Equal(t, []string{"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}, names)
	require.Empty(t, m.Unused)
}

// sharded is a model in two files of weights.
func sharded() map[string][]byte {
	return changed(map[string][]byte{"model.safetensors": nil,
		"model-00001-of-00002.safetensors": weights(map[string][]int64{"model.embed_tokens.weight": {6, 4}}),
		"model-00002-of-00002.safetensors": weights(map[string][]int64{"model.norm.weight": {4}}),
		"model.safetensors.index.json":     []byte(`{"weight_map":{"model.embed_tokens.weight":"model-00001-of-00002.safetensors","model.norm.weight":"model-00002-of-00002.safetensors"}}`)})
}

func TestShardsAreHeldAgainstTheirIndex(t *testing.T) {
	t.Parallel()
	m, err := newWorld().folder(t, sharded())
	require.NoError(t, err)
	require.True(t, m.Dims.Tied, "there is no head")
	for name, c := range map[string]struct {
		index []byte
		says  string
	}{
		"none":                {nil, "neither"},
		"not JSON":            {[]byte(`{`), "not valid JSON"},
		"without a map":       {[]byte(`{}`), "no weight_map"},
		"a file not there":    {[]byte(`{"weight_map":{"model.norm.weight":"model-00003-of-00003.safetensors"}}`), "not in the upload"},
		"a path":              {[]byte(`{"weight_map":{"model.norm.weight":"../model.safetensors"}}`), "not in the upload"},
		"a tensor not there":  {[]byte(`{"weight_map":{"x":"model-00001-of-00002.safetensors"}}`), "where it is not"},
		"a tensor left out":   {[]byte(`{"weight_map":{"model.norm.weight":"model-00002-of-00002.safetensors"}}`), "does not name"},
		"of nothing sensible": {[]byte(`{"weight_map":[1]}`), "no weight_map"},
	} {
		files := sharded()
		if files["model.safetensors.index.json"] = c.index; c.index == nil {
			delete(files, "model.safetensors.index.json")
		}
		_, err := newWorld().folder(t, files)
		require.ErrorContains(t, err, c.says, name)
	}
}

func TestWhatIsNoModelIsRefusedWithTheRemedy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string][]byte
		says  string
	}{
		"nothing":                  {map[string][]byte{}, "no files"},
		"no config":                {changed(map[string][]byte{"config.json": nil}), "no config.json"},
		"no tokenizer":             {changed(map[string][]byte{"tokenizer.json": nil}), "no tokenizer.json"},
		"no weights":               {changed(map[string][]byte{"model.safetensors": nil}), "no safetensors"},
		"an adapter":               {map[string][]byte{"adapter_config.json": []byte("{}"), "adapter_model.safetensors": weights(tensors)}, "adapter"},
		"GGUF":                     {map[string][]byte{"model.gguf": {1}}, "GGUF"},
		"a pickle":                 {changed(map[string][]byte{"pytorch_model.bin": {1}}), "can run code"},
		"a pickle in a folder":     {changed(map[string][]byte{"original/consolidated.00.pth": {1}}), "can run code"},
		"code":                     {changed(map[string][]byte{"modeling_x.py": []byte("import os")}), "never run"},
		"auto_map":                 {changed(map[string][]byte{"config.json": []byte(`{"model_type":"x","auto_map":{"AutoModel":"m.X"}}`)}), "auto_map"},
		"auto_map of the tokens":   {changed(map[string][]byte{"tokenizer_config.json": []byte(`{"auto_map":{"AutoTokenizer":["t.X",null]}}`)}), "auto_map"},
		"a config that is none":    {changed(map[string][]byte{"config.json": []byte(`[]`)}), "config.json"},
		"a config of nothing":      {changed(map[string][]byte{"config.json": []byte(`{}`)}), "model_type"},
		"a config that is not":     {changed(map[string][]byte{"config.json": []byte(`{"model_type":`)}), "not valid JSON"},
		"a tokenizer that is none": {changed(map[string][]byte{"tokenizer.json": []byte(`{}`)}), "not a tokenizer"},
		"weights of another model": {changed(map[string][]byte{"model.safetensors": weights(map[string][]int64{"model.embed_tokens.weight": {9, 4}})}), "9 × 4"},
		"weights that are none":    {changed(map[string][]byte{"model.safetensors": []byte("\x80\x02pickle, renamed")}), "not a safetensors file"},
		"weights cut off":          {changed(map[string][]byte{"model.safetensors": weights(tensors)[:300]}), "its header speaks of"},
		"weights and more":         {changed(map[string][]byte{"model.safetensors": append(weights(tensors), 0)}), "its header speaks of"},
		"weights by another name":  {changed(map[string][]byte{"model.safetensors": nil, "x.safetensors": weights(tensors)}), "neither"},
		"a strange name":           {changed(map[string][]byte{"a b.json": []byte("{}")}), "file name"},
		"two models":               {map[string][]byte{"a/config.json": []byte(llama), "b/config.json": []byte(llama)}, "more than one model"},
		"above the folder":         {changed(map[string][]byte{"../config.json": []byte(llama)}), "leads out"},
		"at the root":              {changed(map[string][]byte{"/etc/passwd": {1}}), "leads out"},
		"with backslashes":         {changed(map[string][]byte{`..\config.json`: []byte(llama)}), "leads out"},
		"too large":                {changed(map[string][]byte{"model.safetensors": weights(map[string][]int64{"model.norm.weight": {1 << 20}})}), "larger than"},
	} {
		w := newWorld()
		_, err := w.folder(t, c.files)
		require.ErrorContains(t, err, c.says, name)
		var typed *contract.Error
		require.ErrorAs(t, err, &typed, name)
		require.Contains(t, []contract.Code{contract.CodeInvalid, contract.CodeTooLarge}, typed.Code, name)
		require.NotEmpty(t, typed.Remedy, name)
		require.ElementsMatch(t, slices.Collect(maps.Keys(w.disk)), w.Objects(), "%s: the caller knows of all that is stored", name)
	}
}

type entry struct {
	name string
	body []byte
	kind byte // of tar; 0: a file
}

// inside is a good folder as an archive's entries, below a folder.
func inside(more ...entry) []entry {
	var all []entry
	for _, name := range slices.Sorted(maps.Keys(good())) {
		all = append(all, entry{name: "mine/" + name, body: good()[name]})
	}
	return append(all, more...)
}

func tarred(t testing.TB, entries []entry) []byte {
	t.Helper()
	var file bytes.Buffer
	w := tar.NewWriter(&file)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(e.body))}
		if e.kind != 0 {
			h.Typeflag, h.Size, h.Linkname = e.kind, 0, "/etc/passwd"
		}
		require.NoError(t, w.WriteHeader(h))
		if e.kind == 0 {
			_, err := w.Write(e.body)
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return file.Bytes()
}

func gzipped(t testing.TB, content []byte) []byte {
	t.Helper()
	var file bytes.Buffer
	w := gzip.NewWriter(&file)
	_, err := w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return file.Bytes()
}

func zipped(t testing.TB, entries []entry) []byte {
	t.Helper()
	var file bytes.Buffer
	w := zip.NewWriter(&file)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		if e.kind == tar.TypeSymlink {
			h.SetMode(fs.ModeSymlink | 0o777)
		}
		part, err := w.CreateHeader(h)
		require.NoError(t, err)
		_, err = part.Write(e.body)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return file.Bytes()
}

func (w *world) archive(ctx context.Context, kind modelfolder.Kind, content []byte) (modelfolder.Model, error) {
	var err error
	if kind == modelfolder.Zip {
		err = w.AddZip(ctx, bytes.NewReader(content), int64(len(content)))
	} else {
		err = w.AddTar(ctx, kind, bytes.NewReader(content))
	}
	if err != nil {
		return modelfolder.Model{}, err
	}
	return w.Finish()
}

// packed is entries in each kind of archive.
func packed(t testing.TB, entries []entry) map[modelfolder.Kind][]byte {
	t.Helper()
	return map[modelfolder.Kind][]byte{modelfolder.Zip: zipped(t, entries), modelfolder.Tar: tarred(t, entries), modelfolder.TarGz: gzipped(t, tarred(t, entries))}
}

func TestAnArchiveBecomesTheSameModel(t *testing.T) {
	t.Parallel()
	for kind, content := range packed(t, inside(entry{name: "mine/onnx/config.json", body: []byte(llama)}, entry{name: "__MACOSX/._config.json", body: []byte{1}})) {
		m, err := newWorld().archive(t.Context(), kind, content)
		require.NoError(t, err, kind)
		require.Len(t, m.Files, 4, kind)
		require.Len(t, m.Unused, 1, "%s: the folder that is not the model's", kind)
	}
}

// TestAnArchiveOfTheFolderItself is what `tar -C folder -czf x.tgz .` makes.
func TestAnArchiveOfTheFolderItself(t *testing.T) {
	t.Parallel()
	var entries []entry
	for name, body := range good() {
		entries = append(entries, entry{name: "./" + name, body: body})
	}
	m, err := newWorld().archive(t.Context(), modelfolder.TarGz, gzipped(t, tarred(t, entries)))
	require.NoError(t, err)
	require.Len(t, m.Files, 4)
}

func TestArchivesThatMeanHarmAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		entries []entry
		says    string
	}{
		"a path above":    {inside(entry{name: "../../x.json", body: []byte("{}")}), "leads out"},
		"a path at root":  {inside(entry{name: "/x.json", body: []byte("{}")}), "leads out"},
		"a path between":  {inside(entry{name: "mine/../../x.json", body: []byte("{}")}), "leads out"},
		"a symbolic link": {inside(entry{name: "mine/x.json", kind: tar.TypeSymlink, body: []byte("/etc/passwd")}), "not a file"},
		"a file twice":    {inside(entry{name: "mine/config.json", body: []byte(llama)}), "two files"},
		"a pickle":        {inside(entry{name: "mine/x.pkl", body: []byte{1}}), "can run code"},
		"no model":        {[]entry{{name: "a.json", body: []byte("{}")}}, "no config.json"},
		"nothing":         {nil, "no files"},
	} {
		for kind, content := range packed(t, c.entries) {
			w := newWorld()
			_, err := w.archive(t.Context(), kind, content)
			require.ErrorContains(t, err, c.says, "%s in a %s", name, kind)
			require.Equal(t, contract.CodeInvalid, contract.CodeOf(err), name)
		}
	}
	for name, kind := range map[string]byte{"a hard link": tar.TypeLink, "a device": tar.TypeBlock, "a terminal": tar.TypeChar, "a pipe": tar.TypeFifo} {
		_, err := newWorld().archive(t.Context(), modelfolder.Tar, tarred(t, inside(entry{name: "mine/x.json", kind: kind})))
		require.ErrorContains(t, err, "not a file", name)
	}
}

func TestArchivesThatAreDamagedAreRefused(t *testing.T) {
	t.Parallel()
	for kind, content := range packed(t, inside()) {
		for _, cut := range []int{0, 1, 10, len(content) / 2, len(content) * 3 / 4} {
			_, err := newWorld().archive(t.Context(), kind, content[:cut])
			require.Equal(t, contract.CodeInvalid, contract.CodeOf(err), "%s cut at %d: %v", kind, cut, err)
		}
		_, err := newWorld().archive(t.Context(), kind, []byte(strings.Repeat("no archive at all ", 100)))
		require.Equal(t, contract.CodeInvalid, contract.CodeOf(err), kind)
	}
}

// TestBombsAreRefused: a small archive does not fill a disk.
func TestBombsAreRefused(t *testing.T) {
	t.Parallel()
	for kind, content := range packed(t, []entry{{name: "model.safetensors", body: weights(map[string][]int64{"a": {50 << 20}})}}) {
		d := disk{}
		w := world{modelfolder.Intake{Put: d.put, Limit: 1 << 40}, d}
		_, err := w.archive(t.Context(), kind, content)
		if kind == modelfolder.Tar { // packed as large as it is
			require.ErrorContains(t, err, "config.json")
			continue
		}
		require.Less(t, len(content), 1<<20)
		require.ErrorContains(t, err, "times its size", kind)
		require.Empty(t, d, "the file was not stored")
	}
}

// TestBombsInPartsAreRefused: no entry of the archive is large.
func TestBombsInPartsAreRefused(t *testing.T) {
	t.Parallel()
	part := weights(map[string][]int64{"a": {20 << 20}})
	for kind, content := range packed(t, []entry{{name: "a.safetensors", body: part}, {name: "b.safetensors", body: part}}) {
		d := disk{}
		w := world{modelfolder.Intake{Put: d.put, Limit: 1 << 40}, d}
		_, err := w.archive(t.Context(), kind, content)
		if kind == modelfolder.Tar {
			require.ErrorContains(t, err, "config.json")
			continue
		}
		require.ErrorContains(t, err, "times its size", kind)
	}
}

// FuzzArchive: whatever the bytes, an archive is a model of whole files or an error of the caller's.
func FuzzArchive(f *testing.F) {
	kinds := []modelfolder.Kind{modelfolder.Zip, modelfolder.Tar, modelfolder.TarGz}
	for kind, content := range packed(f, inside()) {
		f.Add(byte(slices.Index(kinds, kind)), content)
	}
	f.Fuzz(func(t *testing.T, kind byte, content []byte) {
		w := newWorld()
		m, err := w.archive(t.Context(), kinds[int(kind)%len(kinds)], content)
		if err != nil {
			require.NotEqual(t, contract.CodeInternal, contract.CodeOf(err), "%v", err)
			return
		}
		for _, file := range m.Files {
			require.NotContains(t, file.Path, "/")
			require.EqualValues(t, file.Size, len(w.disk[file.ObjectID]))
		}
	})
}

// TestMemoryDoesNotGrowWithAnUpload: each text is small enough, and so is the archive, which repetition shrinks.
func TestMemoryDoesNotGrowWithAnUpload(t *testing.T) {
	t.Parallel()
	padded := append(bytes.Repeat([]byte(" "), 15<<20), llama...)
	nowhere := func(_ context.Context, name string, content io.Reader, _ int64) (contract.Object, error) {
		n, err := io.Copy(io.Discard, content)
		return contract.Object{ID: name, Size: n}, err
	}
	w := modelfolder.Intake{Put: nowhere, Limit: 1 << 40}
	var err error
	folders := 0
	for ; err == nil && folders < 100; folders++ {
		err = w.Add(t.Context(), fmt.Sprintf("%d/config.json", folders), bytes.NewReader(padded))
	}
	require.Equal(t, contract.CodeTooLarge, contract.CodeOf(err))
	require.Less(t, folders, 10)

	w = modelfolder.Intake{Put: nowhere, Limit: 1 << 40}
	for i := range 20 {
		require.NoError(t, w.Add(t.Context(), fmt.Sprintf("vocabulary-%d.json", i), bytes.NewReader(padded)), "what is not looked at again is not kept")
	}
}
