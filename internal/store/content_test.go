package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/seal"
)

const marker = "zebra-marmalade"

// tellEverything writes what users upload and say to every place that has some of it.
func tellEverything(t *testing.T, s *Store) {
	t.Helper()
	said := "they said " + marker
	failure := &contract.Error{Code: contract.CodeBadData, Message: said, Field: said, Remedy: said, Detail: said}
	create(t, s, contract.KindDataset, "ds_1", contract.DatasetCreated{Name: "d", ObjectID: "o", Size: 9})
	add(t, s, "dataset/ds_1", ev("dataset.started", struct{}{}),
		ev("dataset.progress", contract.Progress{Phase: "read", Note: said}),
		ev("dataset.profiled", map[string]any{"format": "alpaca", "rows": 12, "columns": []string{said}, "preview": []any{map[string]any{"raw": said}}}),
		ev("dataset.processed", contract.DatasetProcessed{Canonical: "chat", TrainRows: 10, EvalRows: 2, Train: &contract.ObjectRef{ObjectID: "t"}}),
		ev("dataset.completed", contract.DatasetOutput{Format: "alpaca", Rows: 12, TrainRows: 10, EvalRows: 2}))
	create(t, s, contract.KindDataset, "ds_2", contract.DatasetCreated{Name: "e", ObjectID: "p", Size: 9})
	add(t, s, "dataset/ds_2", ev("dataset.failed", failure))

	create(t, s, contract.KindJob, "job_1", contract.JobCreated{Name: "j", DatasetID: "ds_1", Queue: "cpu",
		Model: contract.ModelRef{Source: "hub:o/n", Token: said}})
	run, err := s.ClaimRun(t.Context(), RunClaim{RunID: "job_1", Nonce: "n", ClaimRequest: contract.ClaimRequest{Worker: "w"}})
	require.NoError(t, err)
	lines := []contract.NewEvent{
		ev("runner.log", map[string]any{"n": 1, "level": "warn", "message": said}),
		ev("runner.progress", map[string]any{"n": 2, "phase": "load", "note": said}),
		ev("runner.metrics", map[string]any{"n": 3, "step": 1, "loss": 2.5}),
		ev("runner.checkpoint", map[string]any{"n": 4, "name": "step-00000001", "step": 1}),
		ev("runner.progress", map[string]any{"n": 5, "phase": "save", "note": said}),
	}
	fence := Fence{RunID: "job_1", Epoch: run.Epoch}
	_, err = s.AppendRun(t.Context(), RunBatch{Fence: fence, First: 1, Events: lines})
	require.NoError(t, err)
	require.NoError(t, s.SaveResult(t.Context(), fence, contract.RunResult{RunID: "job_1", Epoch: 1, Outcome: contract.OutcomeFailed, Error: failure}))
	add(t, s, "job/job_1", ev("job.paused", contract.Paused{Step: 1, Error: failure}))
	create(t, s, contract.KindJob, "job_2", contract.JobCreated{Name: "k"})
	add(t, s, "job/job_2", ev("job.completed", map[string]any{"model_id": "m", "metrics": map[string]any{"note": said}}))

	create(t, s, contract.KindEvaluation, "eval_1", contract.EvaluationCreated{JobID: "job_2", ModelID: "m"})
	_, err = s.ClaimRun(t.Context(), RunClaim{RunID: "eval_1", Nonce: "n", ClaimRequest: contract.ClaimRequest{Worker: "w"}})
	require.NoError(t, err)
	measured, err := json.Marshal(contract.EvaluationResult{Rows: 2, VerdictText: said,
		Samples: []contract.EvaluationSample{{Prompt: said, Reference: said, AnswerBase: said, AnswerTuned: said}}})
	require.NoError(t, err)
	require.NoError(t, s.SaveResult(t.Context(), Fence{RunID: "eval_1", Epoch: 1},
		contract.RunResult{RunID: "eval_1", Epoch: 1, Outcome: contract.OutcomeCompleted, Metrics: measured}))

	create(t, s, contract.KindDeployment, "dep_1", contract.DeploymentCreated{ModelID: "m", Queue: "serve.cpu"})
	add(t, s, "deployment/dep_1", ev("deployment.serving", contract.Serving{Worker: "w", URL: "http://127.0.0.1:1", Token: said, Name: "a"}))
	create(t, s, contract.KindExport, "exp_1", contract.ExportCreated{ModelID: "m", Format: "adapter"})
	add(t, s, "export/exp_1", ev("export.failed", failure))
	create(t, s, contract.KindPipeline, "pipe_1", contract.PipelineCreated{Name: "p", Request: contract.PipelineRequest{DatasetID: "ds_1", Goal: said}})
	add(t, s, "pipeline/pipe_1",
		ev("pipeline.proposed", contract.Recommendation{ModelID: "m", Reasons: []contract.Reason{{Field: "r", Reason: said}}}),
		ev("pipeline.confirmed", contract.ConfirmRequest{ModelID: said}),
		ev("pipeline.stage", contract.StageChanged{Stage: "train", Status: contract.StatusFailed, ID: "job_1", Error: failure}),
		ev("pipeline.failed", failure))
}

