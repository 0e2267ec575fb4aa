package activities_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/vibeflow/vibeflow/activities"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/hardware"
	"github.com/vibeflow/vibeflow/internal/recommend"
	"github.com/vibeflow/vibeflow/internal/store"
)

// bench is a real database and artifact store, with the activities registered as a worker has them.
type bench struct {
	t         *testing.T
	dir       string
	store     *store.Store
	artifacts *artifact.Store
	control   *activities.Control
	env       *testsuite.TestActivityEnvironment
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	return newBenchWith(t, dir, filepath.Join(dir, "blobs"))
}

// newBenchWith keeps the stored files in a folder that may be on another disk.
func newBenchWith(t *testing.T, dir, blobFolder string) *bench {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	rows, err := store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "app.db"), MasterKey: make([]byte, 32), Logger: log})
	require.NoError(t, err)
	t.Cleanup(func() { _ = rows.Close() })
	blobs, err := artifact.Open(t.Context(), artifact.Options{
		BucketURL: artifact.FolderURL(blobFolder), MasterKey: make([]byte, 32), Index: rows, SpoolDir: dir + "/spool", Logger: log,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = blobs.Close() })
	require.NoError(t, rows.UpsertCatalog(t.Context(), catalog.Rows()))
	control := activities.NewControl(rows, blobs, log)
	suite := testsuite.WorkflowTestSuite{}
	suite.SetLogger(sdklog.NewStructuredLogger(log))
	env := suite.NewTestActivityEnvironment()
	env.SetTestTimeout(30 * time.Second)
	control.Register(env)
	return &bench{t, dir, rows, blobs, control, env}
}

// call runs an activity by its name.
func call[O any](b *bench, name string, in any) (out O, err error) {
	value, err := b.env.ExecuteActivity(name, in)
	if err != nil {
		return out, err
	}
	return out, value.Get(&out)
}

func code(t *testing.T, err error) contract.Code {
	t.Helper()
	var application *temporal.ApplicationError
	require.ErrorAs(t, err, &application)
	return contract.Code(application.Type())
}

// upload makes a dataset of a file.
func (b *bench) upload(name, content string) string {
	b.t.Helper()
	object, err := b.artifacts.Put(b.t.Context(), artifact.PutInput{Reader: strings.NewReader(content), Name: name})
	require.NoError(b.t, err)
	id := contract.NewID(contract.PrefixDataset)
	b.create(contract.KindDataset, id, contract.DatasetCreated{
		ProjectID: store.DefaultProject, Name: name, FileName: name, ObjectID: object.ID, SHA256: object.SHA256, Size: object.Size,
	})
	return id
}

func (b *bench) create(kind contract.Kind, id string, payload any) {
	b.t.Helper()
	_, err := b.store.Create(b.t.Context(), store.Creation{Kind: kind, ID: id, Payload: payload})
	require.NoError(b.t, err)
}

func (b *bench) read(ref *contract.ObjectRef) string {
	b.t.Helper()
	require.NotNil(b.t, ref)
	r, err := b.artifacts.Open(b.t.Context(), ref.ObjectID, 0)
	require.NoError(b.t, err)
	defer func() { _ = r.Close() }()
	content, err := io.ReadAll(r)
	require.NoError(b.t, err)
	return string(content)
}

// objects counts what is stored.
func (b *bench) objects() int {
	b.t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.dir, "blobs", "objects"))
	require.NoError(b.t, err)
	return len(entries)
}

// alpaca is a file of n good rows.
func alpaca(n int) string {
	var lines strings.Builder
	for i := range n {
		body, _ := json.Marshal(map[string]string{"instruction": "Question " + hex.EncodeToString([]byte{byte(i >> 8), byte(i)}), "output": "An answer."})
		lines.Write(append(body, '\n'))
	}
	return lines.String()
}

