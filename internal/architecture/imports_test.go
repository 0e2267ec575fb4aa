package architecture

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/vibeflow/vibeflow/"

// layers are the folders in import order: a package may import its own layer and those before it.
var layers = []string{"contract", "ui", "internal", "workflows", "activities", "workers", "api", "cmd"}

// allowed are the exceptions, each with its reason.
var allowed = map[string]string{
	"internal/apiclient -> api/apigen": "the client shares the generated types of the API",
	"internal/login -> api/apigen":     "the client shares the generated types of the API",
	"internal/chaos -> api/apigen":     "the proof talks to the API as clients do",
	"internal/platform -> api/apigen":  "tests and benchmarks talk to the API as clients do",
}

// TestImportsPointInward: contract ← internal ← workflows, activities ← workers, api ← cmd.
func TestImportsPointInward(t *testing.T) {
	for from, imports := range ours(t) {
		for _, to := range imports {
			if _, ok := allowed[from+" -> "+to]; ok {
				continue
			}
			require.LessOrEqual(t, layer(to), layer(from), "%s must not import %s", from, to)
		}
	}
}

// TestWorkflowsStayDeterministic: a workflow knows messages and the SDK, not databases, files or HTTP.
func TestWorkflowsStayDeterministic(t *testing.T) {
	for from, imports := range ours(t) {
		if from == "workflows" {
			require.Equal(t, []string{"contract"}, imports)
		}
		if from == "contract" {
			require.Empty(t, imports, "contract is a leaf")
		}
	}
}

// TestTheTemporalServerStaysBehindOnePackage: it takes minutes to compile.
func TestTheTemporalServerStaysBehindOnePackage(t *testing.T) {
	for from, imports := range list(t) {
		for _, to := range imports {
			if strings.HasPrefix(to, "go.temporal.io/server") || strings.HasPrefix(to, "github.com/temporalio/ui-server") {
				require.True(t, strings.HasPrefix(from, "internal/embedded"), "%s imports %s", from, to)
			}
		}
	}
}

func layer(path string) int {
	top, _, _ := strings.Cut(path, "/")
	for i, name := range layers {
		if name == top {
			return i
		}
	}
	return len(layers) // bench, e2e: the outermost
}

// ours keeps the imports of our own packages.
func ours(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for from, imports := range list(t) {
		out[from] = nil
		for _, to := range imports {
			if path, ok := strings.CutPrefix(to, module); ok {
				out[from] = append(out[from], path)
			}
		}
	}
	return out
}

// list maps each of our packages, by its path in the module, to what it imports outside of tests.
func list(t *testing.T) map[string][]string {
	t.Helper()
	data, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "../../...").Output()
	require.NoError(t, err)
	out := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		out[strings.TrimPrefix(fields[0], module)] = fields[1:]
	}
	require.Greater(t, len(out), 20)
	return out
}
