package dataset

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// sharedData opens a file of real data that lies beside the checkout on development machines and is never committed.
func sharedData(t *testing.T, name string) *File {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "data", name)
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		t.Skipf("%s is not here: it may not be committed (its licence); the generated files cover the formats", path)
	}
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	source, err := FromFile(f)
	require.NoError(t, err)
	file, err := Open(t.Context(), source)
	require.NoError(t, err)
	return file
}

// TestRealFiles takes data that nobody here wrote through inspection and processing.
func TestRealFiles(t *testing.T) {
	for _, c := range []struct {
		name      string
		container Container
		format    Format
		canonical Canonical
		rows      int64
		eval      int64
		repeated  int64
	}{
		{"alpaca_en_demo.json", JSON, Alpaca, CanonicalChat, 999, 100, 14},
		{"glaive_toolcall_en_demo.json", JSON, ShareGPT, CanonicalChat, 300, 100, 35},
		{"dpo_en_demo.json", JSON, Preference, CanonicalPreference, 300, 100, 5},
		{"wiki_demo.txt", Text, PlainText, CanonicalText, 30, 100, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := sharedData(t, c.name)
			profile, err := file.Inspect(t.Context(), Options{}, nil)
			require.NoError(t, err)
			require.Equal(t, Detection{c.container, c.format, c.canonical, profile.Roles}, profile.Detection)
			require.Equal(t, c.rows, profile.Rows)
			require.Equal(t, c.rows, profile.ValidRows)

			var train, eval bytes.Buffer
			stats, err := file.Process(t.Context(), ProcessOptions{Deduplicate: true}, &train, &eval, nil)
			require.NoError(t, err)
			require.Equal(t, c.eval, stats.Eval.Rows)
			require.Equal(t, stats.Candidates-stats.Eval.Rows-c.repeated, stats.Train.Rows)
		})
	}
}