// everything is what a store tells of tellEverything.
func everything(t *testing.T, s *Store) string {
	t.Helper()
	all := map[string]any{}
	keep := func(name string, v any, err error) {
		require.NoError(t, err)
		all[name] = v
	}
	for _, id := range []string{"ds_1", "ds_2"} {
		d, err := s.GetDataset(t.Context(), id)
		keep(id, []any{d, d.Train, d.ObjectID}, err)
	}
	for _, id := range []string{"job_1", "job_2"} {
		j, err := s.GetJob(t.Context(), id)
		keep(id, []any{j, j.Model}, err)
		curves, err := s.Metrics(t.Context(), id, 0)
		keep(id+" curves", curves, err)
	}
	v, err := s.GetEvaluation(t.Context(), "eval_1")
	keep("eval_1", v, err)
	d, err := s.GetDeployment(t.Context(), "dep_1")
	keep("dep_1", []any{d, d.Serving}, err)
	x, err := s.GetExport(t.Context(), "exp_1")
	keep("exp_1", x, err)
	p, err := s.GetPipeline(t.Context(), "pipe_1")
	keep("pipe_1", p, err)
	pipes, err := s.ListPipelines(t.Context(), Filter{})
	keep("pipelines", pipes, err)
	for _, id := range []string{"job_1", "eval_1"} {
		run, err := s.GetRun(t.Context(), id)
		keep("run "+id, run.Result, err)
		state, err := s.RunState(t.Context(), id)
		keep("state "+id, state, err)
	}
	for _, stream := range []string{"dataset/ds_1", "dataset/ds_2", "job/job_1", "job/job_2", "evaluation/eval_1", "deployment/dep_1", "export/exp_1", "pipeline/pipe_1"} {
		evs, err := s.EventsAfter(t.Context(), stream, 0, 0)
		keep(stream, evs, err)
	}
	body, err := json.MarshalIndent(all, "", " ")
	require.NoError(t, err)
	return string(body)
}

// inTheClear lists the files of a folder that show the marker.
func inTheClear(t *testing.T, folder string) (found []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(folder, e.Name()))
		require.NoError(t, err)
		if bytes.Contains(content, []byte(marker)) {
			found = append(found, e.Name())
		}
	}
	return found
}

func openAt(t *testing.T, path string, master []byte) (*Store, error) {
	t.Helper()
	return Open(t.Context(), Options{Path: path, MasterKey: master, Logger: quiet, Now: (&clock{at: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)}).now})
}

