package catalog_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/catalog"
)

// TestDimensionsGiveTheStatedSize guards the table against typing errors: the formula must come within 2 % of what the
// maker states, wherever the formula covers the architecture.
func TestDimensionsGiveTheStatedSize(t *testing.T) {
	t.Parallel()
	for _, e := range catalog.Models() {
		t.Run(e.ID, func(t *testing.T) {
			t.Parallel()
			require.True(t, e.Dims.Known())
			if e.Confidence == catalog.Low && e.ID != "ministral-3-3b-instruct-2512" {
				require.NotEmpty(t, e.Note, "a low confidence says why")
				return
			}
			off := float64(e.Dims.Parameters())/float64(e.Parameters) - 1
			require.Less(t, math.Abs(off), 0.02, "%d by its dimensions, %d stated", e.Dims.Parameters(), e.Parameters)
		})
	}
}

func TestModelsAreNamedOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, e := range catalog.Models() {
		require.False(t, seen[e.ID] || seen[e.Source], e.ID)
		seen[e.ID], seen[e.Source] = true, true
		require.NotEmpty(t, e.License)
		require.NotEmpty(t, e.Description)
		require.Positive(t, e.Context)
	}
}

// TestAdapterSize is the measured one: rank 16 on all linear modules of SmolLM2-135M has 4.88 M weights.
func TestAdapterSize(t *testing.T) {
	t.Parallel()
	bundled, ok := catalog.Lookup(catalog.Bundled)
	require.True(t, ok)
	require.InDelta(t, 4.88e6, float64(bundled.Dims.Adapter(16)), 0.01e6)
}

func TestParse(t *testing.T) {
	t.Parallel()
	for name, id := range map[string]string{
		"smollm2-135m-instruct":            catalog.Bundled,
		"bundled:smollm2-135m-instruct":    catalog.Bundled,
		"tiny:llama":                       catalog.Tiny,
		"Qwen/Qwen3-0.6B":                  "qwen3-0.6b",
		"hub:Qwen/Qwen3-0.6B":              "qwen3-0.6b",
		"hub:somebody/some-model.v2":       "hub:somebody/some-model.v2",
		"path:/models/mine":                "path:/models/mine",
		"  hub:somebody/some-model.v2    ": "hub:somebody/some-model.v2",
	} {
		e, err := catalog.Parse(name)
		require.NoError(t, err, name)
		require.Equal(t, id, e.ID)
	}
	for _, name := range []string{
		"", "nothing", "hub:", "hub:a", "hub:a/b/c", "hub:../etc", "hub:a/..", "hub:a b/c", "path:relative", "path:/a/../b",
		"https://example.com/a/b", "hub:-a/b",
	} {
		_, err := catalog.Parse(name)
		require.Equal(t, contract.CodeInvalid, contract.CodeOf(err), name)
	}
}
