package embedded_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/embedded"
	"github.com/vibeflow/vibeflow/internal/embedded/embeddedtest"
	"github.com/vibeflow/vibeflow/internal/temporalclient"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

var quiet = slog.New(slog.DiscardHandler)

// greet is a trivial workflow with one activity.
func greet(ctx workflow.Context, name string) (string, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	var greeting string
	err := workflow.ExecuteActivity(ctx, makeGreeting, name).Get(ctx, &greeting)
	return greeting, err
}

func makeGreeting(_ context.Context, name string) (string, error) { return "hello " + name, nil }

func startWorker(t *testing.T, c client.Client, queue string, register func(worker.Worker)) {
	t.Helper()
	w := worker.New(c, queue, worker.Options{})
	register(w)
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
}

func TestRunsAWorkflow(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Start(t)
	queue := server.Name(t, "queue")
	startWorker(t, server.Client, queue, func(w worker.Worker) {
		w.RegisterWorkflow(greet)
		w.RegisterActivity(makeGreeting)
	})
	options := client.StartWorkflowOptions{TaskQueue: queue, TypedSearchAttributes: temporal.NewSearchAttributes(
		temporal.NewSearchAttributeKeyKeyword(contract.SearchAttributeProject).ValueSet("proj_1"),
		temporal.NewSearchAttributeKeyKeyword(contract.SearchAttributeStage).ValueSet("train"),
		temporal.NewSearchAttributeKeyKeyword(contract.SearchAttributeBaseModel).ValueSet("tiny"),
	)}
	run, err := server.Client.ExecuteWorkflow(t.Context(), options, greet, "world")
	require.NoError(t, err)
	var greeting string
	require.NoError(t, run.Get(t.Context(), &greeting))
	require.Equal(t, "hello world", greeting)
}

func TestNamespaceKeepsHistoriesForAMonth(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Start(t)
	got, err := server.Client.WorkflowService().DescribeNamespace(t.Context(),
		&workflowservice.DescribeNamespaceRequest{Namespace: contract.Namespace})
	require.NoError(t, err)
	require.Equal(t, 30*24*time.Hour, got.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration())
}

// A pause must not wait for the next heartbeat: the server pushes the cancellation.
func TestCancellationReachesAnActivityAtOnce(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Start(t)
	queue := server.Name(t, "queue")
	started, stopped := make(chan struct{}), make(chan time.Time, 1)
	wait := func(ctx context.Context) error {
		activity.RecordHeartbeat(ctx)
		close(started)
		<-ctx.Done() // no further heartbeat is sent
		stopped <- time.Now()
		return ctx.Err()
	}
	hold := func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: time.Minute, HeartbeatTimeout: 50 * time.Second, WaitForCancellation: true,
			RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1},
		})
		return workflow.ExecuteActivity(ctx, "wait").Get(ctx, nil)
	}
	startWorker(t, server.Client, queue, func(w worker.Worker) {
		w.RegisterWorkflowWithOptions(hold, workflow.RegisterOptions{Name: "hold"})
		w.RegisterActivityWithOptions(wait, activity.RegisterOptions{Name: "wait"})
	})
	run, err := server.Client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: queue}, "hold")
	require.NoError(t, err)
	<-started
	cancelled := time.Now()
	require.NoError(t, server.Client.CancelWorkflow(t.Context(), run.GetID(), run.GetRunID()))
	select {
	case at := <-stopped:
		t.Logf("cancelled after %s", at.Sub(cancelled))
	case <-time.After(15 * time.Second):
		t.Fatal("the activity did not hear of its cancellation; without the push it would at the next heartbeat")
	}
	require.Error(t, run.Get(t.Context(), nil))
}

func TestCallersWithoutTheTokenAreRefused(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Start(t)
	conn, err := grpc.NewClient(server.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	var denied *serviceerror.PermissionDenied

	frontend := workflowservice.NewWorkflowServiceClient(conn)
	for name, call := range map[string]func() error{
		"ListNamespaces": func() error {
			_, err := frontend.ListNamespaces(t.Context(), &workflowservice.ListNamespacesRequest{})
			return err
		},
		"GetSystemInfo": func() error {
			_, err := frontend.GetSystemInfo(t.Context(), &workflowservice.GetSystemInfoRequest{})
			return err
		},
		"ListSearchAttributes": func() error {
			_, err := operatorservice.NewOperatorServiceClient(conn).ListSearchAttributes(t.Context(),
				&operatorservice.ListSearchAttributesRequest{Namespace: contract.Namespace})
			return err
		},
	} {
		require.ErrorAs(t, serviceerror.FromStatus(grpcStatus(call())), &denied, name)
	}
	_, err = healthpb.NewHealthClient(conn).Check(t.Context(),
		&healthpb.HealthCheckRequest{Service: "temporal.api.workflowservice.v1.WorkflowService"})
	require.NoError(t, err, "health may be asked by everybody")

	_, err = temporalclient.Dial(t.Context(), temporalclient.Options{Address: server.Address, Token: "wrong", Logger: quiet})
	require.Equal(t, contract.CodeUnauthenticated, contract.CodeOf(err))
}

// The services behind the frontend have no token check of their own; they want this process's certificate.
// Not parallel: it looks at every port of the process, and other tests' servers would answer.
func TestInnerServicesSpeakToNobodyElse(t *testing.T) {
	server := embeddedtest.Start(t)
	ports := listeningPorts(t)
	require.GreaterOrEqual(t, len(ports), 5, "frontend, internal frontend, history, matching, UI")
	answered := 0
	for _, port := range ports {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if address == server.Address || "http://"+address+embedded.UIPath == server.UI {
			continue
		}
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}); err == nil {
			answered++
		}
		cancel()
		_ = conn.Close()
	}
	require.Zero(t, answered, "an inner service answered without TLS")
}