func TestNothingThatUsersSaidIsInTheClear(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	s, err := openAt(t, path, masterKey)
	require.NoError(t, err)
	tellEverything(t, s)
	require.NoError(t, s.PutSetting(t.Context(), Setting{Owner: "user_1", Name: "token", Value: []byte(marker)}))
	_, err = s.Create(t.Context(), Creation{Kind: contract.KindPipeline, ID: "pipe_2", Payload: contract.PipelineCreated{},
		Start: &contract.Start{ID: "pipeline/pipe_2", Summary: marker, Input: json.RawMessage(`"` + marker + `"`)}})
	require.NoError(t, err)
	pending, err := s.PendingOutbox(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, marker, pending[0].Start.Summary)
	before := everything(t, s)
	require.Contains(t, before, marker)
	require.FileExists(t, path+"-wal")
	require.Empty(t, inTheClear(t, filepath.Dir(path)))
	require.NoError(t, s.Close())

	s, err = openAt(t, path, masterKey)
	require.NoError(t, err)
	set, err := s.GetSetting(t.Context(), "user_1", "token")
	require.NoError(t, err)
	require.Equal(t, marker, string(set.Value))
	require.Equal(t, before, everything(t, s))
	require.NoError(t, s.Rebuild(t.Context()))
	require.Equal(t, before, everything(t, s))
	require.Empty(t, inTheClear(t, filepath.Dir(path)))
	require.NoError(t, s.Close())
	require.Empty(t, inTheClear(t, filepath.Dir(path)))
}

// earlier makes the database of a build that did not seal.
func earlier(t *testing.T) (path, told string) {
	t.Helper()
	script, err := os.ReadFile("testdata/before_sealing.sql")
	require.NoError(t, err)
	want, err := os.ReadFile("testdata/before_sealing.json")
	require.NoError(t, err)
	path = filepath.Join(t.TempDir(), "app.db")
	db, err := connect(path, 1, "")
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "PRAGMA foreign_keys = OFF;\n"+string(script)) // the tables are not in the keys' order
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.NotEmpty(t, inTheClear(t, filepath.Dir(path)))
	return path, string(want)
}

// requireTold checks that a store tells all that it did; it may tell more, for rows have got further fields since.
func requireTold(t *testing.T, want, got string, message ...any) {
	t.Helper()
	var was, is any
	require.NoError(t, json.Unmarshal([]byte(want), &was))
	require.NoError(t, json.Unmarshal([]byte(got), &is))
	require.Equal(t, was, onlyWhat(was, is), message...)
}

func onlyWhat(was, is any) any {
	switch was := was.(type) {
	case map[string]any:
		fields, ok := is.(map[string]any)
		if !ok {
			return is
		}
		common := map[string]any{}
		for name, value := range was {
			if now, ok := fields[name]; ok {
				common[name] = onlyWhat(value, now)
			}
		}
		return common
	case []any:
		items, ok := is.([]any)
		if !ok || len(items) != len(was) {
			return is
		}
		common := make([]any, len(was))
		for i := range was {
			common[i] = onlyWhat(was[i], items[i])
		}
		return common
	default:
		return is
	}
}

func TestAnEarlierBuildsDatabaseIsSealed(t *testing.T) {
	path, want := earlier(t)
	s, err := openAt(t, path, masterKey)
	require.NoError(t, err)
	requireTold(t, want, everything(t, s))
	require.Empty(t, inTheClear(t, filepath.Dir(path)), "free pages and the write-ahead log too")
	require.NoError(t, s.Close())
	s, err = openAt(t, path, masterKey)
	require.NoError(t, err)
	requireTold(t, want, everything(t, s))
	require.NoError(t, s.Rebuild(t.Context()))
	requireTold(t, want, everything(t, s))
	require.NoError(t, s.Close())
}

func TestEarlierSettingsAreSealed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	s, err := openAt(t, path, masterKey)
	require.NoError(t, err)
	_, err = s.writer.ExecContext(t.Context(), `DELETE FROM content_keys; INSERT INTO settings VALUES ('', 'token', CAST('`+marker+`' AS BLOB), '2026-11-24')`)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NotEmpty(t, inTheClear(t, filepath.Dir(path)))
	s, err = openAt(t, path, masterKey)
	require.NoError(t, err)
	set, err := s.GetSetting(t.Context(), "", "token")
	require.NoError(t, err)
	require.Equal(t, marker, string(set.Value))
	require.NoError(t, s.Close())
	require.Empty(t, inTheClear(t, filepath.Dir(path)))
}