func TestIngest(t *testing.T) {
	t.Parallel()
	t.Run("a file that was cut off cites its line, and leaves nothing behind", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		id := b.upload("a.jsonl", alpaca(10)+`{"instruction": `)
		before := b.objects()
		_, err := call[contract.DatasetOutput](b, contract.ActivityProfileDataset, contract.DatasetInput{DatasetID: id})
		require.Equal(t, contract.CodeBadData, code(t, err))
		require.ErrorContains(t, err, "line 11")
		_, err = call[contract.DatasetOutput](b, contract.ActivityProcessDataset, contract.DatasetInput{DatasetID: id})
		require.Equal(t, contract.CodeBadData, code(t, err))
		require.Equal(t, before, b.objects())
	})
	t.Run("too many bad rows fail, and the profile shows which", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		id := b.upload("a.jsonl", alpaca(2)+`{"instruction":"q","output":""}`+"\n")
		_, err := call[contract.DatasetOutput](b, contract.ActivityProfileDataset, contract.DatasetInput{DatasetID: id})
		require.Equal(t, contract.CodeBadData, code(t, err))
		row, err := b.store.GetDataset(t.Context(), id)
		require.NoError(t, err)
		require.Contains(t, string(row.Profile), "empty_field")
	})
	t.Run("options that cannot be met leave nothing behind", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		id := b.upload("a.jsonl", alpaca(10))
		before := b.objects()
		_, err := call[contract.DatasetOutput](b, contract.ActivityProcessDataset, contract.DatasetInput{
			DatasetID: id, Options: &contract.ProcessOptions{EvalRows: 10},
		})
		require.Equal(t, contract.CodeInvalid, code(t, err))
		require.Equal(t, before, b.objects())
	})
	t.Run("profiles, then writes encrypted splits whose digests are told", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		id := b.upload("a.jsonl", alpaca(300)+alpaca(5)) // the last five repeat the first
		profiled, err := call[contract.DatasetOutput](b, contract.ActivityProfileDataset, contract.DatasetInput{DatasetID: id})
		require.NoError(t, err)
		require.Equal(t, contract.DatasetOutput{Format: "alpaca", Rows: 305}, profiled)
		out, err := call[contract.DatasetOutput](b, contract.ActivityProcessDataset, contract.DatasetInput{DatasetID: id})
		require.NoError(t, err)
		require.Equal(t, contract.DatasetOutput{Format: "alpaca", Rows: 305, TrainRows: 200, EvalRows: 100}, out)

		row, err := b.store.GetDataset(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, "chat", row.Canonical)
		require.Equal(t, contract.DefaultProcessOptions(), *row.Options)
		require.EqualValues(t, 5, row.Dropped["duplicate"], "why rows are missing")
		require.Equal(t, int64(200), row.TrainRows)
		train := b.read(row.Train)
		require.Equal(t, 200, strings.Count(train, "\n"))
		sum := sha256.Sum256([]byte(train))
		require.Equal(t, hex.EncodeToString(sum[:]), row.Train.SHA256)
		require.Equal(t, 100, strings.Count(b.read(row.Eval), "\n"))
	})
	t.Run("done twice by a retry, the first splits stand and the second are deleted", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		id := b.upload("a.jsonl", alpaca(10))
		for range 2 { // both in the same workflow run
			_, err := call[contract.DatasetOutput](b, contract.ActivityProcessDataset, contract.DatasetInput{DatasetID: id})
			require.NoError(t, err)
		}
		require.Equal(t, 3, b.objects(), "the upload and two splits")
		row, err := b.store.GetDataset(t.Context(), id)
		require.NoError(t, err)
		require.NotEmpty(t, b.read(row.Train))
	})
	t.Run("a dataset that is not there", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		_, err := call[contract.DatasetOutput](b, contract.ActivityProfileDataset, contract.DatasetInput{DatasetID: "ds_none"})
		require.Equal(t, contract.CodeNotFound, code(t, err))
	})
}

func TestRecommend(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.upload("a.jsonl", alpaca(300))
	_, err := call[contract.Recommendation](b, contract.ActivityRecommend, contract.RecommendInput{DatasetID: id})
	require.Equal(t, contract.CodeConflict, code(t, err), "it has not been read")
	_, err = b.control.Recommend(t.Context(), contract.RecommendInput{DatasetID: id})
	require.Equal(t, contract.CodeConflict, contract.CodeOf(err), "the API gets the contract's error")

	_, err = call[contract.DatasetOutput](b, contract.ActivityProfileDataset, contract.DatasetInput{DatasetID: id})
	require.NoError(t, err)
	r, err := call[contract.Recommendation](b, contract.ActivityRecommend, contract.RecommendInput{DatasetID: id})
	require.NoError(t, err)
	require.Equal(t, catalog.Bundled, r.ModelID)
	require.Equal(t, recommend.MethodLoRA, r.Config.Method)

	r, err = call[contract.Recommendation](b, contract.ActivityRecommend, contract.RecommendInput{DatasetID: id, ModelID: "somebody/new"})
	require.NoError(t, err)
	require.Equal(t, "hub:somebody/new", r.ModelID)
	known, err := b.store.GetModel(t.Context(), "hub:somebody/new")
	require.NoError(t, err, "a model named for the first time joins the table")
	require.Equal(t, "hub:somebody/new", known.Ref.Source)

	_, err = call[contract.Recommendation](b, contract.ActivityRecommend, contract.RecommendInput{DatasetID: id, ModelID: "nothing like it"})
	require.Equal(t, contract.CodeInvalid, code(t, err))
}

