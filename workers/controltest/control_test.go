package controltest

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/vibeflow/vibeflow/activities"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/embedded/embeddedtest"
	"github.com/vibeflow/vibeflow/internal/store"
	"github.com/vibeflow/vibeflow/workers"
	"github.com/vibeflow/vibeflow/workflows"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// site is a server's data: what outlives its processes.
type site struct {
	t         *testing.T
	dir       string
	client    client.Client
	store     *store.Store
	artifacts *artifact.Store
	queue     string
	instance  string
	restored  bool
}

func newSite(t *testing.T) *site {
	t.Helper()
	server, dir, log := embeddedtest.Start(t), t.TempDir(), slog.New(slog.DiscardHandler)
	rows, err := store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "app.db"), MasterKey: make([]byte, 32), Logger: log})
	require.NoError(t, err)
	t.Cleanup(func() { _ = rows.Close() })
	blobs, err := artifact.Open(t.Context(), artifact.Options{
		BucketURL: "file://" + dir + "/blobs", MasterKey: make([]byte, 32), Index: rows, SpoolDir: dir + "/spool", Logger: log,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = blobs.Close() })
	require.NoError(t, rows.UpsertCatalog(t.Context(), catalog.Rows()))
	return &site{t: t, dir: dir, client: server.Client, store: rows, artifacts: blobs, queue: server.Name(t, "queue"), instance: "control-" + contract.NewID("")}
}

