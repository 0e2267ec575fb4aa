package contract

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProcessOptionsKeepWhatIsNotNamed(t *testing.T) {
	t.Parallel()
	had := ProcessOptions{Mapping: map[string]string{"prompt": "Q", "completion": "A"}, Deduplicate: true, EvalRows: 50, MinChars: 3, Seed: 7}
	for changes, want := range map[string]ProcessOptions{
		``:                               had,
		`null`:                           had,
		`{}`:                             had,
		`{"deduplicate":false}`:          {Mapping: had.Mapping, EvalRows: 50, MinChars: 3, Seed: 7},
		`{"min_chars":0,"seed":0}`:       {Mapping: had.Mapping, Deduplicate: true, EvalRows: 50, Seed: 42},
		`{"eval_share":0.1}`:             {Mapping: had.Mapping, Deduplicate: true, EvalShare: 0.1, MinChars: 3, Seed: 7},
		`{"no_eval":true}`:               {Mapping: had.Mapping, Deduplicate: true, NoEval: true, MinChars: 3, Seed: 7},
		`{"mapping":{"text":"Article"}}`: {Mapping: map[string]string{"text": "Article"}, Deduplicate: true, EvalRows: 50, MinChars: 3, Seed: 7},
		`{"mapping":{}}`:                 {Mapping: map[string]string{}, Deduplicate: true, EvalRows: 50, MinChars: 3, Seed: 7},
	} {
		got, err := had.With(json.RawMessage(changes))
		require.NoError(t, err, changes)
		require.Equal(t, want, got, changes)
	}
	require.Equal(t, map[string]string{"prompt": "Q", "completion": "A"}, had.Mapping, "the one before is not written to")
	_, err := had.With(json.RawMessage(`{"eval_rows":1.5}`))
	require.Error(t, err)
}
