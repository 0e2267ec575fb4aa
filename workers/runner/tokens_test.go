package runner_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient"
	"github.com/vibeflow/vibeflow/workers/runner"
)

// oneQuestion is a gateway that holds one question about tokens.
type oneQuestion struct {
	asked  contract.TokensQuestion
	answer contract.TokensAnswer
	files  map[string]string // paths by digest
}

func (q *oneQuestion) TokensBlobs(string) gatewayclient.BlobSource {
	return func(_ context.Context, sha256 string, offset int64) (io.ReadCloser, int64, error) {
		file, err := os.Open(q.files[sha256])
		return file, 0, err
	}
}

func (q *oneQuestion) TokensQuestion(context.Context, string) (contract.TokensQuestion, error) {
	return q.asked, nil
}

func (q *oneQuestion) PutTokens(_ context.Context, _ string, answer contract.TokensAnswer) error {
	q.answer = answer
	return nil
}

func TestRowsAreShownAsTokens(t *testing.T) {
	b := realBench(t)
	q := &oneQuestion{asked: contract.TokensQuestion{Model: contract.ModelRef{Source: "tiny:llama"}, Format: "prompt_completion", CompletionOnly: true,
		Rows: []json.RawMessage{[]byte(`{"prompt":"Two and two","completion":" is four."}`), []byte(`{"prompt":"é","completion":"🤖"}`)}}}
	tokenizer := &runner.Tokenizer{Python: python(t), Scratch: b.scratch, Gateway: q, Log: slog.Default()}
	require.NoError(t, tokenizer.Answer(t.Context(), "tokens_1"))
	require.Nil(t, q.answer.Error)
	require.Len(t, q.answer.Rows, 2)
	learned := func(row contract.TokensRow) (prompt, completion string) {
		for _, token := range row.Tokens {
			if token.Trained {
				completion += token.Text
			} else {
				prompt += token.Text
			}
		}
		return prompt, completion
	}
	prompt, completion := learned(q.answer.Rows[0])
	require.Equal(t, "Two and two", prompt)
	require.True(t, strings.HasPrefix(completion, " is four."), completion)
	_, completion = learned(q.answer.Rows[1])
	require.True(t, strings.HasPrefix(completion, "🤖"), completion)

	shown := q.answer.Rows
	built, err := filepath.Glob(filepath.Join(b.scratch.Models(), "tiny-llama-*"))
	require.NoError(t, err)
	require.Len(t, built, 1)
	q.upload(t, built[0])
	require.NoError(t, tokenizer.Answer(t.Context(), "tokens_2"))
	require.Nil(t, q.answer.Error)
	require.Equal(t, shown, q.answer.Rows, "an uploaded model needs its tokenizer alone")

	q.asked.Rows = append(q.asked.Rows, []byte(`{"prompt":"no completion"}`))
	require.NoError(t, tokenizer.Answer(t.Context(), "tokens_3"), "a row that cannot be encoded is an answer")
	require.Equal(t, contract.CodeBadData, q.answer.Error.Code)
	require.Contains(t, q.answer.Error.Message, "line 3")

	left, err := os.ReadDir(b.scratch.Root)
	require.NoError(t, err)
	for _, entry := range left {
		require.NotContains(t, entry.Name(), "tokens-", "the rows stay nowhere")
	}
}

// upload has the question name a folder's files but its weights, as those of an uploaded model.
func (q *oneQuestion) upload(t *testing.T, folder string) {
	q.asked.Model, q.files = contract.ModelRef{Source: "upload:model_1"}, map[string]string{}
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, entry := range entries {
		if path := filepath.Join(folder, entry.Name()); filepath.Ext(path) == ".json" {
			sum, err := gatewayclient.HashFile(path)
			require.NoError(t, err)
			q.files[sum] = path
			q.asked.Model.Files = append(q.asked.Model.Files, contract.FileInfo{Path: entry.Name(), SHA256: sum})
		}
	}
	require.NotEmpty(t, q.files)
}

func TestWhatInspectDiesOfGoesToWhoAskedAlone(t *testing.T) {
	scratch, err := runner.OpenScratch(filepath.Join(t.TempDir(), "scratch"))
	require.NoError(t, err)
	defer func() { require.NoError(t, scratch.Close()) }()
	dies := filepath.Join(t.TempDir(), "python")
	require.NoError(t, os.WriteFile(dies, []byte("#!/bin/sh\necho \"KeyError: 'somebody's words'\" >&2\nexit 1\n"), 0o700)) //nolint:gosec // it is run
	q := &oneQuestion{asked: contract.TokensQuestion{Model: contract.ModelRef{Source: "tiny:llama"}, Format: "text", Rows: []json.RawMessage{[]byte(`{"text":"a"}`)}}}
	tokenizer := &runner.Tokenizer{Python: runner.Python{Path: dies}, Scratch: scratch, Gateway: q}
	require.NoError(t, tokenizer.Answer(t.Context(), "tokens_1"), "an error would stand in Temporal's history")
	require.Equal(t, contract.CodeRunnerCrashed, q.answer.Error.Code)
	require.Contains(t, q.answer.Error.Message, "somebody's words")
}
