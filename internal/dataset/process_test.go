package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/vibeflow/vibeflow/contract"
)

// numbered makes n different rows.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"prompt":"question %d","completion":"answer %d"}`+"\n", i, i)
	}
	return b.String()
}

// process returns the lines of both outputs.
func process(t require.TestingT, content string, options ProcessOptions) (stats *Stats, train, eval []string, err error) {
	file, err := Open(context.Background(), FromBytes("a.jsonl", []byte(content)))
	require.NoError(t, err)
	var trainOut, evalOut bytes.Buffer
	stats, err = file.Process(context.Background(), options, &trainOut, &evalOut, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	for out, buffer := range map[*Output]*bytes.Buffer{&stats.Train: &trainOut, &stats.Eval: &evalOut} {
		sum := sha256.Sum256(buffer.Bytes())
		require.Equal(t, Output{Rows: int64(strings.Count(buffer.String(), "\n")), Size: int64(buffer.Len()), SHA256: hex.EncodeToString(sum[:])}, *out)
	}
	return stats, strings.SplitAfter(trainOut.String(), "\n"), strings.SplitAfter(evalOut.String(), "\n"), nil
}

func TestDefaultSplit(t *testing.T) {
	for n, want := range map[int]int64{2: 1, 4: 1, 10: 2, 249: 49, 250: 100, 999: 100, 1000: 100, 3000: 300, 9000: 500} {
		stats, _, _, err := process(t, numbered(n), ProcessOptions{})
		require.NoError(t, err)
		require.Equal(t, want, stats.Eval.Rows, n)
		require.Equal(t, int64(n)-want, stats.Train.Rows, n)
		require.Equal(t, splitByDefault, stats.SplitBy)
	}
}

func TestSplitIsExactAndRepeatable(t *testing.T) {
	content := numbered(1000)
	options := ProcessOptions{Split: Split{EvalRows: 137, Seed: 42}}
	first, _, eval, err := process(t, content, options)
	require.NoError(t, err)
	require.Equal(t, int64(137), first.Eval.Rows)
	again, _, _, err := process(t, content, options)
	require.NoError(t, err)
	require.Equal(t, first, again)
	// The bytes are pinned: a run resumed by a later version must find the same rows.
	require.Equal(t, "e3bc062a11ababd8d2ce511a4a588e73f3de6780bc7f08d92049ccb02fb9477e", first.Eval.SHA256)

	options.Split.Seed = 43
	other, _, _, err := process(t, content, options)
	require.NoError(t, err)
	require.NotEqual(t, first.Eval.SHA256, other.Eval.SHA256)

	// A row that joins the file moves at most one row between the sides.
	options.Split.Seed = 42
	_, _, grown, err := process(t, content+`{"prompt":"new","completion":"row"}`+"\n", options)
	require.NoError(t, err)
	kept := 0
	for _, line := range grown {
		if line != "" && strings.Contains(strings.Join(eval, ""), line) {
			kept++
		}
	}
	require.GreaterOrEqual(t, kept, 136)
}

func TestSplitByShare(t *testing.T) {
	stats, _, _, err := process(t, numbered(500), ProcessOptions{Split: Split{EvalShare: 0.25}})
	require.NoError(t, err)
	require.Equal(t, int64(125), stats.Eval.Rows)
}

func TestSplitByTheFilesOwnColumn(t *testing.T) {
	content := ""
	for i := range 30 {
		split := "train"
		if i%3 == 0 {
			split = "Validation"
		}
		content += fmt.Sprintf(`{"text":"t%d","split":%q}`+"\n", i, split)
	}
	stats, _, eval, err := process(t, content, ProcessOptions{})
	require.NoError(t, err)
	require.Equal(t, splitByColumn, stats.SplitBy)
	require.Equal(t, int64(10), stats.Eval.Rows)
	require.Equal(t, "{\"text\":\"t0\"}\n", eval[0])

	stats, _, _, err = process(t, content, ProcessOptions{Split: Split{EvalRows: 3}})
	require.NoError(t, err, "an explicit split stands over the column")
	require.Equal(t, int64(3), stats.Eval.Rows)

	stats, _, _, err = process(t, strings.ReplaceAll(content, "Validation", "train"), ProcessOptions{})
	require.NoError(t, err, "a column that marks one side only decides nothing")
	require.Equal(t, splitByDefault, stats.SplitBy)
}

func TestDeduplication(t *testing.T) {
	content := numbered(50) + strings.ReplaceAll(numbered(20), "question", `question \n`) + numbered(5)
	stats, train, eval, err := process(t, content, ProcessOptions{Deduplicate: true})
	require.NoError(t, err)
	require.Equal(t, map[string]int64{DroppedDuplicate: 25}, stats.Dropped)
	require.Equal(t, int64(50), stats.Train.Rows+stats.Eval.Rows)
	require.NotContains(t, strings.Join(append(train, eval...), ""), `\n`, "the first of the repeated rows is kept")
}

func TestFilters(t *testing.T) {
	row := func(prompt, completion int) string {
		return fmt.Sprintf(`{"prompt":%q,"completion":%q}`+"\n", strings.Repeat("é", prompt), strings.Repeat("x", completion))
	}
	content := row(1, 1) + row(5, 5) + row(5, 6) + row(9, 1) + row(50, 50)
	stats, train, _, err := process(t, content, ProcessOptions{Split: Split{None: true}, Filter: Filter{MinChars: 10, MaxChars: 20, MinCompletionChars: 2}})
	require.NoError(t, err)
	require.Equal(t, map[string]int64{DroppedTooShort: 2, DroppedTooLong: 1}, stats.Dropped)
	require.Equal(t, row(5, 5)+row(5, 6), strings.Join(train, ""))

	chat := `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}` + "\n"
	long := `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"d"}]}` + "\n"
	stats, _, _, err = process(t, chat+long+chat, ProcessOptions{Filter: Filter{MaxTurns: 2}})
	require.NoError(t, err)
	require.Equal(t, map[string]int64{DroppedTurns: 1}, stats.Dropped)

	stats, train, _, err = process(t, numbered(10), ProcessOptions{MaxRows: 4, Split: Split{None: true}})
	require.NoError(t, err)
	require.Equal(t, map[string]int64{DroppedMaxRows: 6}, stats.Dropped)
	require.Equal(t, numbered(4), strings.Join(train, ""))
}

func TestImpossibleOptions(t *testing.T) {
	for _, c := range []struct {
		options ProcessOptions
		code    contract.Code
		field   string
	}{
		{ProcessOptions{Split: Split{EvalRows: 10}}, contract.CodeInvalid, "eval_rows"},
		{ProcessOptions{Split: Split{EvalRows: -1}}, contract.CodeInvalid, "eval_rows"},
		{ProcessOptions{Split: Split{EvalShare: 1}}, contract.CodeInvalid, "eval_share"},
		{ProcessOptions{Split: Split{EvalShare: 0.5, EvalRows: 2}}, contract.CodeInvalid, "eval_rows"},
		{ProcessOptions{Filter: Filter{MinChars: -1}}, contract.CodeInvalid, "min_chars"},
		{ProcessOptions{Filter: Filter{MinChars: 5, MaxChars: 4}}, contract.CodeInvalid, "min_chars"},
		{ProcessOptions{MaxRows: -1}, contract.CodeInvalid, "max_rows"},
		{ProcessOptions{TextChunkChars: 3}, contract.CodeInvalid, "text_chunk_chars"},
		{ProcessOptions{Filter: Filter{MinChars: 1000}}, contract.CodeBadData, ""},
		{ProcessOptions{MaxRows: 1}, contract.CodeBadData, ""},
	} {
		_, _, _, err := process(t, numbered(10), c.options)
		var typed *contract.Error
		require.ErrorAs(t, err, &typed, "%+v", c.options)
		require.Equal(t, c.code, typed.Code)
		require.Equal(t, c.field, typed.Field)
		require.NotEmpty(t, typed.Message)
	}
}

// TestProcessProperties: for any rows and options, no row is lost or made up, no evaluation row repeats a training row
// once duplicates are dropped, and the count held out is the one asked for.
func TestProcessProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d d", "d  d", "e", "f", "g", "h", ""}), 5, 60).Draw(t, "texts")
		valid := 0
		content := ""
		for i, text := range texts {
			content += fmt.Sprintf(`{"prompt":"%d","completion":%q}`+"\n", i%7, text)
			if text != "" {
				valid++
			}
		}
		options := ProcessOptions{
			Deduplicate: rapid.Bool().Draw(t, "deduplicate"),
			Filter:      Filter{MaxChars: rapid.SampledFrom([]int{0, 2, 3}).Draw(t, "max chars")},
			MaxRows:     rapid.SampledFrom([]int64{0, 4, 20}).Draw(t, "max rows"),
			Split:       Split{EvalRows: rapid.SampledFrom([]int64{0, 1, 3}).Draw(t, "eval rows"), Seed: rapid.Int64().Draw(t, "seed")},
		}
		stats, train, eval, err := process(t, content, options)
		if err != nil {
			require.Contains(t, []contract.Code{contract.CodeBadData, contract.CodeInvalid}, contract.CodeOf(err))
			return
		}
		dropped := int64(0)
		for _, n := range stats.Dropped {
			dropped += n
		}
		require.Equal(t, int64(len(texts)), stats.Rows)
		require.Equal(t, stats.Rows, stats.Candidates)
		require.Equal(t, stats.Candidates, stats.Train.Rows+stats.Eval.Rows+dropped)
		require.Equal(t, int64(len(texts)-valid), stats.Dropped[DroppedInvalid])
		require.Positive(t, stats.Train.Rows)
		if options.Split.EvalRows > 0 {
			require.Equal(t, options.Split.EvalRows, stats.Eval.Rows)
		}
		if !options.Deduplicate {
			return
		}
		learnt := map[string]bool{}
		for _, line := range train {
			learnt[strings.Join(strings.Fields(line), " ")] = true
		}
		for _, line := range eval {
			require.False(t, line != "" && learnt[strings.Join(strings.Fields(line), " ")], line)
		}
	})
}

