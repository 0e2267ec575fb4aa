package workflows_test

import (
	"compress/gzip"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/workflows"
)

// recorded is how many histories each version holds: a file that is lost is a promise that is no longer kept.
var recorded = map[string]int{"v1": 19, "v2": 20, "v2-room": 3, "v3": 22, "v3-pause": 1, "v4": 23}

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
	end := &ending{}
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{Interceptors: []interceptor.WorkerInterceptor{end}})
	require.NoError(t, err)
	workflows.Register(replayer)
	quiet := log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	require.NoError(t, replayer.ReplayWorkflowHistory(quiet, history))
	require.Equal(t, closes[history.Events[len(history.Events)-1].GetEventType()], end.how, "the run ends as it did")
}

// closes says how a workflow's function returns where its history ends in an event. The replayer itself compares results
// of completed runs only: a failed one that would now go on passes it.
var closes = map[enums.EventType]string{
	enums.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: "completed", enums.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: "failed",
	enums.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: "cancelled", enums.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: "continued",
}

// ending notes how a replayed workflow's function returned.
type ending struct {
	interceptor.WorkerInterceptorBase
	how string
}

// InterceptWorkflow implements interceptor.WorkerInterceptor.
func (e *ending) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	in := &endingInbound{end: e}
	in.Next = next
	return in
}

type endingInbound struct {
	interceptor.WorkflowInboundInterceptorBase
	end *ending
}

// ExecuteWorkflow implements interceptor.WorkflowInboundInterceptor.
func (i *endingInbound) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	result, err := i.Next.ExecuteWorkflow(ctx, in)
	switch {
	case err == nil:
		i.end.how = "completed"
	case temporal.IsCanceledError(err):
		i.end.how = "cancelled"
	case workflow.IsContinueAsNewError(err):
		i.end.how = "continued"
	default:
		i.end.how = "failed"
	}
	return result, err
}
