package modelfolder

import (
	"encoding/json"
	"maps"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/safetensors"
	"github.com/vibeflow/vibeflow/internal/store"
)

// Model is what an upload holds. Parameters and Size (bytes of the weights) are counted in the headers; Dims and Context
// (tokens) are what config.json says.
type Model struct {
	Files      []store.ModelFile
	Dims       catalog.Dims
	Context    int
	Parameters int64
	Size       int64
	Chat       bool
	// Unused are objects of the upload that are not the model's.
	Unused []string
}

const (
	configFile          = "config.json"
	tokenizerFile       = "tokenizer.json"
	tokenizerConfigFile = "tokenizer_config.json"
	indexFile           = "model.safetensors.index.json"
	singleFile          = "model.safetensors"
	uploadNamed         = "the upload"
)

// Finish finds the model in what was taken in, and checks that it is whole.
func (i *Intake) Finish() (Model, error) {
	f, err := i.root()
	if err != nil {
		return Model{}, err
	}
	if err := catalog.CheckNames(uploadNamed, f.names); err != nil {
		return Model{}, err.On("file")
	}
	if err := f.checkIndex(); err != nil {
		return Model{}, err
	}
	m, err := f.model()
	if err != nil {
		return Model{}, err
	}
	for _, object := range i.stored {
		if !slices.ContainsFunc(m.Files, func(kept store.ModelFile) bool { return kept.ObjectID == object }) {
			m.Unused = append(m.Unused, object)
		}
	}
	return m, nil
}

// root is the folder nearest to the top that has a config.json, else the one nearest to the top.
func (i *Intake) root() (*folder, error) {
	if len(i.folders) == 0 {
		return nil, refuse("the upload has no files").Mend("upload the model's folder, or an archive of it")
	}
	depth := func(dir string) int { return strings.Count(dir, "/") }
	nearest := func(dirs []string) (at []string) {
		least := math.MaxInt
		for _, dir := range dirs {
			if d := depth(dir); d < least {
				least, at = d, nil
			}
			if depth(dir) == least {
				at = append(at, dir)
			}
		}
		return at
	}
	var with []string
	for dir, f := range i.folders {
		if slices.Contains(f.names, configFile) {
			with = append(with, dir)
		}
	}
	if len(with) == 0 {
		return i.folders[slices.Min(nearest(slices.Collect(maps.Keys(i.folders))))], nil
	}
	roots := nearest(with)
	if len(roots) > 1 {
		slices.Sort(roots)
		return nil, refuse("the upload holds more than one model: %.300s", strings.Join(roots, ", ")).Mend("upload one folder")
	}
	return i.folders[roots[0]], nil
}

// checkIndex: with more than one file of weights, an index says which tensor is in which, and it says the truth.
func (f *folder) checkIndex() error {
	text, ok := f.text[indexFile]
	if !ok {
		if len(f.weights) == 1 && f.files[singleFile].object != "" {
			return nil
		}
		return refuse("there is neither %s nor %s", singleFile, indexFile).Mend("save the model with save_pretrained, which writes them")
	}
	var index struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil || len(index.Map) == 0 {
		return refuse("%s has no weight_map", indexFile).Mend("fetch the file again, whole")
	}
	for tensor, name := range index.Map {
		header, there := f.weights[name]
		if !there {
			return refuse("%s names the file %.200q, which is not in the upload", indexFile, name).Mend("upload all of the model's files")
		}
		if _, has := header.Tensors[tensor]; !has {
			return refuse("%s looks for the tensor %.100q in %s, where it is not", indexFile, tensor, name).Mend("fetch the files again, all of one version")
		}
	}
	for name, header := range f.weights {
		for tensor := range header.Tensors {
			if index.Map[tensor] != name {
				return refuse("%s does not name the tensor %.100q of %s", indexFile, tensor, name).Mend("fetch the files again, all of one version; leave other weights out")
			}
		}
	}
	return nil
}