func TestTextIsCutIntoPieces(t *testing.T) {
	document := strings.Repeat("A sentence of some words. ", 400)
	file := open(t, "a.txt", document+"\nshort\n")
	profile, err := file.Inspect(t.Context(), Options{TextChunkChars: 1000}, nil)
	require.NoError(t, err)
	var train, eval bytes.Buffer
	stats, err := file.Process(t.Context(), ProcessOptions{TextChunkChars: 1000, Split: Split{None: true}}, &train, &eval, nil)
	require.NoError(t, err)
	require.Equal(t, int64(2), stats.Rows)
	require.Equal(t, profile.Examples, stats.Train.Rows)
	require.Greater(t, stats.Train.Rows, int64(10))
	for line := range strings.Lines(train.String()) {
		require.Regexp(t, `^\{"text":"(A .*words\.|short)"\}\n$`, line)
	}
}

func TestChunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("ab é水.!\n\t "))).Draw(t, "text")
		most := rapid.IntRange(1, 20).Draw(t, "most")
		pieces := ""
		require.NoError(t, chunks([]byte(text), most, func(piece []byte) error {
			require.LessOrEqual(t, charCount(piece), most)
			require.NotEmpty(t, piece)
			pieces += string(piece)
			return nil
		}))
		require.Equal(t, strings.Join(strings.Fields(text), ""), strings.Join(strings.Fields(pieces), ""), "nothing but white space is lost")
	})
}