// TestAnEarlierBuildsOutboxIsDelivered: Temporal was away when the earlier build ended.
func TestAnEarlierBuildsOutboxIsDelivered(t *testing.T) {
	path, _ := earlier(t)
	db, err := connect(path, 1, "")
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `INSERT INTO outbox (workflow_id, start, signal, created_at, next_at) VALUES
  ('pipeline/1', '{"workflow":"Pipeline","id":"pipeline/1","queue":"control","input":{"goal":"`+marker+`"}}', NULL, '2026-11-23 09:00:01.5+00:00', '2026-11-23 09:00:01+00:00'),
  ('job/1', NULL, '{"workflow_id":"job/1","name":"pause"}', '2026-11-23 09:00:02+00:00', '2026-11-23 09:00:02+00:00')`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	for range 2 {
		s, err := openAt(t, path, masterKey)
		require.NoError(t, err)
		pending, err := s.PendingOutbox(t.Context(), 9)
		require.NoError(t, err)
		require.Len(t, pending, 2)
		require.JSONEq(t, `{"goal":"`+marker+`"}`, string(pending[0].Start.Input))
		require.Nil(t, pending[0].Signal)
		require.Equal(t, contract.Signal{WorkflowID: "job/1", Name: "pause"}, *pending[1].Signal)
		require.NoError(t, s.Close())
		require.Empty(t, inTheClear(t, filepath.Dir(path)))
	}
}

// fuse is a context that ends after it was looked at so many times: somewhere in the middle of whatever runs under it.
type fuse struct {
	context.Context
	left atomic.Int64
	blow context.CancelFunc
}

// Done implements context.Context.
func (f *fuse) Done() <-chan struct{} {
	if f.left.Add(-1) == 0 {
		f.blow()
	}
	return f.Context.Done()
}

// TestSealingGoesOnWhereItWasStopped, wherever that was: in a migration, among the payloads, while rows are made anew.
func TestSealingGoesOnWhereItWasStopped(t *testing.T) {
	for looks := int64(1); ; looks += 41 {
		path, want := earlier(t)
		ctx, blow := context.WithCancel(t.Context())
		f := &fuse{Context: ctx, blow: blow}
		f.left.Store(looks)
		s, err := Open(f, Options{Path: path, MasterKey: masterKey, Logger: quiet})
		if err == nil {
			require.NoError(t, s.Close())
		}
		through := f.left.Load() > 0
		blow()
		s, err = openAt(t, path, masterKey)
		require.NoError(t, err)
		requireTold(t, want, everything(t, s), "stopped after %d looks", looks)
		require.NoError(t, s.Close())
		require.Empty(t, inTheClear(t, filepath.Dir(path)))
		if through {
			require.Greater(t, looks, int64(100), "it was never stopped in between")
			return
		}
	}
}

func TestAnotherMasterKeyIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	s, err := openAt(t, path, masterKey)
	require.NoError(t, err)
	tellEverything(t, s)
	before := everything(t, s)
	require.NoError(t, s.Close())

	_, err = openAt(t, path, bytes.Repeat([]byte{8}, seal.KeyBytes))
	require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err))
	require.ErrorContains(t, err, "put back the master.key")
	_, err = openAt(t, path, nil)
	require.Equal(t, contract.CodeInvalidConfig, contract.CodeOf(err))

	s, err = openAt(t, path, masterKey)
	require.NoError(t, err)
	require.Equal(t, before, everything(t, s), "nothing was lost by trying")
	require.NoError(t, s.Close())
}

