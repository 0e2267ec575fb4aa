package dataset

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
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
	require.Equal(t, QuestionAnswer, stats.Format)
	require.Len(t, rows, 300)
	require.Equal(t, `{"messages":[{"role":"user","content":"What is 299 + 299?"},{"role":"assistant","content":"598"}]}`, rows[299])
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
	for name, rows := range map[string]int64{"snappy-1.parquet": 50, "pairs.parquet": 300} {
		whole := testdata(t, name)
		damaged := [][]byte{}
		for i := 4; i < len(whole); i += max(1, len(whole)/150) {
			flipped := bytes.Clone(whole)
			flipped[i] ^= 0xff
			damaged = append(damaged, flipped, whole[:i])
		}
		for i, content := range damaged {
			profile, err := inspect(t, name, string(content))
			if err == nil {
				require.Equal(t, rows, profile.Rows, "%d: no row is lost in silence", i)
			} else {
				require.Contains(t, []contract.Code{contract.CodeBadData, contract.CodeUnsupported}, contract.CodeOf(err), "%d: %v", i, err)
			}
		}
	}
}

// TestParquetThatLiesAboutAPage: the size of a page is checked before anything of that size is allocated.
func TestParquetThatLiesAboutAPage(t *testing.T) {
	file := open(t, "a.parquet", string(testdata(t, "pairs.parquet")))
	rows, err := newParquetRows(file.source.At, file.Size)
	require.NoError(t, err)
	column := rows.file.Metadata().RowGroups[0].Columns[0].MetaData
	header := thriftHeader(t, format.PageHeader{Type: format.DictionaryPage, UncompressedPageSize: 1 << 30, CompressedPageSize: 1 << 30})
	lying := testdata(t, "pairs.parquet")
	copy(lying[column.DictionaryPageOffset:], header)
	_, err = inspect(t, "a.parquet", string(lying))
	require.ErrorContains(t, err, "it says that a page is 1073741824 bytes long")
	require.Equal(t, contract.CodeBadData, contract.CodeOf(err))
}

func thriftHeader(t *testing.T, header format.PageHeader) []byte {
	t.Helper()
	encoded, err := thrift.Marshal(new(thrift.CompactProtocol), header)
	require.NoError(t, err)
	return encoded
}

// TestParquetCodecs: every codec and both page versions, a column of nulls included. LZ4 is refused; see checkColumnPages.
func TestParquetCodecs(t *testing.T) {
	for _, codec := range []string{"none", "snappy", "gzip", "brotli", "zstd"} {
		for _, version := range []string{"1", "2"} {
			profile, err := inspect(t, "a.parquet", string(testdata(t, codec+"-"+version+".parquet")))
			require.NoError(t, err, codec)
			require.Equal(t, int64(50), profile.ValidRows)
			require.Equal(t, int64(50*300), profile.Completion.Total)
		}
	}
	for _, version := range []string{"1", "2"} {
		_, err := inspect(t, "a.parquet", string(testdata(t, "lz4-"+version+".parquet")))
		require.Equal(t, contract.CodeUnsupported, contract.CodeOf(err))
		require.ErrorContains(t, err, "write it with Snappy or Zstandard")
	}
}

// TestParquetBomb: a page that unpacks to more than it says is refused before the library unpacks it.
func TestParquetBomb(t *testing.T) {
	zeroes := make([]byte, 1<<20)
	var gzipped, brotlied bytes.Buffer
	g, b := gzip.NewWriter(&gzipped), brotli.NewWriter(&brotlied)
	for _, w := range []io.WriteCloser{g, b} {
		_, err := w.Write(zeroes)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	z, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	for codec, page := range map[format.CompressionCodec][]byte{
		format.Gzip: gzipped.Bytes(), format.Brotli: brotlied.Bytes(), format.Zstd: z.EncodeAll(zeroes, nil),
		format.Snappy: binary.AppendUvarint(nil, 1<<20),
	} {
		for declared, refused := range map[int32]bool{1 << 20: false, 1<<20 - 1: true} {
			err := checkUnpacked(io.NewSectionReader(bytes.NewReader(page), 0, int64(len(page))), codec, &format.PageHeader{UncompressedPageSize: declared})
			require.Equal(t, refused, err != nil, "%s %v", codec, err)
		}
	}
}