func TestChunksPreferGoodPlaces(t *testing.T) {
	for text, first := range map[string]string{
		"one two\n\nthree. four":    "one two",
		"one two three\nfour. five": "one two three",
		"one two three. four five":  "one two three.",
		"one two three fourfour":    "one two three",
		"onetwothreefourfivesix":    "onetwothreefourf",
	} {
		var got []string
		require.NoError(t, chunks([]byte(text), 16, func(p []byte) error { got = append(got, string(p)); return nil }))
		require.Equal(t, first, got[0])
	}
}

func TestCancelledProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	file := open(t, "a.jsonl", numbered(20_000))
	_, err := file.Inspect(ctx, Options{}, func(p Position) {
		if p.Rows > 0 {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestFailingWriter(t *testing.T) {
	cause := errors.New("the disk is full")
	_, err := open(t, "a.jsonl", numbered(10)).Process(t.Context(), ProcessOptions{}, failingWriter{cause}, &bytes.Buffer{}, nil)
	require.ErrorIs(t, err, cause)
}

func TestPreview(t *testing.T) {
	file := open(t, "a.jsonl", numbered(5)+`{"prompt":"x"}`+"\n"+numbered(1))
	page, err := file.Preview(t.Context(), PreviewOptions{Offset: 4, Limit: 2})
	require.NoError(t, err)
	require.Len(t, page, 2)
	require.JSONEq(t, `{"prompt":"question 4","completion":"answer 4"}`, string(page[0].Canonical))
	require.Equal(t, int64(6), page[1].Line)
	require.Equal(t, "null", string(page[1].Canonical))
	require.Equal(t, IssueMissingField, page[1].Issues[0].Code)

	page, err = file.Preview(t.Context(), PreviewOptions{Offset: 100, Limit: 2})
	require.NoError(t, err)
	require.Empty(t, page)
	_, err = file.Preview(t.Context(), PreviewOptions{Limit: MaxPreviewRows + 1})
	require.Equal(t, contract.CodeInvalid, contract.CodeOf(err))
}

func TestABrokenLineCostsItsOwnRow(t *testing.T) {
	content := strings.Replace(numbered(30), "\n", "\n{\"prompt\": \"never clo\n{\"prompt\": \"a\", oops}\n", 1)
	profile, err := inspect(t, "a.jsonl", content)
	require.NoError(t, err)
	require.Equal(t, int64(32), profile.Rows)
	require.Equal(t, int64(2), profile.InvalidRows)
	require.Equal(t, []Issue{
		{Row: 2, Line: 2, Code: IssueBrokenJSON, Severity: SeverityError, Message: "broken JSON: the object does not end on this line"},
		{Row: 3, Line: 3, Code: IssueBrokenJSON, Severity: SeverityError, Message: "broken JSON: invalid character 'o' at start of value, at column 17"},
	}, profile.Issues.Cited)
	require.JSONEq(t, `"{\"prompt\": \"never clo"`, string(profile.Preview[1].Raw), "the line can be looked at")

	stats, _, _, err := process(t, content, ProcessOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(30), stats.Train.Rows+stats.Eval.Rows)
	require.Equal(t, int64(2), stats.Dropped["invalid"])
	for _, cut := range []string{"{\"prompt\": \"never clo", "{"} {
		_, err = inspect(t, "a.jsonl", numbered(30)+cut)
		require.ErrorContains(t, err, "it was cut off", "a last line without its end is not one row, but the rest of the file")
	}
}