// TestChangedAndSwappedValuesAreRefused: whoever can write to the file cannot make VibeFlow say something else.
func TestChangedAndSwappedValuesAreRefused(t *testing.T) {
	read := func(s *Store) error {
		_, errEvents := s.EventsAfter(t.Context(), "job/job_1", 0, 0)
		_, errOther := s.EventsAfter(t.Context(), "dataset/ds_2", 0, 0)
		_, errRow := s.GetDataset(t.Context(), "ds_1")
		_, errList := s.ListDatasets(t.Context(), Filter{})
		_, errRun := s.RunState(t.Context(), "job_1")
		_, errSetting := s.GetSetting(t.Context(), "", "a")
		pending, errOutbox := s.PendingOutbox(t.Context(), 9)
		for _, entry := range pending {
			errOutbox = errors.Join(errOutbox, entry.Broken)
		}
		for _, err := range []error{errEvents, errOther, errRow, errList, errRun, errSetting, errOutbox} {
			if err != nil {
				return err
			}
		}
		return nil
	}
	for name, statement := range map[string]string{
		"a payload changed":                `UPDATE events SET payload = CAST(substr(payload, 1, length(payload) - 1) || x'00' AS BLOB) WHERE stream = 'job/job_1' AND seq = 1`,
		"a payload cut":                    `UPDATE events SET payload = CAST(substr(payload, 1, 20) AS BLOB) WHERE stream = 'job/job_1' AND seq = 1`,
		"a payload in the clear":           `UPDATE events SET payload = '{"level":"info"}' WHERE stream = 'job/job_1' AND type = 'runner.log'`,
		"of another number":                `UPDATE events SET payload = (SELECT payload FROM events WHERE stream = 'job/job_1' AND seq = 2) WHERE stream = 'job/job_1' AND seq = 3`,
		"of another stream":                `UPDATE events SET payload = (SELECT payload FROM events WHERE stream = 'dataset/ds_2' AND seq = 1) WHERE stream = 'job/job_1' AND seq = 1`,
		"under another type":               `UPDATE events SET type = 'dataset.completed' WHERE stream = 'dataset/ds_2' AND seq = 2`,
		"another row's content":            `UPDATE datasets SET sealed = (SELECT sealed FROM datasets WHERE id = 'ds_2') WHERE id = 'ds_1'`,
		"another table's":                  `UPDATE datasets SET sealed = (SELECT sealed FROM pipelines) WHERE id = 'ds_1'`,
		"content of another state":         `UPDATE datasets SET seq = seq + 1 WHERE id = 'ds_1'`,
		"a row's content changed":          `UPDATE datasets SET sealed = CAST(x'01' || substr(sealed, 2, length(sealed) - 2) || x'00' AS BLOB) WHERE id = 'ds_1'`,
		"another setting's value":          `UPDATE settings SET value = (SELECT value FROM settings WHERE name = 'b') WHERE name = 'a'`,
		"another workflow's start":         `UPDATE outbox SET message = (SELECT message FROM outbox WHERE workflow_id = 'b') WHERE workflow_id = 'a'`,
		"a result moved to another launch": `UPDATE runs SET epoch = 2 WHERE run_id = 'job_1'`,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			tellEverything(t, s)
			for _, name := range []string{"a", "b"} {
				require.NoError(t, s.PutSetting(t.Context(), Setting{Name: name, Value: []byte(name)}))
				_, err := s.Create(t.Context(), Creation{Kind: contract.KindExport, ID: name, Payload: contract.ExportCreated{}, Start: &contract.Start{ID: name}})
				require.NoError(t, err)
			}
			require.NoError(t, read(s))
			res, err := s.writer.ExecContext(t.Context(), statement)
			require.NoError(t, err)
			n, err := res.RowsAffected()
			require.NoError(t, err)
			require.EqualValues(t, 1, n)
			err = read(s)
			require.ErrorIs(t, err, seal.ErrChanged)
			require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err))
			require.ErrorContains(t, err, "restore app.db from a backup")
		})
	}
}
