package catalog

import (
	"encoding/json"
	"math"
	"strings"

	"github.com/vibeflow/vibeflow/internal/store"
)

// Uploaded is a model that somebody has uploaded, as an entry: its own files say what the catalog says of others.
func Uploaded(id, name string, parameters int64, context int, dims Dims, chat bool) Entry {
	e := Entry{ID: id, Name: name, Source: uploadScheme + id, Parameters: parameters, Context: context, Chat: chat, Dims: dims, Confidence: Read}
	if chat {
		e.Template = "its own"
	}
	const tolerance = 0.05
	if dims.Known() && math.Abs(float64(dims.Parameters())/float64(parameters)-1) > tolerance {
		e.Confidence, e.Note = Low, "it has parts that the memory estimate does not cover"
	}
	if !dims.Known() {
		e.Confidence, e.Note = Low, "its architecture has other names for its dimensions: there is no memory estimate"
	}
	if !chat {
		e.Note = strings.TrimPrefix(e.Note+"; it has no chat template", "; ")
	}
	return e
}

// Of is the entry of a base model's row.
func Of(base *store.Model) (Entry, error) {
	if !strings.HasPrefix(base.Ref.Source, uploadScheme) {
		return Parse(base.Ref.Source)
	}
	var dims Dims
	var needs requirements
	_ = json.Unmarshal(base.Dims, &dims) // what Row wrote; absent, not known
	_ = json.Unmarshal(base.Requirements, &needs)
	return Entry{ID: base.ID, Name: base.Name, Source: base.Ref.Source, Parameters: base.Parameters, Context: base.ContextLength, License: base.License,
		Template: needs.Template, Chat: needs.Template != "", Dims: dims, Confidence: needs.Confidence, Note: needs.Note}, nil
}
