package contract

import "encoding/json"

// ProcessOptions say how a dataset's rows become training and held-out rows, as the API writes them. A number that is 0
// is the default's; DefaultProcessOptions are what a dataset is processed with unless it is told otherwise.
type ProcessOptions struct {
	Mapping            map[string]string `json:"mapping,omitempty"` // role to column
	Deduplicate        bool              `json:"deduplicate"`
	MinChars           int               `json:"min_chars,omitempty"`
	MaxChars           int               `json:"max_chars,omitempty"`
	MinCompletionChars int               `json:"min_completion_chars,omitempty"`
	MaxTurns           int               `json:"max_turns,omitempty"`
	MaxRows            int64             `json:"max_rows,omitempty"`
	TextChunkChars     int               `json:"text_chunk_chars,omitempty"`
	EvalRows           int64             `json:"eval_rows,omitempty"`
	EvalShare          float64           `json:"eval_share,omitempty"`
	NoEval             bool              `json:"no_eval,omitempty"`
	Seed               int64             `json:"seed"`
}

const defaultSplitSeed = 42

// DefaultProcessOptions drop rows that repeat another, and split by the rows' number.
func DefaultProcessOptions() ProcessOptions {
	return ProcessOptions{Deduplicate: true, Seed: defaultSplitSeed}
}

// With lays the fields of a JSON object over the options; those that it does not name stay as they are. A mapping takes
// the place of the one before, and a choice of what is held out that of the one before, whichever field it was made by.
// Errors are encoding/json's.
func (o ProcessOptions) With(changes json.RawMessage) (ProcessOptions, error) {
	if len(changes) == 0 {
		return o, nil
	}
	var named map[string]json.RawMessage
	if err := json.Unmarshal(changes, &named); err != nil {
		return o, err
	}
	if _, ok := named["mapping"]; ok {
		o.Mapping = nil // a map would be added to
	}
	for _, split := range []string{"eval_rows", "eval_share", "no_eval"} {
		if _, ok := named[split]; ok {
			o.EvalRows, o.EvalShare, o.NoEval = 0, 0, false
		}
	}
	err := json.Unmarshal(changes, &o)
	if o.Seed == 0 {
		o.Seed = defaultSplitSeed
	}
	return o, err
}
