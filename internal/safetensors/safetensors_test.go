package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/internal/safetensors"
)

func file(header string, data int) []byte {
	body := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(body, header...), make([]byte, data)...)
}

const two = `{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},"b":{"dtype":"F32","shape":[],"data_offsets":[12,16]}}`

func TestReadLeavesTheFileWhole(t *testing.T) {
	t.Parallel()
	content := file(two, 16)
	r := bytes.NewReader(content)
	h, taken, err := safetensors.Read(r)
	require.NoError(t, err)
	require.Len(t, h.Tensors, 2)
	require.EqualValues(t, 6, h.Tensors["a"].Elements())
	require.EqualValues(t, 1, h.Tensors["b"].Elements())
	require.EqualValues(t, len(content), h.Size)
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, content, append(taken, rest...))
}

func TestFilesThatLieAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		content []byte
		says    string
	}{
		"empty":                   {nil, "ends within"},
		"a pickle":                {[]byte("\x80\x02ctorch._utils\n_rebuild"), "no safetensors file has"},
		"a zip":                   {[]byte("PK\x03\x04\x14\x00\x00\x00\x08\x00"), "no safetensors file has"},
		"cut off":                 {file(two, 0)[:40], "ends within"},
		"a header of 8 EiB":       {binary.LittleEndian.AppendUint64(nil, 1<<63), "no safetensors file has"},
		"no JSON":                 {file(`{"a":`, 0), "JSON"},
		"no tensors":              {file(`{"__metadata__":{}}`, 0), "no tensors"},
		"an array":                {file(`[1,2]`, 0), "JSON"},
		"a name twice":            {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), "JSON"},
		"an unknown type":         {file(`{"a":{"dtype":"PICKLE","shape":[1],"data_offsets":[0,1]}}`, 1), "not supported"},
		"a wrong size":            {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), "shape and type"},
		"a shape that overflows":  {file(`{"a":{"dtype":"U8","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,0]}}`, 0), "impossible shape"},
		"a negative shape":        {file(`{"a":{"dtype":"U8","shape":[-1,-1],"data_offsets":[0,1]}}`, 1), "impossible shape"},
		"a beginning before all":  {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}}`, 0), "shape and type"},
		"a hole":                  {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), "does not begin"},
		"an overlap":              {file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3), "does not begin"},
		"a shape of another type": {file(`{"a":{"dtype":"U8","shape":"x","data_offsets":[0,1]}}`, 1), "cannot be read"},
		"offsets too many":        {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}`, 1), "cannot be read"},
	} {
		_, _, err := safetensors.Read(bytes.NewReader(c.content))
		require.ErrorContains(t, err, c.says, name)
	}
}

// FuzzRead: whatever the bytes, a header that is taken says the truth about where its tensors lie.
func FuzzRead(f *testing.F) {
	f.Add(file(two, 16))
	f.Add(file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 0))
	f.Add([]byte("\x08\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, content []byte) {
		h, taken, err := safetensors.Read(bytes.NewReader(content))
		if err != nil {
			return
		}
		require.True(t, bytes.HasPrefix(content, taken))
		var bytes int64
		for name, tensor := range h.Tensors {
			require.GreaterOrEqual(t, tensor.Elements(), int64(0), name)
			require.LessOrEqual(t, tensor.Range[1], h.Size-int64(len(taken)), name)
			bytes += tensor.Range[1] - tensor.Range[0]
		}
		require.Equal(t, h.Size, int64(len(taken))+bytes)
	})
}