// serve runs a control worker until stop is called.
func (s *site) serve(outbox workers.Outbox) (stop func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	log := slog.New(slog.DiscardHandler)
	go func() {
		ended <- workers.RunControl(ctx, workers.ControlConfig{
			Client: s.client, Outbox: outbox, Line: s.store, Ledger: s.store, Restored: s.restored, Closing: 2 * time.Second, Activities: activities.NewControl(s.store, s.artifacts, log), Logger: log,
			Queue: s.queue, Instance: s.instance, Ready: func() { close(ready) },
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		require.NoError(s.t, err)
	case <-time.After(30 * time.Second):
		require.Fail(s.t, "the control worker did not start")
	}
	return func() {
		cancel()
		require.NoError(s.t, <-ended)
	}
}

// upload makes a dataset and asks for its ingest, as the API does: in one transaction.
func (s *site) upload(content string) (id string) {
	s.t.Helper()
	object, err := s.artifacts.Put(s.t.Context(), artifact.PutInput{Reader: strings.NewReader(content), Name: "a.jsonl"})
	require.NoError(s.t, err)
	id = contract.NewID(contract.PrefixDataset)
	s.create(contract.KindDataset, id, contract.DatasetCreated{
		ProjectID: store.DefaultProject, Name: "a", FileName: "a.jsonl", ObjectID: object.ID, SHA256: object.SHA256, Size: object.Size,
	}, contract.WorkflowIngest, contract.IngestInput{DatasetID: id})
	return id
}

func (s *site) create(kind contract.Kind, id string, payload any, workflow string, in any) {
	s.t.Helper()
	body, err := json.Marshal(in)
	require.NoError(s.t, err)
	_, err = s.store.Create(s.t.Context(), store.Creation{Kind: kind, ID: id, Payload: payload, Start: &contract.Start{
		Workflow: workflow, ID: contract.WorkflowID(kind, id), Queue: contract.QueueControl, Input: body,
		Summary: "a test", Project: store.DefaultProject, Model: catalog.Bundled,
	}})
	require.NoError(s.t, err)
}

// until waits, woken by the log, until the stream has an event of the suffix, and returns how many.
func (s *site) until(kind contract.Kind, id, suffix string) int {
	s.t.Helper()
	wake, release := s.store.Subscribe(contract.Stream(kind, id))
	defer release()
	patience := time.After(30 * time.Second)
	for {
		if n := s.count(kind, id, suffix); n > 0 {
			return n
		}
		select {
		case <-wake:
		case <-patience:
			require.Fail(s.t, "it never came", "%s.%s", kind, suffix)
		}
	}
}

func (s *site) count(kind contract.Kind, id, suffix string) (n int) {
	s.t.Helper()
	events, err := s.store.EventsAfter(s.t.Context(), contract.Stream(kind, id), 0, 0)
	require.NoError(s.t, err)
	for _, event := range events {
		if event.Type == contract.EventType(kind, suffix) {
			n++
		}
	}
	return n
}

func rows(n int) string {
	var lines strings.Builder
	for i := range n {
		body, _ := json.Marshal(map[string]string{"instruction": strings.Repeat("q", i+1), "output": "an answer"})
		lines.Write(append(body, '\n'))
	}
	return lines.String()
}

// TestIngest goes the whole way: the database's row, the outbox, the workflow, its activities, the log, the row again.
func TestIngest(t *testing.T) {
	s := newSite(t)
	defer s.serve(s.store)()
	good, bad := s.upload(rows(40)), s.upload("{\"instruction\": 1\n")
	s.until(contract.KindDataset, good, contract.EventCompleted)
	row, err := s.store.GetDataset(t.Context(), good)
	require.NoError(t, err)
	require.Equal(t, contract.StatusReady, row.Status)
	require.Equal(t, int64(32), row.TrainRows)

	s.until(contract.KindDataset, bad, contract.EventFailed)
	row, err = s.store.GetDataset(t.Context(), bad)
	require.NoError(t, err)
	require.Equal(t, contract.StatusFailed, row.Status)
	require.Equal(t, contract.CodeBadData, row.Error.Code)
	require.Contains(t, row.Error.Message, "line 1")

	require.NoError(t, s.client.GetWorkflow(t.Context(), contract.WorkflowID(contract.KindDataset, good), "").Get(t.Context(), nil))
	described, err := s.client.DescribeWorkflowExecution(t.Context(), contract.WorkflowID(contract.KindDataset, good), "")
	require.NoError(t, err)
	attributes := described.GetWorkflowExecutionInfo().GetSearchAttributes().GetIndexedFields()
	require.Equal(t, `"ready"`, string(attributes[contract.SearchAttributeStage].GetData()))
	require.Equal(t, `"`+catalog.Bundled+`"`, string(attributes[contract.SearchAttributeBaseModel].GetData()))
}

// crashing is an outbox whose process dies between Temporal's answer and the mark.
type crashing struct {
	*store.Store
	deliveries atomic.Int32
	died       chan struct{}
}

// MarkDelivered dies.
func (c *crashing) MarkDelivered(ctx context.Context, _ int64) error {
	if c.deliveries.Add(1) == 1 {
		close(c.died)
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestACrashBetweenDeliveryAndMarkStartsOnce(t *testing.T) {
	s := newSite(t)
	id := s.upload(rows(40))
	doomed := &crashing{Store: s.store, died: make(chan struct{})}
	stop := s.serve(doomed)
	<-doomed.died
	stop()
	pending, err := s.store.PendingOutbox(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, pending, 1, "the entry is still there")

	defer s.serve(s.store)()
	require.Equal(t, 1, s.until(contract.KindDataset, id, contract.EventCompleted))
	s.drained()
	require.Equal(t, 1, s.count(contract.KindDataset, id, contract.EventStarted), "one workflow was started")
}

// drained waits until the outbox is empty.
func (s *site) drained() {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		pending, err := s.store.PendingOutbox(context.Background(), 10)
		return err == nil && len(pending) == 0
	}, 20*time.Second, 10*time.Millisecond)
}

// TestADatasetIsProcessedAnewUnderItsID: an ID that an earlier, ended life of the resource has used is free again.
func TestADatasetIsProcessedAnewUnderItsID(t *testing.T) {
	s := newSite(t)
	defer s.serve(s.store)()
	id := s.upload(rows(40))
	s.until(contract.KindDataset, id, contract.EventCompleted)
	body, err := json.Marshal(contract.IngestInput{DatasetID: id, Options: &contract.ProcessOptions{EvalRows: 5}})
	require.NoError(t, err)
	_, err = s.store.Command(t.Context(), store.Command{
		Kind: contract.KindDataset, ID: id,
		Event: contract.NewEvent{Type: contract.EventType(contract.KindDataset, contract.EventQueued)},
		Start: &contract.Start{Workflow: contract.WorkflowIngest, ID: contract.WorkflowID(contract.KindDataset, id), Input: body},
	})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.count(contract.KindDataset, id, contract.EventCompleted) == 2 }, 20*time.Second, 10*time.Millisecond)
	row, err := s.store.GetDataset(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, int64(5), row.EvalRows)
}