func TestTrainingGoesOnFromATunedModel(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.upload("a.jsonl", alpaca(300))
	_, err := call[contract.DatasetOutput](b, contract.ActivityProfileDataset, contract.DatasetInput{DatasetID: id})
	require.NoError(t, err)
	made := &contract.Training{Method: "lora", LoRA: contract.LoRA{Rank: 4, Alpha: 8, TargetModules: "q_proj,v_proj"}}
	_, err = b.store.CreateModel(t.Context(), store.Model{ID: "model_tuned", Name: "tuned", BaseModelID: catalog.Bundled, Method: "lora", Config: made})
	require.NoError(t, err)

	r, err := b.control.Recommend(t.Context(), contract.RecommendInput{DatasetID: id, ModelID: "model_tuned"})
	require.NoError(t, err)
	require.Equal(t, "model_tuned", r.ModelID)
	require.Equal(t, made.LoRA, r.Config.LoRA)

	config, err := b.control.Draft(t.Context(), contract.RecommendInput{ModelID: "model_tuned"})
	require.NoError(t, err)
	require.Equal(t, made.LoRA, config.LoRA)
	config.LoRA.Rank = 16
	_, err = b.control.Draft(t.Context(), contract.RecommendInput{ModelID: "model_tuned", Config: &config})
	require.Equal(t, contract.CodeInvalidConfig, contract.CodeOf(err))
}

// machine makes a worker report.
func (b *bench) machine(id, queue string, h hardware.Hardware) {
	b.t.Helper()
	body, err := json.Marshal(h)
	require.NoError(b.t, err)
	require.NoError(b.t, b.store.SaveWorkerReport(b.t.Context(), contract.WorkerReport{ID: id, Boot: "b", Queue: queue, Slots: 1, Hardware: body}))
}

func TestStartStage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create(contract.KindPipeline, "pipe_1", contract.PipelineCreated{ProjectID: store.DefaultProject, Name: "story"})
	in := contract.StartStageInput{
		PipelineID: "pipe_1", Stage: contract.StageTrain, Attempt: 1, DatasetID: "ds_1", ModelID: catalog.Bundled,
		Config: &contract.Training{Method: "lora", MaxLength: 128, Precision: "auto"},
	}
	start := func() contract.StartStageOutput {
		out, err := call[contract.StartStageOutput](b, contract.ActivityStartStage, in)
		require.NoError(t, err)
		return out
	}
	first := start()
	require.Equal(t, contract.QueueCPU, first.Queue)
	b.machine("h/1", "gpu.t4", hardware.Hardware{GPUs: []hardware.GPU{{Name: "Tesla T4", Memory: 15 << 30}}})
	require.Equal(t, first, start(), "a repetition finds what the first try made, on its queue")
	in.Attempt = 2
	second := start()
	require.NotEqual(t, first.ID, second.ID, "a user's retry makes a job of its own")
	require.Equal(t, "gpu.t4", second.Queue)
	job, err := b.store.GetJob(t.Context(), second.ID)
	require.NoError(t, err)
	require.Equal(t, "bundled:smollm2-135m-instruct", job.Model.Source)
	require.Equal(t, "pipe_1", job.PipelineID)
	pending, err := b.store.PendingOutbox(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, pending, "the pipeline starts its stages itself")

	in.Stage, in.JobID, in.ModelID = contract.StageDeploy, second.ID, "model_1"
	require.Equal(t, "gpu.t4.serve", start().Queue)
	in.Stage = contract.StageEvaluate
	evaluation, err := b.store.GetEvaluation(t.Context(), start().ID)
	require.NoError(t, err)
	require.Equal(t, 128, evaluation.Config.MaxLength)

	in.Stage = "dance"
	_, err = call[contract.StartStageOutput](b, contract.ActivityStartStage, in)
	require.Equal(t, contract.CodeInvalid, code(t, err))
}

// trained makes a job that a worker has claimed, and returns its fence.
func (b *bench) trained(method string) (string, store.Fence) {
	b.t.Helper()
	id := contract.NewID(contract.PrefixJob)
	b.create(contract.KindJob, id, contract.JobCreated{
		ProjectID: store.DefaultProject, Name: "mine", ModelID: catalog.Bundled, Config: contract.Training{Method: method},
	})
	run, err := b.store.ClaimRun(b.t.Context(), store.RunClaim{RunID: id, Nonce: "n", ClaimRequest: contract.ClaimRequest{Worker: "h/1/b"}})
	require.NoError(b.t, err)
	return id, store.Fence{RunID: id, Epoch: run.Epoch, Nonce: "n"}
}

