package recording

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/embedded/embeddedtest"
)

// TestAPausedRunOfAnOlderReleaseGoesOn: what an older release recorded until a job was paused becomes a run on a real
// Temporal, and today's workflows resume it and bring it to its end.
func TestAPausedRunOfAnOlderReleaseGoesOn(t *testing.T) {
	for _, version := range releasesWith(t, pausedAndResumed) {
		t.Run(version, func(t *testing.T) {
			recorded := read(t, filepath.Join(version, pausedAndResumed))
			paused := until(t, recorded, contract.SignalResume)
			server := embeddedtest.Start(t)
			id := server.Name(t, "run")
			server.Import(t, id, paused)

			s := newStageOn(t, paused.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes().GetTaskQueue().GetName())
			run := s.client.GetWorkflow(t.Context(), id, "")
			s.tell(run, contract.SignalResume, numbered(2))
			s.until(contract.KindJob, contract.EventQueued)
			s.until(contract.KindJob, contract.EventCompleted)
			var result contract.TrainResult
			require.NoError(t, run.Get(t.Context(), &result))
			require.Equal(t, contract.TrainResult{ModelID: "model_1", Status: contract.StatusCompleted, Step: 40}, result)
			require.EqualValues(t, 1, s.launches.Load(), "it went on, and did not begin anew")
		})
	}
}

const pausedAndResumed = "train_paused_and_resumed.json.gz"

// releasesWith are those of which a story is recorded.
func releasesWith(t *testing.T, story string) (versions []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(histories, "*", story))
	require.NoError(t, err)
	for _, file := range files {
		versions = append(versions, filepath.Base(filepath.Dir(file)))
	}
	require.GreaterOrEqual(t, len(versions), 3)
	return versions
}

func read(t *testing.T, name string) *historypb.History {
	t.Helper()
	file, err := os.Open(filepath.Join(histories, name))
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	body, err := gzip.NewReader(file)
	require.NoError(t, err)
	text, err := io.ReadAll(body)
	require.NoError(t, err)
	h := &historypb.History{}
	require.NoError(t, protojson.Unmarshal(text, h))
	return h
}

// until cuts a history before a signal.
func until(t *testing.T, h *historypb.History, signal string) *historypb.History {
	t.Helper()
	for i, event := range h.GetEvents() {
		if event.GetWorkflowExecutionSignaledEventAttributes().GetSignalName() == signal {
			return &historypb.History{Events: h.GetEvents()[:i]}
		}
	}
	require.Fail(t, "the history has no such signal", signal)
	return nil
}
