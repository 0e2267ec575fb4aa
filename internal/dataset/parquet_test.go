package dataset

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return content
}

// TestParquetOfPyarrow: lists of structs, nulls at every level and several row groups become the values one expects.
func TestParquetOfPyarrow(t *testing.T) {
	file := open(t, "nested.parquet", string(testdata(t, "nested.parquet")))
	require.Equal(t, Parquet, file.Container)
	require.Equal(t, []string{
		`1:0 {"id":1,"score":0.5,"ok":true,"messages":[{"role":"user","content":"é?"},{"role":"assistant","content":"yes"}],"tags":["x",null]}`,
		`2:0 {"id":2,"score":null,"ok":null,"messages":[],"tags":[]}`,
		`3:0 {"id":3,"score":null,"ok":false,"messages":null,"tags":null}`,
		`4:0 {"id":4,"score":2,"ok":true,"messages":[{"role":"user","content":"a"},null,{"role":"assistant","content":null}],"tags":["y"]}`,
	}, rowsOf(t, file))
}

func TestParquetPairs(t *testing.T) {
	file := open(t, "pairs", string(testdata(t, "pairs.parquet")))
	stats, rows := canonicalRows(t, file, nil)
	require.Equal(t, PromptCompletion, stats.Format)
	require.Len(t, rows, 300)
	require.Equal(t, `{"prompt":"What is 299 + 299?","completion":"598"}`, rows[299])
}

// TestParquetOfGo covers the writer's other list layout and types.
func TestParquetOfGo(t *testing.T) {
	type turn struct {
		From  string `parquet:"from"`
		Value string `parquet:"value"`
	}
	type row struct {
		Conversations []turn   `parquet:"conversations"`
		Small         int32    `parquet:"small"`
		Real          float32  `parquet:"real"`
		Raw           []byte   `parquet:"raw"`
		Deep          [][]turn `parquet:"deep,list"`
	}
	var content bytes.Buffer
	value := row{Conversations: []turn{{"human", "q"}, {"gpt", "a"}}, Small: -7, Real: 0.25, Raw: []byte{0xff}}
	require.NoError(t, parquet.Write(&content, []row{value, value}))
	require.Equal(t, `1:0 {"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}],"small":-7,"real":0.25,"raw":"(binary)","deep":[]}`,
		rowsOf(t, open(t, "a.parquet", content.String()))[0])
}

// TestDamagedParquet: whatever byte is changed or wherever the file is cut, the answer is rows or a typed error.
func TestDamagedParquet(t *testing.T) {
	for _, name := range []string{"nested.parquet", "pairs.parquet"} {
		whole := testdata(t, name)
		damaged := [][]byte{}
		for i := 4; i < len(whole); i += max(1, len(whole)/150) {
			flipped := bytes.Clone(whole)
			flipped[i] ^= 0xff
			damaged = append(damaged, flipped, whole[:i])
		}
		for i, content := range damaged {
			_, err := inspect(t, name, string(content))
			if err != nil {
				require.Contains(t, []contract.Code{contract.CodeBadData, contract.CodeUnsupported}, contract.CodeOf(err), "%d: %v", i, err)
			}
		}
	}
}
