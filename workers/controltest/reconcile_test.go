package controltest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/store"
)

// known makes a resource that Temporal has never heard of: its database is older, or new.
func (s *site) known(kind contract.Kind, prefix string, payload any, then ...contract.NewEvent) (id string) {
	s.t.Helper()
	id = contract.NewID(prefix)
	_, err := s.store.Create(s.t.Context(), store.Creation{Kind: kind, ID: id, Payload: payload})
	require.NoError(s.t, err)
	if len(then) > 0 {
		_, err = s.store.Append(s.t.Context(), contract.Stream(kind, id), then...)
		require.NoError(s.t, err)
	}
	return id
}

func event(kind contract.Kind, suffix, payload string) contract.NewEvent {
	return contract.NewEvent{Type: contract.EventType(kind, suffix), Payload: []byte(payload)}
}

// TestWhatTemporalDoesNotKnowGoesOn: Temporal's database is older than the application's, or was begun anew. What is not over
// goes on from where it stands, under the same id, and does what it is told.
func TestWhatTemporalDoesNotKnowGoesOn(t *testing.T) {
	s := newSite(t)
	object, err := s.artifacts.Put(t.Context(), artifact.PutInput{Reader: strings.NewReader(rows(40)), Name: "a.jsonl"})
	require.NoError(t, err)
	dataset := s.known(contract.KindDataset, contract.PrefixDataset, contract.DatasetCreated{ProjectID: store.DefaultProject, Name: "a",
		FileName: "a.jsonl", ObjectID: object.ID, SHA256: object.SHA256, Size: object.Size}, event(contract.KindDataset, contract.EventStarted, `{}`))
	nobody := s.queue + ".nobody"
	job := contract.JobCreated{ProjectID: store.DefaultProject, Name: "j", Queue: nobody}
	queued := s.known(contract.KindJob, contract.PrefixJob, job)
	paused := s.known(contract.KindJob, contract.PrefixJob, job, event(contract.KindJob, contract.EventPaused, `{"step":30}`))
	cancelling := s.known(contract.KindJob, contract.PrefixJob, job, event(contract.KindJob, contract.EventCancelRequested, `{}`))
	over := s.known(contract.KindJob, contract.PrefixJob, job, event(contract.KindJob, contract.EventCancelled, `{}`))
	deployment := s.known(contract.KindDeployment, contract.PrefixDeployment, contract.DeploymentCreated{ProjectID: store.DefaultProject, Queue: nobody})
	pipeline := s.known(contract.KindPipeline, contract.PrefixPipeline, contract.PipelineCreated{ProjectID: store.DefaultProject})

	stop := s.serve(s.store)
	s.until(contract.KindDataset, dataset, contract.EventCompleted)
	s.jobIs(cancelling, contract.StatusCancelled)
	s.until(contract.KindJob, queued, contract.EventQueued)
	require.Eventually(t, func() bool { return s.count(contract.KindJob, paused, contract.EventPaused) == 2 }, 20*time.Second, 10*time.Millisecond)
	require.Zero(t, s.count(contract.KindJob, paused, contract.EventQueued), "a paused job takes no slot meanwhile")
	row, err := s.store.GetJob(t.Context(), paused)
	require.NoError(t, err)
	require.Equal(t, 30, row.Step)
	s.until(contract.KindPipeline, pipeline, contract.EventFailed)
	s.until(contract.KindDeployment, deployment, contract.EventQueued)
	_, err = s.client.DescribeWorkflowExecution(t.Context(), contract.WorkflowID(contract.KindJob, over), "")
	require.Error(t, err, "what is over stays over")

	stop() // a second start finds all of it under way
	defer s.serve(s.store)()
	s.ask(contract.KindJob, paused, contract.EventResumeRequested, contract.SignalResume)
	s.until(contract.KindJob, paused, contract.EventQueued)
	for _, id := range []string{queued, paused} {
		s.ask(contract.KindJob, id, contract.EventCancelRequested, contract.SignalCancel)
		s.jobIs(id, contract.StatusCancelled)
		require.Equal(t, 1, s.count(contract.KindJob, id, contract.EventQueued), "one workflow drives it")
	}
	s.ask(contract.KindDeployment, deployment, contract.EventStopRequested, contract.SignalStop)
	s.deploymentIs(deployment, contract.StatusStopped)
	s.drained()
}

// TestWhatHasEndedIsClosed: after a restore Temporal's copy may still drive what the application knows to be over.
func TestWhatHasEndedIsClosed(t *testing.T) {
	s := newSite(t)
	s.restored = true
	nobody := s.queue + ".nobody"
	job := contract.JobCreated{ProjectID: store.DefaultProject, Name: "j", Queue: nobody}
	over := s.known(contract.KindJob, contract.PrefixJob, job, event(contract.KindJob, contract.EventCancelled, `{}`))
	live := s.known(contract.KindJob, contract.PrefixJob, job)
	gone := contract.NewID(contract.PrefixJob) // deleted since
	for _, id := range []string{over, live, gone} {
		_, err := s.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: contract.WorkflowID(contract.KindJob, id), TaskQueue: nobody},
			contract.WorkflowTrain, contract.TrainInput{JobID: id, Queue: nobody})
		require.NoError(t, err)
	}
	defer s.serve(s.store)()
	status := func(id string) enums.WorkflowExecutionStatus {
		described, err := s.client.DescribeWorkflowExecution(t.Context(), contract.WorkflowID(contract.KindJob, id), "")
		require.NoError(t, err)
		return described.GetWorkflowExecutionInfo().GetStatus()
	}
	for _, id := range []string{over, gone} {
		require.Eventually(t, func() bool { return status(id) == enums.WORKFLOW_EXECUTION_STATUS_TERMINATED }, 20*time.Second, 50*time.Millisecond)
	}
	require.Equal(t, enums.WORKFLOW_EXECUTION_STATUS_RUNNING, status(live))
	require.NoError(t, s.client.TerminateWorkflow(t.Context(), contract.WorkflowID(contract.KindJob, live), "", "the test ends"))
}
