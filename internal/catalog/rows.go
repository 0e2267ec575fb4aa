package catalog

import (
	"encoding/json"

	"github.com/vibeflow/vibeflow/internal/store"
)

// Rows is the catalog as the database's table of models has it.
func Rows() []store.Model {
	rows := make([]store.Model, 0, len(entries))
	for _, e := range entries {
		rows = append(rows, Row(e))
	}
	return rows
}

// requirements is what a model asks of its user.
type requirements struct {
	Gated      bool       `json:"gated"`
	Template   string     `json:"template,omitempty"`
	Confidence Confidence `json:"confidence"`
	Note       string     `json:"note,omitempty"`
}

// NoteOf reads back from a row what is not known of a model yet, and whether its maker wants its licence accepted.
func NoteOf(m store.Model) (note string, gated bool) {
	var needs requirements
	_ = json.Unmarshal(m.Requirements, &needs) // a tuned model has none
	return needs.Note, needs.Gated
}

// Row is one entry as the database's table of models has it. Size is of its weights in 16 bits, in bytes.
func Row(e Entry) store.Model {
	needs, _ := json.Marshal(requirements{e.Gated, e.Template, e.Confidence, e.Note}) // cannot fail: plain fields
	row := store.Model{
		ID: e.ID, Name: e.Name, Source: e.Source, Ref: e.Ref(), Description: e.Description, License: e.License,
		TaskTypes: []string{"text-generation"}, Requirements: needs,
		ContextLength: e.Context, Parameters: e.Parameters, Size: 2 * e.Parameters,
	}
	if e.Dims.Known() {
		row.Dims, _ = json.Marshal(e.Dims)
	}
	return row
}
