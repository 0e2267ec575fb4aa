// Package dataset reads a file that somebody brought and turns it into rows that a model can be trained on. It knows
// files (JSON, JSON Lines, CSV, Parquet, plain text), formats (alpaca, sharegpt, messages, prompt/completion,
// preference pairs, text) and nothing else: no database, no network, no encryption. The activities of the Ingest
// workflow call it.
//
// The story, each step a streaming pass over the source whose memory does not grow with it:
//
//	file, err := dataset.Open(ctx, source)              // what kind of file, which format, which columns
//	profile, err := file.Inspect(ctx, options, …)       // validate every row, measure, cite what is wrong
//	stats, err := file.Process(ctx, options, train, …)  // map, filter, deduplicate, split, write canonical JSONL
//
// Two kinds of fault are told apart. A file that is broken as a file (bad syntax, cut off, not UTF-8) always fails, with
// the line. A row that is wrong as a row (an empty answer, an unknown role, a broken line among JSON Lines) is left out, counted and cited; the dataset
// fails only if fewer than two valid rows remain or more than one in five is invalid. docs/datasets.md is the user's
// view of all this.
package dataset