// hand stores files for a run and returns the manifest that lists them.
func (b *bench) hand(f store.Fence, kind, name string, step int, files ...string) contract.Manifest {
	b.t.Helper()
	m := contract.Manifest{Kind: kind, Name: name, Step: step}
	for _, file := range files {
		object, err := b.artifacts.Put(b.t.Context(), artifact.PutInput{Reader: strings.NewReader(name + file), Name: file})
		require.NoError(b.t, err)
		ref := contract.ObjectRef{ObjectID: object.ID, SHA256: object.SHA256, Size: object.Size}
		require.NoError(b.t, b.store.AddRunBlob(b.t.Context(), f, ref))
		m.Files = append(m.Files, contract.FileInfo{Path: file, SHA256: object.SHA256, Size: object.Size})
	}
	return m
}

// commit hands in a checkpoint, after the event that tells of it.
func (b *bench) commit(f store.Fence, line int64, m contract.Manifest) {
	b.t.Helper()
	body, err := json.Marshal(map[string]any{"name": m.Name, "step": m.Step})
	require.NoError(b.t, err)
	_, err = b.store.AppendRun(b.t.Context(), store.RunBatch{Fence: f, First: line, Events: []contract.NewEvent{{Type: contract.RunnerCheckpoint, Payload: body}}})
	require.NoError(b.t, err)
	_, err = b.store.CommitCheckpoint(b.t.Context(), f, m)
	require.NoError(b.t, err)
}

var checkpointFiles = []string{
	"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "optimizer.pt", "rng_state.pth", "trainer_state.json", "training_args.bin",
}

func TestRegisterModel(t *testing.T) {
	t.Parallel()
	register := func(b *bench, in contract.RegisterModelInput) (contract.RegisterModelOutput, error) {
		return call[contract.RegisterModelOutput](b, contract.ActivityRegisterModel, in)
	}
	t.Run("a finished job that handed in nothing", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		id, _ := b.trained("lora")
		_, err := register(b, contract.RegisterModelInput{JobID: id})
		require.Equal(t, contract.CodeConflict, code(t, err))
	})
	t.Run("a stopped job without a checkpoint has nothing to keep", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		id, _ := b.trained("lora")
		_, err := register(b, contract.RegisterModelInput{JobID: id, Keep: true})
		require.Equal(t, contract.CodeNotFound, code(t, err))
	})
	t.Run("a checkpoint of state alone is nothing to keep", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		id, f := b.trained("lora")
		b.commit(f, 1, b.hand(f, "checkpoint", "step-00000001", 1, "optimizer.pt"))
		_, err := register(b, contract.RegisterModelInput{JobID: id, Keep: true})
		require.Equal(t, contract.CodeNotFound, code(t, err))
	})
	t.Run("keeps the weights of the newest checkpoint without the optimizer's state", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		id, f := b.trained("qlora")
		b.commit(f, 1, b.hand(f, "checkpoint", "step-00000001", 1, checkpointFiles...))
		b.commit(f, 2, b.hand(f, "checkpoint", "step-00000002", 2, checkpointFiles...))
		out, err := register(b, contract.RegisterModelInput{JobID: id, Keep: true, Checkpoint: "step-00000000"})
		require.NoError(t, err)
		require.Equal(t, 2, out.Step)
		m, err := b.store.GetModel(t.Context(), out.ModelID)
		require.NoError(t, err)
		require.Len(t, m.Files, 3)
		require.Equal(t, "lora", m.Method)
		require.Equal(t, catalog.Bundled, m.BaseModelID)
	})
	t.Run("registers a finished job's artifact once", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		id, f := b.trained("full")
		b.commit(f, 1, b.hand(f, "checkpoint", "step-00000001", 1, checkpointFiles...))
		require.NoError(t, b.store.CommitArtifact(t.Context(), f, b.hand(f, "model", "model", 5, "model.safetensors", "config.json")))
		first, err := register(b, contract.RegisterModelInput{JobID: id})
		require.NoError(t, err)
		again, err := register(b, contract.RegisterModelInput{JobID: id})
		require.NoError(t, err)
		require.Equal(t, first, again)
		m, err := b.store.GetModel(t.Context(), first.ModelID)
		require.NoError(t, err)
		require.Equal(t, "full", m.Method)
		require.Len(t, m.Files, 2)
	})
}