func TestUIShowsNothingWithoutTheToken(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Start(t)
	get := func(path, authorization string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.UI+path, nil)
		require.NoError(t, err)
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(body)
	}
	for _, authorization := range []string{"", "Bearer wrong"} {
		status, body := get("/api/v1/namespaces", authorization)
		require.Equal(t, http.StatusForbidden, status, body)
		require.NotContains(t, body, contract.Namespace+`"`)
	}
	status, body := get("/api/v1/namespaces", "Bearer "+server.Token)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"`+contract.Namespace+`"`)

	status, body = get("/namespaces/vibeflow/workflows", "")
	require.Equal(t, http.StatusOK, status, "pages are static")
	require.Contains(t, body, "<html")
}

func TestRestartKeepsRuns(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	id := "keep/me"
	first := boot(t, dir, embedded.Options{})
	_, err := first.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: "kept"}, "greet", "again")
	require.NoError(t, err)
	stopping := time.Now()
	first.stop(t)
	require.Less(t, time.Since(stopping), 5*time.Second)
	_, err = dir.Endpoints()
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err), "a stopped server withdraws its address")

	began := time.Now()
	second := boot(t, dir, embedded.Options{})
	t.Logf("warm start in %s", time.Since(began))
	require.Equal(t, first.at, second.at, "others find it where it was")
	described, err := second.client.DescribeWorkflowExecution(t.Context(), id, "")
	require.NoError(t, err)
	require.Equal(t, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, described.GetWorkflowExecutionInfo().GetStatus())
	startWorker(t, second.client, "kept", func(w worker.Worker) {
		w.RegisterWorkflow(greet)
		w.RegisterActivity(makeGreeting)
	})
	var greeting string
	require.NoError(t, second.client.GetWorkflow(t.Context(), id, "").Get(t.Context(), &greeting))
	require.Equal(t, "hello again", greeting)
}

func TestSecondOwnerIsRefused(t *testing.T) {
	t.Parallel()
	server := embeddedtest.Start(t)
	err := embedded.New(embedded.Options{DataDir: server.DataDir, Logger: quiet}).Run(t.Context())
	require.Equal(t, contract.CodeInUse, contract.CodeOf(err))
	require.ErrorContains(t, err, strconv.Itoa(os.Getpid()))
}

func TestBusyPortIsRefusedByName(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	port := taken.Addr().(*net.TCPAddr).Port
	for flag, options := range map[string]embedded.Options{
		"--port":    {FrontendPort: port},
		"--ui-port": {UIPort: port},
	} {
		options.DataDir, options.Logger, options.AnyPorts = openDir(t), quiet, true
		err = embedded.New(options).Run(t.Context())
		require.Equal(t, contract.CodeInUse, contract.CodeOf(err), flag)
		require.ErrorContains(t, err, fmt.Sprintf("port %d", port))
		require.ErrorContains(t, err, flag)
	}
}

func TestDatabaseOfAnotherReleaseIsRefused(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	boot(t, dir, embedded.Options{}).stop(t)
	stamp := filepath.Join(dir.TemporalDir(), "version.json")
	content, err := os.ReadFile(stamp)
	require.NoError(t, err)
	var current struct{ Server string }
	require.NoError(t, json.Unmarshal(content, &current))

	for _, other := range []string{`{"server":"1.2.3"}`, `{"server":"99.0.0"}`, `{"server":""}`, `nonsense`} {
		require.NoError(t, os.WriteFile(stamp, []byte(other), 0o600))
		err := embedded.New(embedded.Options{DataDir: dir, Logger: quiet, AnyPorts: true}).Run(t.Context())
		require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err), other)
		require.ErrorContains(t, err, "restore")
	}
}

func openDir(t *testing.T) *datadir.Dir {
	t.Helper()
	dir, err := datadir.Open(filepath.Join(t.TempDir(), "data"))
	require.NoError(t, err)
	return dir
}

// booted is an embedded server of one test.
type booted struct {
	client client.Client
	at     datadir.Endpoints
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // once ended is closed
}

func boot(t *testing.T, dir *datadir.Dir, options embedded.Options) *booted {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b := &booted{cancel: cancel, ended: make(chan struct{})}
	ready := make(chan datadir.Endpoints, 1)
	options.DataDir, options.Logger, options.AnyPorts = dir, quiet, true
	options.Ready = func(at datadir.Endpoints) { ready <- at }
	go func() {
		defer close(b.ended)
		b.err = embedded.New(options).Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-b.ended })
	select {
	case b.at = <-ready:
	case <-b.ended:
		t.Fatalf("server ended: %v", b.err)
	}
	token, err := dir.Token(datadir.SecretTemporalToken)
	require.NoError(t, err)
	b.client, err = temporalclient.Dial(t.Context(), temporalclient.Options{Address: b.at.TemporalAddress, Token: token, Logger: quiet})
	require.NoError(t, err)
	t.Cleanup(b.client.Close)
	return b
}

func (b *booted) stop(t *testing.T) {
	t.Helper()
	b.client.Close()
	b.cancel()
	<-b.ended
	require.NoError(t, b.err)
}
