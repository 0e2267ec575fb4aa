// Package catalog lists the base models that VibeFlow knows, with the dimensions that the memory estimator needs, and
// parses the names by which others are reached: any Hugging Face Hub id, or a folder of safetensors.
//
// Dimensions are of the published config.json where Confidence is Read. A model that is fetched tells its own
// config.json; the table is for planning before that.
package catalog

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
)

// Confidence says how far an entry's dimensions can be trusted.
type Confidence string

// Confidences.
const (
	Read     Confidence = "read"     // read in a published source
	Recalled Confidence = "recalled" // from memory; checked against the parameter count
	Low      Confidence = "low"      // the architecture has parts that the formula does not cover, or nothing is known
)

// Dims are what memory and speed follow from. HeadDim is in elements, the others are counts.
type Dims struct {
	Hidden      int  `json:"hidden"`
	Layers      int  `json:"layers"`
	Heads       int  `json:"heads"`
	KVHeads     int  `json:"kv_heads"`
	HeadDim     int  `json:"head_dim"`
	FeedForward int  `json:"feed_forward"`
	Vocab       int  `json:"vocab"`
	Tied        bool `json:"tied"` // the head is the embedding
}

// Known tells whether there are dimensions at all.
func (d Dims) Known() bool { return d.Hidden > 0 && d.Layers > 0 && d.Vocab > 0 }

// Linear is the number of weights in the layers' linear modules: those that LoRA adapts and NF4 quantizes.
func (d Dims) Linear() int64 {
	h, attention := int64(d.Hidden), int64(d.HeadDim)
	perLayer := 2*h*int64(d.Heads)*attention + 2*h*int64(d.KVHeads)*attention + 3*h*int64(d.FeedForward)
	return int64(d.Layers) * perLayer
}

// Rest is the number of all other weights: embeddings, an untied head, norms.
func (d Dims) Rest() int64 {
	h := int64(d.Hidden)
	embeddings := int64(d.Vocab) * h
	if !d.Tied {
		embeddings *= 2
	}
	return embeddings + int64(2*d.Layers+1)*h
}

// Parameters is the size of the whole model in weights.
func (d Dims) Parameters() int64 { return d.Linear() + d.Rest() }

// Adapter is the number of weights of a LoRA of rank r on all linear modules.
func (d Dims) Adapter(r int) int64 {
	h, q, kv, ff := int64(d.Hidden), int64(d.Heads*d.HeadDim), int64(d.KVHeads*d.HeadDim), int64(d.FeedForward)
	return int64(r) * int64(d.Layers) * (2*(h+q) + 2*(h+kv) + 3*(h+ff))
}

// Entry is one base model.
type Entry struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	Source      string     `json:"source"` // contract.ModelRef.Source
	Description string     `json:"description"`
	Parameters  int64      `json:"parameters"` // as its maker states them
	Context     int        `json:"context"`    // tokens
	License     string     `json:"license"`
	Gated       bool       `json:"gated"` // needs an accepted licence and a token
	Template    string     `json:"template"`
	Dims        Dims       `json:"dims"`
	Confidence  Confidence `json:"confidence"`
	Note        string     `json:"note,omitempty"`
	// Chat is false for a model without a chat template of its own.
	Chat bool `json:"chat"`
}

// Ref names the model to a runner.
func (e Entry) Ref() contract.ModelRef { return contract.ModelRef{Source: e.Source} }

// Ids of the models that need no network.
const (
	Bundled = "smollm2-135m-instruct"
	Tiny    = "tiny-llama"
)

const (
	hub          = "hub:"
	folderScheme = "path:"
	uploadScheme = "upload:"
)

// Folder is where the model lies on the machines that train; ok is false for one that is none of a folder.
func (e Entry) Folder() (folder string, ok bool) { return strings.CutPrefix(e.Source, folderScheme) }

// Models returns the catalog, the ones that need no network and no licence first.
func Models() []Entry { return slices.Clone(entries) }

// Lookup finds a model by its id, or by the source that names it.
func Lookup(id string) (Entry, bool) {
	for _, e := range entries {
		if e.ID == id || e.Source == id {
			return e, true
		}
	}
	return Entry{}, false
}

var hubName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$`)

// Parse turns what a user writes into a model: an id of the catalog, "hub:owner/name" (or just "owner/name"), or
// "path:/absolute/folder". A model that the catalog does not have comes with Confidence Low and no dimensions.
// Errors: CodeInvalid with what can be written.
func Parse(name string) (Entry, error) {
	name = strings.TrimSpace(name)
	if e, ok := Lookup(name); ok {
		return e, nil
	}
	if folder, ok := strings.CutPrefix(name, folderScheme); ok {
		return parseFolder(folder)
	}
	id := strings.TrimPrefix(name, hub)
	if !hubName.MatchString(id) || strings.Contains(id, "..") {
		return Entry{}, contract.Errorf(contract.CodeInvalid, "there is no model %q", name).On("model_id").
			Mend("take an id of the catalog, hub:owner/name, or path:/folder/of/safetensors")
	}
	if e, ok := Lookup(hub + id); ok {
		return e, nil
	}
	return Entry{
		ID: hub + id, Name: id, Source: hub + id, Confidence: Low, Chat: true,
		Note: "not in the catalog: its size is known once it is fetched",
	}, nil
}

func parseFolder(folder string) (Entry, error) {
	if !strings.HasPrefix(folder, "/") || slices.Contains(strings.Split(folder, "/"), "..") {
		return Entry{}, contract.Errorf(contract.CodeInvalid, "%q is not an absolute folder", folder).On("model_id").
			Mend("write path:/ and the whole path, without \"..\"")
	}
	folder = path.Clean(folder)
	return Entry{
		ID: folderScheme + folder, Name: path.Base(folder), Source: folderScheme + folder,
		Confidence: Low, Chat: true, Note: "a folder on the worker: its size is known once it is read",
	}, nil
}
