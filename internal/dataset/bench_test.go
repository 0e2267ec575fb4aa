package dataset

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkInspect gives the speed of an inspection in MB/s a container.
func BenchmarkInspect(b *testing.B) {
	answer := strings.Repeat("Turn the valve left until the gauge reads two bar, then hold the button. ", 12)
	var lines, array, table bytes.Buffer
	table.WriteString("instruction,output\n")
	for i := range 20_000 {
		fmt.Fprintf(&lines, `{"instruction":"How do I vent unit %d?","output":"%d: %s\n\nDone."}`+"\n", i, i, answer)
		fmt.Fprintf(&table, "How do I vent unit %d?,\"%d: %s\n\nDone.\"\n", i, i, answer)
	}
	array.WriteString("[" + strings.ReplaceAll(strings.TrimSpace(lines.String()), "\n", ",\n") + "]")
	for name, content := range map[string][]byte{"a.jsonl": lines.Bytes(), "a.json": array.Bytes(), "a.csv": table.Bytes()} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				file, err := Open(b.Context(), FromBytes(name, content))
				require.NoError(b, err)
				_, err = file.Inspect(b.Context(), Options{}, nil)
				require.NoError(b, err)
			}
		})
	}
}