func TestAwaitStatus(t *testing.T) {
	t.Parallel()
	wait := func(b *bench, id string) (contract.AwaitStatusOutput, error) {
		return call[contract.AwaitStatusOutput](b, contract.ActivityAwaitStatus, contract.AwaitStatusInput{Kind: contract.KindDataset, ID: id})
	}
	tell := func(b *bench, id, suffix string, payload any) {
		body, err := json.Marshal(payload)
		require.NoError(t, err)
		_, err = b.store.Append(context.Background(), contract.Stream(contract.KindDataset, id),
			contract.NewEvent{Type: contract.EventType(contract.KindDataset, suffix), Payload: body})
		require.NoError(t, err)
	}
	t.Run("a dataset that failed fails it for good, with the dataset's reason", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		id := b.upload("a.jsonl", alpaca(3))
		tell(b, id, contract.EventFailed, contract.Errorf(contract.CodeUnavailable, "no such luck"))
		_, err := wait(b, id)
		require.Equal(t, contract.CodeUnavailable, code(t, err))
		var application *temporal.ApplicationError
		require.ErrorAs(t, err, &application)
		require.True(t, application.NonRetryable(), "asking again brings the same answer")
	})
	t.Run("is woken by the log", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		id := b.upload("a.jsonl", alpaca(3))
		go tell(b, id, contract.EventCompleted, contract.DatasetOutput{})
		out, err := wait(b, id)
		require.NoError(t, err)
		require.Equal(t, contract.StatusReady, out.Status)
	})
	t.Run("a resource that is not there", func(t *testing.T) {
		t.Parallel()
		_, err := wait(newBench(t), "ds_none")
		require.Equal(t, contract.CodeNotFound, code(t, err))
	})
}

func TestAssembleExport(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := contract.NewID(contract.PrefixExport)
	b.create(contract.KindExport, id, contract.ExportCreated{ProjectID: store.DefaultProject, Format: "adapter"})
	_, err := call[contract.ExportOutput](b, contract.ActivityAssembleExport, contract.RunInput{RunID: id})
	require.Equal(t, contract.CodeConflict, code(t, err))
	run, err := b.store.ClaimRun(t.Context(), store.RunClaim{RunID: id, Nonce: "n"})
	require.NoError(t, err)
	f := store.Fence{RunID: id, Epoch: run.Epoch, Nonce: "n"}
	require.NoError(t, b.store.CommitArtifact(t.Context(), f, b.hand(f, "adapter", "adapter", 1, "adapter_model.safetensors", "README.md")))
	out, err := call[contract.ExportOutput](b, contract.ActivityAssembleExport, contract.RunInput{RunID: id})
	require.NoError(t, err)
	require.Equal(t, 2, out.Files)
	require.Positive(t, out.Bytes)
}

func TestOrphaned(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := func() string {
		id := contract.NewID(contract.PrefixJob)
		b.create(contract.KindJob, id, contract.JobCreated{ProjectID: store.DefaultProject})
		return id
	}
	answer := func(id, signal string) contract.Status {
		workflow := contract.WorkflowID(contract.KindJob, id)
		require.NoError(t, b.control.Orphaned(t.Context(), contract.Signal{WorkflowID: workflow, Name: signal}))
		row, err := b.store.GetJob(t.Context(), id)
		require.NoError(t, err)
		return row.Status
	}
	id := job()
	require.Equal(t, contract.StatusCancelled, answer(id, contract.SignalCancel))
	require.Equal(t, contract.StatusCancelled, answer(id, contract.SignalResume), "what has ended is left alone")
	require.Equal(t, contract.StatusFailed, answer(job(), contract.SignalPause))
	require.NoError(t, b.control.Orphaned(t.Context(), contract.Signal{WorkflowID: "train/job_none", Name: contract.SignalPause}))
	require.NoError(t, b.control.Orphaned(t.Context(), contract.Signal{WorkflowID: "nonsense", Name: contract.SignalPause}))
}

func TestSplitWorkflowID(t *testing.T) {
	t.Parallel()
	for _, kind := range []contract.Kind{
		contract.KindDataset, contract.KindJob, contract.KindEvaluation, contract.KindDeployment, contract.KindExport, contract.KindPipeline,
	} {
		for _, suffix := range []string{"", "/7"} {
			got, id, ok := contract.SplitWorkflowID(contract.WorkflowID(kind, "x_1") + suffix)
			require.True(t, ok)
			require.Equal(t, kind, got)
			require.Equal(t, "x_1", id)
		}
	}
}
