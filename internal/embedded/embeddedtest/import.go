package embeddedtest

import (
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/server/api/adminservice/v1"
	historyspb "go.temporal.io/server/api/history/v1"
	"go.temporal.io/server/common/persistence/serialization"
	"go.temporal.io/server/common/persistence/versionhistory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/vibeflow/vibeflow/contract"
)

// Import makes a run of a history that another server recorded, as if it had happened here: what was open in it is open,
// and goes on with the workers that poll its queues. id is the workflow's; the run's ID is the history's own.
func (temporal *Temporal) Import(t testing.TB, id string, history *historypb.History) {
	t.Helper()
	conn, err := grpc.NewClient(temporal.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	versions := &historyspb.VersionHistory{}
	var batches []*commonpb.DataBlob
	for _, events := range transactions(history.GetEvents()) {
		for _, event := range events {
			require.NoError(t, versionhistory.AddOrUpdateVersionHistoryItem(versions, versionhistory.NewVersionHistoryItem(event.GetEventId(), event.GetVersion())))
		}
		blob, err := serialization.NewSerializer().SerializeEvents(events)
		require.NoError(t, err)
		batches = append(batches, blob)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+temporal.Token)
	request := &adminservice.ImportWorkflowExecutionRequest{
		Namespace: contract.Namespace, HistoryBatches: batches, VersionHistory: versions,
		Execution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: history.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes().GetOriginalExecutionRunId()},
	}
	admin := adminservice.NewAdminServiceClient(conn)
	for { // a token is for the next page; the call without events ends the import
		response, err := admin.ImportWorkflowExecution(ctx, request)
		require.NoError(t, err)
		if request.Token = response.GetToken(); len(request.Token) == 0 {
			return
		}
		request.HistoryBatches = nil
	}
}

// transactions are the events that a server wrote together: those of a workflow task's commands stand with its end.
func transactions(events []*historypb.HistoryEvent) (batches [][]*historypb.HistoryEvent) {
	for _, event := range events {
		last := len(batches) - 1
		if last >= 0 && commandOf(event) != 0 && commandOf(event) == batches[last][0].GetEventId() {
			batches[last] = append(batches[last], event)
			continue
		}
		batches = append(batches, []*historypb.HistoryEvent{event})
	}
	return batches
}

// commandOf is the workflow task that an event was a command of.
func commandOf(event *historypb.HistoryEvent) int64 {
	for _, of := range []interface{ GetWorkflowTaskCompletedEventId() int64 }{
		event.GetMarkerRecordedEventAttributes(), event.GetActivityTaskScheduledEventAttributes(), event.GetTimerStartedEventAttributes(),
		event.GetUpsertWorkflowSearchAttributesEventAttributes(), event.GetActivityTaskCancelRequestedEventAttributes(), event.GetTimerCanceledEventAttributes(),
	} {
		if id := of.GetWorkflowTaskCompletedEventId(); id != 0 {
			return id
		}
	}
	return 0
}
