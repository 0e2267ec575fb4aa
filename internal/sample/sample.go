// Package sample holds the data set that comes with VibeFlow: support questions and answers about the Pipwick Garden,
// an invented product. The demo fine-tunes on it, so that a first run needs no file and no network.
//
// support.jsonl has one row a line, in OpenAI's messages format, with the split it belongs to:
//
//	{"messages":[{"role":"user","content":"…"},{"role":"assistant","content":"…"}],"split":"train"}
//
// Rows with the split "test" are held out for evaluation: questions of their own, spread over all topics. Every answer
// keeps to FACTS.md and to one voice, which a small model can learn in some forty steps and a reader can see at once.
// A row fits in 128 tokens of the bundled model, its default system prompt included.
package sample

import _ "embed"

// Name is what the data set is called in lists, FileName its file.
const (
	Name     = "Pipwick support"
	FileName = "pipwick-support.jsonl"
)

// Rows is the number of rows in the set, HeldOut how many of them belong to the split "test".
const (
	Rows    = 436
	HeldOut = 100
)

// DemoQuestion is what the demo asks the base and the tuned model. The set answers it (FACTS.md, 24: the pump is blocked,
// rinse the sponge filter) but never asks it in these words. It is on a topic with many rows: after one pass the model has
// the voice everywhere, and the facts only where they were told often.
const DemoQuestion = "My Pipwick Garden shows E2 and the water has stopped moving. How do I fix it?"

//go:embed support.jsonl
var support string

// Support returns the data set as JSON lines in UTF-8. The slice is the caller's own.
func Support() []byte { return []byte(support) }