// TestAWishWhoseWorkflowIsGoneIsGranted: an operator terminated the workflow by hand; its resource must not wait for ever.
func TestAWishWhoseWorkflowIsGoneIsGranted(t *testing.T) {
	s := newSite(t)
	defer s.serve(s.store)()
	id := contract.NewID(contract.PrefixDeployment)
	s.create(contract.KindDeployment, id, contract.DeploymentCreated{ProjectID: store.DefaultProject, Queue: s.queue + ".nobody"},
		contract.WorkflowDeploy, contract.DeployInput{DeploymentID: id, Queue: s.queue + ".nobody"})
	s.until(contract.KindDeployment, id, contract.EventQueued)
	require.NoError(t, s.client.TerminateWorkflow(t.Context(), contract.WorkflowID(contract.KindDeployment, id), "", "by hand"))
	s.ask(contract.KindDeployment, id, contract.EventStopRequested, contract.SignalStop)
	s.deploymentIs(id, contract.StatusStopped)
	s.drained()
}

// TestTheSweepTakesOverAtOnce: an activity that an earlier start of this server held runs again long before its heartbeat
// timeout of a minute.
func TestTheSweepTakesOverAtOnce(t *testing.T) {
	s := newSite(t)
	host, err := os.Hostname()
	require.NoError(t, err)
	dead := host + "/" + s.instance + "/earlier"
	id := contract.NewID(contract.PrefixDataset)
	_, err = s.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: contract.WorkflowID(contract.KindDataset, id), TaskQueue: s.queue},
		contract.WorkflowIngest, contract.IngestInput{DatasetID: id})
	require.NoError(t, err)
	object, err := s.artifacts.Put(t.Context(), artifact.PutInput{Reader: strings.NewReader(rows(40)), Name: "a.jsonl"})
	require.NoError(t, err)
	_, err = s.store.Create(t.Context(), store.Creation{Kind: contract.KindDataset, ID: id, Payload: contract.DatasetCreated{
		ProjectID: store.DefaultProject, FileName: "a.jsonl", ObjectID: object.ID, Size: object.Size,
	}})
	require.NoError(t, err)

	stop := s.serveWorkflowsOnly()
	s.until(contract.KindDataset, id, contract.EventStarted)
	s.takeAndDie(dead)
	stop()

	began := time.Now()
	defer s.serve(s.store)()
	s.until(contract.KindDataset, id, contract.EventCompleted)
	require.Less(t, time.Since(began), 20*time.Second)
}

// serveWorkflowsOnly runs a worker that decides but takes no activity (local ones aside, which record the decisions).
func (s *site) serveWorkflowsOnly() (stop func()) {
	s.t.Helper()
	w := worker.New(s.client, s.queue, worker.Options{LocalActivityWorkerOnly: true})
	workflows.Register(w)
	activities.NewControl(s.store, s.artifacts, slog.New(slog.DiscardHandler)).Register(w)
	require.NoError(s.t, w.Start())
	return w.Stop
}

// takeAndDie polls an activity under an identity and never answers.
func (s *site) takeAndDie(identity string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	task, err := s.client.WorkflowService().PollActivityTaskQueue(ctx, &workflowservice.PollActivityTaskQueueRequest{
		Namespace: contract.Namespace, TaskQueue: &taskqueuepb.TaskQueue{Name: s.queue, Kind: enums.TASK_QUEUE_KIND_NORMAL}, Identity: identity,
	})
	require.NoError(s.t, err)
	require.NotEmpty(s.t, task.GetTaskToken(), "no activity was handed out")
}
