package dataset

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestProfile(t *testing.T) {
	content := `{"instruction":"élan","input":null,"output":"12345678","note":1}
{"instruction":"q","input":"","output":"1234"}
{"instruction":"q","output":"12\n34"}
{"instruction":"q","output":"12 34"}
`
	profile, err := inspect(t, "a.jsonl", content)
	require.NoError(t, err)
	require.Equal(t, int64(len(content)), profile.Bytes)
	require.Equal(t, Detection{JSONL, Alpaca, CanonicalChat, map[Role]string{RoleInstruction: "instruction", RoleInput: "input", RoleOutput: "output"}}, profile.Detection)
	require.Equal(t, []string{"note"}, profile.Unused)
	require.Equal(t, []Column{
		{Name: "instruction", Role: RoleInstruction, Types: map[string]int64{"text": 4}, MeanChars: 1.75, MaxChars: 4},
		{Name: "input", Role: RoleInput, Types: map[string]int64{"null": 1, "text": 1}, Nulls: 3, NullShare: 0.75, Empties: 1},
		{Name: "output", Role: RoleOutput, Types: map[string]int64{"text": 4}, MeanChars: 5.5, MaxChars: 8},
		{Name: "note", Types: map[string]int64{"a number": 1}, Nulls: 3, NullShare: 0.75},
	}, profile.Columns)
	require.Equal(t, Duplicates{Rows: 1, Distinct: 3}, profile.Duplicates)
	require.Equal(t, Lengths{Count: 4, Mean: 5.5, Min: 4, P50: 5, P90: 8, P95: 8, P99: 8, Max: 8, Total: 22, EstimatedTokens: 6,
		Buckets: []Bucket{{4, 7, 3}, {8, 15, 1}}}, profile.Completion)
	require.Equal(t, []Bucket{{2, 2, 4}}, profile.Turns)
	require.Len(t, profile.Preview, 4)
	encoded, err := json.Marshal(profile)
	require.NoError(t, err)
	for _, list := range []string{"unused", "columns", "turns", "counts", "cited", "preview", "issues", "notes"} {
		require.NotContains(t, string(encoded), fmt.Sprintf("%q:null", list), "a list is empty, not null")
	}
}

// TestProfileStaysSmall: long texts and many columns do not end up in the database.
func TestProfileStaysSmall(t *testing.T) {
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, `{"text":%q`, strings.Repeat("é", 50_000))
		for k := range 20 {
			fmt.Fprintf(&b, `,"extra %d":1`, i*20+k)
		}
		b.WriteString("}\n")
	}
	profile, err := inspect(t, "a.jsonl", b.String())
	require.NoError(t, err)
	require.Len(t, profile.Columns, maxColumnsShown)
	encoded, err := json.Marshal(profile)
	require.NoError(t, err)
	require.Less(t, len(encoded), 150_000)
}

func TestDistinctCounter(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	c := newDistinctCounter()
	c.most = 10_000
	seen := map[uint64]bool{}
	for i := range 200_000 {
		h := random.Uint64() >> 47 << 40 // 131,072 values, the low bits alike
		h = seeded(h, 0)
		c.add(h)
		seen[h] = true
		if i == 5_000 {
			n, approximate := c.estimate()
			require.Equal(t, int64(len(seen)), n)
			require.False(t, approximate)
		}
	}
	n, approximate := c.estimate()
	require.True(t, approximate)
	require.InEpsilon(t, len(seen), n, 0.05)
	require.LessOrEqual(t, c.set.count, 10_000)
}

func TestHashSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set, model := newHashSet(), map[uint64]bool{}
		for _, h := range rapid.SliceOf(rapid.Uint64Range(2, 5000)).Draw(t, "hashes") {
			require.Equal(t, model[h], set.has(h))
			require.Equal(t, !model[h], set.add(h))
			model[h] = true
		}
		require.Equal(t, len(model), set.count)
	})
}

func TestCharCountAndFoldSpace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("abcdefg   \n\té水😀\x7f"))).Draw(t, "text")
		require.Equal(t, utf8.RuneCountInString(text), charCount([]byte(text)))
		require.Equal(t, strings.Join(strings.Fields(text), " "), string(foldSpace(nil, []byte(text))))
	})
}

// TestMemoryIsFlat inspects and processes 50 MB that never exist as a whole, and watches the heap.
func TestMemoryIsFlat(t *testing.T) {
	const rows = 100_000
	answer := strings.Repeat("Turn the valve left. ", 22)
	for name, g := range map[string]struct {
		file, before, between, after string
		in                           encoding
	}{
		"lines":          {"a.jsonl", "", "\n", "", asUTF8},
		"array":          {"a.json", "[", ",\n", "]", asUTF8},
		"UTF-16":         {"a.jsonl", "\ufeff", "\n", "", asUTF16LE},
		"accent at last": {"a.jsonl", "", "\n", "\n{\"instruction\":\"caf\xe9\",\"output\":\"th\xe9\"}", asUTF8},
	} {
		t.Run(name, func(t *testing.T) {
			rows := rows
			if g.in.isUTF16() {
				rows /= 2
			}
			source := Source{Name: g.file, Open: opener(func() io.Reader {
				return written(g.in, &generated{rows: rows, before: g.before, between: g.between, after: g.after, answer: answer})
			})}
			file, err := Open(t.Context(), source)
			require.NoError(t, err)
			base, most := liveHeap(), uint64(0)
			watch := func(p Position) {
				if p.Rows%10_000 < progressRows {
					most = max(most, liveHeap())
				}
			}
			profile, err := file.Inspect(t.Context(), Options{}, watch)
			require.NoError(t, err)
			require.Equal(t, int64(rows+strings.Count(g.after, "output")), profile.ValidRows)
			require.Greater(t, profile.Bytes, int64(50_000_000))
			_, err = file.Process(t.Context(), ProcessOptions{Deduplicate: true}, io.Discard, io.Discard, watch)
			require.NoError(t, err)
			require.Less(t, most-min(base, most), uint64(16<<20), "bytes of live heap above the start")
		})
	}
}

func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// generated is a file that is written while it is read.
type generated struct {
	rows, at               int
	before, between, after string
	answer                 string
	pending                string
}

func (g *generated) Read(p []byte) (int, error) {
	if g.pending == "" {
		if g.at > g.rows {
			return 0, io.EOF
		}
		g.pending = g.next()
		g.at++
	}
	n := copy(p, g.pending)
	g.pending = g.pending[n:]
	return n, nil
}

func (g *generated) next() string {
	if g.at == g.rows {
		return g.after + " "
	}
	row := fmt.Sprintf(`{"instruction":"question %d","output":"%d: %s\n"}`, g.at, g.at, g.answer)
	if g.at == 0 {
		return g.before + row
	}
	return g.between + row
}