// config is what planning needs of config.json, and what the weights are held against.
type config struct {
	ModelType string  `json:"model_type"`
	Hidden    int     `json:"hidden_size"`
	Layers    int     `json:"num_hidden_layers"`
	Heads     int     `json:"num_attention_heads"`
	KVHeads   int     `json:"num_key_value_heads"`
	HeadDim   int     `json:"head_dim"`
	FF        int     `json:"intermediate_size"`
	Vocab     int     `json:"vocab_size"`
	Context   int     `json:"max_position_embeddings"`
	Text      *config `json:"text_config"`
}

func (f *folder) model() (Model, error) {
	var c config
	if err := json.Unmarshal(f.text[configFile], &c); err != nil {
		return Model{}, refuse("%s is not what a model's configuration is: %w", configFile, err).Mend("fetch the file again, whole")
	}
	if c.ModelType == "" {
		return Model{}, refuse("%s does not say the model's architecture (model_type)", configFile).Mend("save the model with save_pretrained")
	}
	if c.Text != nil {
		c = *c.Text
	}
	var tokenizer struct {
		Model json.RawMessage `json:"model"`
	}
	if err := json.Unmarshal(f.text[tokenizerFile], &tokenizer); err != nil || len(tokenizer.Model) == 0 {
		return Model{}, refuse("tokenizer.json is not a tokenizer").Mend("save the model's fast tokenizer beside its weights (tokenizer.save_pretrained)")
	}
	m := Model{Context: max(0, c.Context), Chat: f.chat()}
	tensors := map[string]safetensors.Tensor{}
	for _, header := range f.weights {
		maps.Copy(tensors, header.Tensors)
	}
	for _, t := range tensors {
		if t.Float() {
			m.Parameters += t.Elements()
		}
		m.Size += t.Range[1] - t.Range[0]
	}
	if m.Parameters == 0 {
		return Model{}, refuse("the weights are not numbers with a point (F32, F16, BF16)").Mend("upload the model before it was quantized; VibeFlow quantizes by itself (qlora)")
	}
	m.Dims = c.dims(tensors)
	if err := c.check(tensors); err != nil {
		return Model{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(f.files)) {
		m.Files = append(m.Files, store.ModelFile{FileInfo: f.files[name].FileInfo, ObjectID: f.files[name].object})
	}
	return m, nil
}

// dims are zero, "not known", where the configuration is of a kind that has other names for them.
func (c config) dims(tensors map[string]safetensors.Tensor) catalog.Dims {
	if c.Hidden <= 0 || c.Layers <= 0 || c.Heads <= 0 || c.FF <= 0 || c.Vocab <= 0 {
		return catalog.Dims{}
	}
	d := catalog.Dims{Hidden: c.Hidden, Layers: c.Layers, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, FeedForward: c.FF, Vocab: c.Vocab}
	if d.KVHeads <= 0 {
		d.KVHeads = d.Heads
	}
	if d.HeadDim <= 0 {
		d.HeadDim = d.Hidden / d.Heads
	}
	_, head := tensors["lm_head.weight"]
	d.Tied = !head
	return d
}

// check holds the largest tensor of every model, its embedding, against config.json: weights of another model would only
// fail when they are loaded.
func (c config) check(tensors map[string]safetensors.Tensor) error {
	for name, t := range tensors {
		if path.Ext(strings.TrimSuffix(name, ".weight")) != ".embed_tokens" || len(t.Shape) != 2 {
			continue
		}
		if (c.Vocab > 0 && t.Shape[0] != int64(c.Vocab)) || (c.Hidden > 0 && t.Shape[1] != int64(c.Hidden)) {
			return refuse("%.100s is %d × %d, and %s says %d × %d", name, t.Shape[0], t.Shape[1], configFile, c.Vocab, c.Hidden).
				Mend("upload the configuration and the weights of one model")
		}
	}
	return nil
}

// chat tells whether the tokenizer knows how a conversation is written.
func (f *folder) chat() bool {
	var c struct {
		Template json.RawMessage `json:"chat_template"`
	}
	if _, ok := f.files["chat_template.jinja"]; ok {
		return true
	}
	return json.Unmarshal(f.text[tokenizerConfigFile], &c) == nil && len(c.Template) > 0 && string(c.Template) != "null"
}
