package workflows_test

import (
	"compress/gzip"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"github.com/vibeflow/vibeflow/workflows"
)

// recorded is how many histories each version holds: a file that is lost is a promise that is no longer kept.
var recorded = map[string]int{"v1": 19, "v2": 20}

// TestReplay replays the histories of every release: a change that would strand a run begun before it fails here.
func TestReplay(t *testing.T) {
	t.Parallel()
	for version, count := range recorded {
		files, err := filepath.Glob(filepath.Join("testdata", "histories", version, "*.json.gz"))
		require.NoError(t, err)
		require.Len(t, files, count, "record them with: go test ./workflows/recording -run TestRecordHistories -record")
		for _, file := range files {
			t.Run(version+"/"+strings.TrimSuffix(filepath.Base(file), ".json.gz"), func(t *testing.T) {
				t.Parallel()
				replay(t, file)
			})
		}
	}
}

func replay(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	body, err := gzip.NewReader(file)
	require.NoError(t, err)
	history, err := client.HistoryFromJSON(body, client.HistoryJSONOptions{})
	require.NoError(t, err)
	replayer := worker.NewWorkflowReplayer()
	workflows.Register(replayer)
	quiet := log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	require.NoError(t, replayer.ReplayWorkflowHistory(quiet, history))
}
