package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/seal"
)

var (
	quiet     = slog.New(slog.DiscardHandler)
	masterKey = bytes.Repeat([]byte{7}, seal.KeyBytes)
)

// clock is a time that moves by a second with each look.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(time.Second)
	return c.at
}

func open(t *testing.T) *Store {
	t.Helper()
	c := &clock{at: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)}
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "app.db"), MasterKey: masterKey, Logger: quiet, Now: c.now})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func create(t *testing.T, s *Store, kind contract.Kind, id string, payload any) {
	t.Helper()
	created, err := s.Create(t.Context(), Creation{Kind: kind, ID: id, Payload: payload})
	require.NoError(t, err)
	require.True(t, created)
}

func ev(kind string, payload any) contract.NewEvent {
	body, err := json.Marshal(payload)
	if err != nil {
		panic(err)
	}
	return contract.NewEvent{Type: kind, Payload: body}
}

func add(t *testing.T, s *Store, stream string, evs ...contract.NewEvent) {
	t.Helper()
	_, err := s.Append(t.Context(), stream, evs...)
	require.NoError(t, err)
}

func TestFilesAreTheOwnersOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "odd name #1?.db")
	s, err := Open(t.Context(), Options{Path: path, MasterKey: masterKey, Logger: quiet})
	require.NoError(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		require.EqualValues(t, 0o600, info.Mode().Perm(), e.Name())
	}
	require.NoError(t, s.Close())
	_, err = Open(t.Context(), Options{Path: filepath.Join(dir, "missing", "app.db"), MasterKey: masterKey, Logger: quiet})
	require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "not.db"), []byte("this is not a database, not at all"), 0o600))
	_, err = Open(t.Context(), Options{Path: filepath.Join(dir, "not.db"), MasterKey: masterKey, Logger: quiet})
	require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err))
}

func TestSettingsOfConnections(t *testing.T) {
	s := open(t)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		require.NoError(t, s.writer.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
		require.Equal(t, want, got, pragma)
	}
	_, err := s.reader.ExecContext(t.Context(), "DELETE FROM projects")
	require.Error(t, err, "readers cannot write")
}

func TestReadersDoNotWaitForTheWriter(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindJob, "job_1", contract.JobCreated{})
	err := s.write(t.Context(), func(ctx context.Context, tx *txn) error {
		if _, err := tx.append(ctx, "job/job_1", []contract.NewEvent{ev("job.queued", contract.Queued{Queue: "cpu"})}); err != nil {
			return err
		}
		job, err := s.GetJob(ctx, "job_1") // would wait for ever
		require.NoError(t, err)
		require.EqualValues(t, 1, job.Seq, "what is not committed is not seen")
		return nil
	})
	require.NoError(t, err)
}

func TestMigrations(t *testing.T) {
	files := func(more map[string]string) fstest.MapFS {
		fs := fstest.MapFS{"001_a.tx.up.sql": {Data: []byte("CREATE TABLE a (x);\n--bun:split\nINSERT INTO a VALUES (1);")}}
		for name, sql := range more {
			fs[name] = &fstest.MapFile{Data: []byte(sql)}
		}
		return fs
	}
	newDB := func(t *testing.T) string {
		return filepath.Join(t.TempDir(), "m.db")
	}
	run := func(t *testing.T, path string, fs fstest.MapFS) error {
		db, err := connect(path, 1, "_txlock=immediate")
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		return migrateFrom(t.Context(), db, fs)
	}
	query := func(t *testing.T, path, sql string) (n int) {
		db, err := connect(path, 1, "")
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		require.NoError(t, db.QueryRowContext(t.Context(), sql).Scan(&n))
		return n
	}
	exec := func(t *testing.T, path, sql string) {
		db, err := connect(path, 1, "")
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		_, err = db.ExecContext(t.Context(), sql)
		require.NoError(t, err)
	}
	t.Run("twice is once", func(t *testing.T) {
		path := newDB(t)
		require.NoError(t, run(t, path, files(nil)))
		require.NoError(t, run(t, path, files(nil)))
		require.Equal(t, 1, query(t, path, "SELECT COUNT(*) FROM a"))
	})
	t.Run("killed between a migration's commit and its mark", func(t *testing.T) {
		path := newDB(t)
		require.NoError(t, run(t, path, files(nil)))
		exec(t, path, "DELETE FROM bun_migrations")
		require.NoError(t, run(t, path, files(map[string]string{"002_b.tx.up.sql": "INSERT INTO a VALUES (2);"})))
		require.Equal(t, 2, query(t, path, "SELECT COUNT(*) FROM a"))
		require.Equal(t, 2, query(t, path, "SELECT COUNT(*) FROM bun_migrations"))
	})
	t.Run("a lock row that a crash left does not matter", func(t *testing.T) {
		path := newDB(t)
		require.NoError(t, run(t, path, files(nil)))
		exec(t, path, "INSERT INTO bun_migration_locks (table_name) VALUES ('bun_migrations'), ('\"bun_migrations\"')")
		require.NoError(t, run(t, path, files(map[string]string{"002_b.tx.up.sql": "INSERT INTO a VALUES (2);"})))
	})
	t.Run("a failing one leaves nothing, and is tried again", func(t *testing.T) {
		path := newDB(t)
		bad := files(map[string]string{"002_b.tx.up.sql": "INSERT INTO a VALUES (2);\n--bun:split\nINSERT INTO nowhere VALUES (2);"})
		require.Error(t, run(t, path, bad))
		require.Equal(t, 1, query(t, path, "SELECT COUNT(*) FROM a"))
		require.NoError(t, run(t, path, files(map[string]string{"002_b.tx.up.sql": "INSERT INTO a VALUES (2);"})))
		require.Equal(t, 2, query(t, path, "SELECT COUNT(*) FROM a"))
	})
	t.Run("a newer file is refused", func(t *testing.T) {
		path := newDB(t)
		require.NoError(t, run(t, path, files(map[string]string{"002_b.tx.up.sql": "INSERT INTO a VALUES (2);"})))
		require.Equal(t, contract.CodePrerequisite, contract.CodeOf(run(t, path, files(nil))))
	})
}

func TestAppend(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindJob, "job_1", contract.JobCreated{})
	batch := make([]contract.NewEvent, 5)
	for i := range batch {
		batch[i] = contract.NewEvent{Type: "runner.log", Source: "runner/1", SourceSeq: int64(i + 1)}
	}
	first, err := s.Append(t.Context(), "job/job_1", batch[:3]...)
	require.NoError(t, err)
	require.Len(t, first, 3)
	again, err := s.Append(t.Context(), "job/job_1", batch...)
	require.NoError(t, err)
	require.Len(t, again, 2, "what the log holds is skipped")
	require.EqualValues(t, 5, again[0].Seq, "and leaves no gap")

	evs, err := s.EventsAfter(t.Context(), "job/job_1", 1, 3)
	require.NoError(t, err)
	require.Equal(t, first, evs)
	job, err := s.GetJob(t.Context(), "job_1")
	require.NoError(t, err)
	require.EqualValues(t, 6, job.Seq)

	t.Run("refusals leave nothing", func(t *testing.T) {
		for name, bad := range map[string]contract.NewEvent{
			"no type": {}, "bad JSON": {Type: "runner.log", Payload: []byte("{")}, "odd payload": {Type: "job.paused", Payload: []byte(`{"step":"x"}`)},
		} {
			_, err := s.Append(t.Context(), "job/job_1", contract.NewEvent{Type: "job.queued"}, bad)
			require.Equal(t, contract.CodeInvalid, contract.CodeOf(err), name)
		}
		_, err := s.Append(t.Context(), "job/job_none", contract.NewEvent{Type: "job.queued"})
		require.Equal(t, contract.CodeNotFound, contract.CodeOf(err))
		last, err := s.LastSeq(t.Context(), "job/job_1")
		require.NoError(t, err)
		require.EqualValues(t, 6, last)
	})
}

func TestAppendersSideBySideLeaveNoGap(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindJob, "job_1", contract.JobCreated{})
	var wg sync.WaitGroup
	for writer := range 4 {
		wg.Go(func() {
			for n := range 25 {
				_, err := s.Append(context.WithoutCancel(t.Context()), "job/job_1",
					contract.NewEvent{Type: "runner.log", Source: fmt.Sprint(writer), SourceSeq: int64(n)})
				require.NoError(t, err)
			}
		})
	}
	wg.Wait()
	evs, err := s.EventsAfter(t.Context(), "job/job_1", 0, 0)
	require.NoError(t, err)
	require.Len(t, evs, 101)
	for i, e := range evs {
		require.EqualValues(t, i+1, e.Seq)
	}
}

func TestSubscribersMissNothing(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindJob, "job_1", contract.JobCreated{})
	const total = 200
	var wg sync.WaitGroup
	for range 3 {
		wake, cancel := s.Subscribe("job/job_1")
		wg.Go(func() {
			defer cancel()
			after := int64(1)
			for after < total+1 {
				evs, err := s.EventsAfter(t.Context(), "job/job_1", after, 7)
				require.NoError(t, err)
				for _, e := range evs {
					require.Equal(t, after+1, e.Seq)
					after = e.Seq
				}
				if len(evs) == 0 {
					<-wake
				}
			}
		})
	}
	for range total {
		add(t, s, "job/job_1", contract.NewEvent{Type: "runner.log"})
	}
	wg.Wait()
	require.Empty(t, s.wakes.subs, "a cancelled subscription is forgotten")
}

func TestWakeIsForOneStreamAndAfterACommit(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindJob, "job_1", contract.JobCreated{})
	wake, cancel := s.Subscribe("job/job_1")
	defer cancel()
	any, cancelAny := s.Subscribe("")
	defer cancelAny()
	create(t, s, contract.KindJob, "job_2", contract.JobCreated{})
	_, err := s.Append(t.Context(), "job/job_1", contract.NewEvent{Type: "job.queued"}, contract.NewEvent{})
	require.Error(t, err)
	require.Empty(t, wake)
	require.Len(t, any, 1)
	add(t, s, "job/job_1", contract.NewEvent{Type: "runner.log"})
	add(t, s, "job/job_1", contract.NewEvent{Type: "runner.log"})
	require.Len(t, wake, 1, "wake-ups coalesce")
}

func TestCreateIsOnce(t *testing.T) {
	s := open(t)
	c := Creation{Kind: contract.KindPipeline, ID: "pipe_1", Payload: contract.PipelineCreated{Name: "one"}, Start: &contract.Start{ID: "pipeline/pipe_1", Workflow: "Pipeline"}}
	created, err := s.Create(t.Context(), c)
	require.NoError(t, err)
	require.True(t, created)
	c.Payload = contract.PipelineCreated{Name: "two"}
	created, err = s.Create(t.Context(), c)
	require.NoError(t, err)
	require.False(t, created)
	p, err := s.GetPipeline(t.Context(), "pipe_1")
	require.NoError(t, err)
	require.Equal(t, "one", p.Name)
	entries, err := s.PendingOutbox(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, "Pipeline", entries[0].Start.Workflow)
	require.Nil(t, entries[0].Signal)
}

func TestCommands(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindJob, "job_1", contract.JobCreated{})
	pause := Command{Kind: contract.KindJob, ID: "job_1", Signal: &contract.Signal{WorkflowID: "train/job_1", Name: "pause"},
		Event: contract.NewEvent{Type: "job.pause_requested", Source: "cmd/1", SourceSeq: 1}}
	done, err := s.Command(t.Context(), pause)
	require.NoError(t, err)
	again, err := s.Command(t.Context(), pause)
	require.NoError(t, err)
	require.Equal(t, done, again, "a command repeated is not carried out twice")

	pause.Event.Source = "cmd/2"
	_, err = s.Command(t.Context(), pause)
	require.Equal(t, contract.CodeConflict, contract.CodeOf(err))
	require.EqualError(t, err, "the job is pausing: it cannot be paused now (possible now: cancel, resume)")
	entries, err := s.PendingOutbox(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, entries, 1, "a refused command sends nothing")

	add(t, s, "job/job_1", ev("job.cancelled", struct{}{}))
	_, err = s.Command(t.Context(), pause)
	require.EqualError(t, err, "the job is cancelled: it cannot be paused now (nothing more can be done with it; start a new one)")
	pause.ID = "job_2"
	_, err = s.Command(t.Context(), pause)
	require.Equal(t, contract.CodeNotFound, contract.CodeOf(err))
}

func TestOutboxKeepsTheOrderOfAWorkflow(t *testing.T) {
	s := open(t)
	for _, id := range []string{"job_1", "job_2"} {
		_, err := s.Create(t.Context(), Creation{Kind: contract.KindJob, ID: id, Payload: contract.JobCreated{}, Start: &contract.Start{ID: "train/" + id}})
		require.NoError(t, err)
	}
	<-s.OutboxWake()
	_, err := s.Command(t.Context(), Command{Kind: contract.KindJob, ID: "job_1", Event: contract.NewEvent{Type: "job.pause_requested"},
		Signal: &contract.Signal{WorkflowID: "train/job_1", Name: "pause"}})
	require.NoError(t, err)
	<-s.OutboxWake()
	due := func() (ids []int64) {
		entries, err := s.PendingOutbox(t.Context(), 10)
		require.NoError(t, err)
		for _, e := range entries {
			ids = append(ids, e.ID)
		}
		return ids
	}
	require.Equal(t, []int64{1, 2}, due(), "the signal waits for the start")
	require.NoError(t, s.DeferOutbox(t.Context(), 1, "temporal is away", 30*time.Second))
	require.Equal(t, []int64{2}, due(), "and while the start is put off")
	require.NoError(t, s.MarkDelivered(t.Context(), 2))
	require.NoError(t, s.MarkDelivered(t.Context(), 1))
	<-s.OutboxWake()
	require.Equal(t, []int64{3}, due())
	require.NoError(t, s.MarkDelivered(t.Context(), 3))
	require.Empty(t, due())
}

// TestWhatAWorkflowDecidesAnewIsTold: a try of a workflow told that the job had queued, and died before Temporal knew. The next
// one finds that a cancel has come, and tells of that under the same number.
func TestWhatAWorkflowDecidesAnewIsTold(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindJob, "job_1", contract.JobCreated{Queue: "cpu"})
	told := func(suffix string, seq int64) {
		require.NoError(t, s.Record(t.Context(), "job/job_1", contract.NewEvent{Type: "job." + suffix, Payload: []byte(`{}`), Source: "wf/1", SourceSeq: seq}))
	}
	status := func() contract.Status {
		job, err := s.GetJob(t.Context(), "job_1")
		require.NoError(t, err)
		return job.Status
	}
	told("queued", 1)
	told("queued", 1) // a repetition
	_, err := s.Command(t.Context(), Command{Kind: contract.KindJob, ID: "job_1", Event: contract.NewEvent{Type: "job.cancel_requested"},
		Signal: &contract.Signal{WorkflowID: "train/job_1", Name: "cancel"}})
	require.NoError(t, err)
	require.Equal(t, contract.StatusCancelling, status())
	told("cancelled", 1)
	told("cancelled", 1)
	require.Equal(t, contract.StatusCancelled, status())
	told("paused", 1)
	seq, err := s.LastSeq(t.Context(), "job/job_1")
	require.NoError(t, err)
	require.EqualValues(t, 4, seq, "nothing is told twice, or after the end")
}

// TestAClockThatGoesBackHoldsUpNoEntry: the machine's clock was a day ahead when a job was started, and was set right before
// Temporal was there.
func TestAClockThatGoesBackHoldsUpNoEntry(t *testing.T) {
	now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "app.db"), MasterKey: masterKey, Logger: quiet, Now: func() time.Time { return now }})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	for _, id := range []string{"job_1", "job_2"} {
		_, err := s.Create(t.Context(), Creation{Kind: contract.KindJob, ID: id, Payload: contract.JobCreated{}, Start: &contract.Start{ID: "train/" + id}})
		require.NoError(t, err)
	}
	require.NoError(t, s.DeferOutbox(t.Context(), 1, "temporal is away", 5*time.Second))
	now = now.Add(-24 * time.Hour)
	due, err := s.PendingOutbox(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, due, 2)
	require.NoError(t, s.DeferOutbox(t.Context(), 1, "temporal is away", 5*time.Second))
	due, err = s.PendingOutbox(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, due, 1, "it is put off by the clock as it is now")
}

// TestADamagedEntryHoldsUpNoOther: one message cannot be read; all other workflows are told theirs, and the next start can
// still compare with Temporal.
func TestADamagedEntryHoldsUpNoOther(t *testing.T) {
	s := open(t)
	for _, id := range []string{"job_1", "job_2"} {
		_, err := s.Create(t.Context(), Creation{Kind: contract.KindJob, ID: id, Payload: contract.JobCreated{}, Start: &contract.Start{ID: "train/" + id}})
		require.NoError(t, err)
	}
	_, err := s.writer.ExecContext(t.Context(), `UPDATE outbox SET message = CAST(substr(message, 1, 20) AS BLOB) WHERE id = 1`)
	require.NoError(t, err)
	due, err := s.PendingOutbox(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, due, 2)
	require.Error(t, due[0].Broken)
	require.Nil(t, due[0].Start)
	require.NoError(t, due[1].Broken)
	require.NotNil(t, due[1].Start)
	unfinished, err := s.Unfinished(t.Context())
	require.NoError(t, err)
	require.Empty(t, unfinished)
}

func TestListsGoOnWhereTheyStopped(t *testing.T) {
	s := open(t)
	for i := range 7 {
		project := []string{"a", "b"}[i%2]
		create(t, s, contract.KindJob, fmt.Sprintf("job_%d", i), contract.JobCreated{ProjectID: project})
	}
	add(t, s, "job/job_2", ev("job.cancelled", struct{}{}))
	var got []string
	f := Filter{ProjectID: "a", Limit: 2}
	for pages := 0; ; pages++ {
		page, err := s.ListJobs(t.Context(), f)
		require.NoError(t, err)
		for _, j := range page.Items {
			got = append(got, j.ID)
		}
		if pages == 0 {
			create(t, s, contract.KindJob, "job_new", contract.JobCreated{ProjectID: "a"}) // moves nobody to another page
		}
		if f.Cursor = page.Next; f.Cursor == "" {
			break
		}
	}
	require.Equal(t, []string{"job_6", "job_4", "job_2", "job_0"}, got)
	page, err := s.ListJobs(t.Context(), Filter{Status: []contract.Status{contract.StatusCancelled, contract.StatusFailed}})
	require.NoError(t, err)
	require.Len(t, page.Items, 1)
	for _, bad := range []Filter{{Cursor: "!"}, {Cursor: "bm90IG9uZQ"}, {JobID: "x"}} {
		_, err := s.ListJobs(t.Context(), bad)
		require.Equal(t, contract.CodeInvalid, contract.CodeOf(err))
	}
	empty, err := s.ListExports(t.Context(), Filter{})
	require.NoError(t, err)
	require.NotNil(t, empty.Items, "an empty list is [], not null")
}

func TestMetricsKeepSpikesWhenDownsampled(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindJob, "job_1", contract.JobCreated{})
	var evs []contract.NewEvent
	for step := 1; step <= 1000; step++ {
		loss := 2.0
		if step == 437 {
			loss = 99
		}
		evs = append(evs, ev("runner.metrics", map[string]any{"step": step, "loss": loss, "epoch": float64(step) / 500}))
	}
	evs = append(evs, ev("runner.metrics", map[string]any{"step": 1001, "loss": nil}), ev("runner.eval_metrics", map[string]any{"step": 1000, "eval_loss": 1.5}))
	add(t, s, "job/job_1", evs...)
	all, err := s.Metrics(t.Context(), "job_1", 5000)
	require.NoError(t, err)
	require.Len(t, all.Train, 1001)
	require.Nil(t, all.Train[1000].Loss)
	require.InDelta(t, 1.5, *all.Eval[0].Loss, 0)
	few, err := s.Metrics(t.Context(), "job_1", 10)
	require.NoError(t, err)
	require.Len(t, few.Train, 10)
	points, high := 0, 0.0
	for _, b := range few.Train {
		points += b.Points
		high = max(high, *b.LossMax)
		require.InDelta(t, 2.0, *b.LossMin, 0)
	}
	require.Equal(t, 1001, points)
	require.InDelta(t, 99, high, 0)
	_, err = s.Metrics(t.Context(), "job_none", 10)
	require.Equal(t, contract.CodeNotFound, contract.CodeOf(err))
}

func TestPlainTables(t *testing.T) {
	s := open(t)
	p, err := s.GetProject(t.Context(), DefaultProject)
	require.NoError(t, err)
	require.Equal(t, "default", p.Name)

	base := Model{ID: "model_b", Name: "B", Ref: contract.ModelRef{Source: "tiny:llama"}, Dims: json.RawMessage(`{"layers":2}`)}
	require.NoError(t, s.UpsertCatalog(t.Context(), []Model{base}))
	base.Name = "B2"
	require.NoError(t, s.UpsertCatalog(t.Context(), []Model{base}))
	tuned := Model{ID: "model_t", BaseModelID: "model_b", JobID: "job_1", Method: "lora"}
	for i := range 2 {
		created, err := s.CreateModel(t.Context(), tuned)
		require.NoError(t, err)
		require.Equal(t, i == 0, created)
	}
	last := "model_t"
	for i := range 100 { // who goes on every day
		next := fmt.Sprintf("model_t%d", i)
		_, err = s.CreateModel(t.Context(), Model{ID: next, BaseModelID: last})
		require.NoError(t, err)
		last = next
	}
	m, err := s.GetModel(t.Context(), last)
	require.NoError(t, err)
	root, err := s.BaseOf(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, "B2", root.Name)
	require.JSONEq(t, `{"layers":2}`, string(root.Dims))
	_, err = s.BaseOf(t.Context(), &Model{BaseModelID: "model_gone"})
	require.Equal(t, contract.CodeNotFound, contract.CodeOf(err))
	_, err = s.CreateModel(t.Context(), Model{ID: "model_snake", BaseModelID: "model_snake"})
	require.NoError(t, err)
	_, err = s.BaseOf(t.Context(), &Model{BaseModelID: "model_snake"})
	require.Equal(t, contract.CodeNotFound, contract.CodeOf(err), "a circle hangs nobody")
	of, err := s.ModelOfJob(t.Context(), "job_1")
	require.NoError(t, err)
	require.Equal(t, "model_t", of.ID)

	require.NoError(t, s.CreateAPIKey(t.Context(), APIKey{ID: "key_1", ProjectID: DefaultProject, KeyHash: "h", Scopes: []contract.Scope{"chat"}}))
	k, err := s.GetAPIKeyByHash(t.Context(), "h")
	require.NoError(t, err)
	require.True(t, k.Valid(time.Now()))
	require.NoError(t, s.RevokeAPIKey(t.Context(), "key_1"))
	k, err = s.GetAPIKey(t.Context(), "key_1")
	require.NoError(t, err)
	require.False(t, k.Valid(time.Now()))
	require.Equal(t, contract.CodeNotFound, contract.CodeOf(s.RevokeAPIKey(t.Context(), "key_2")))
	require.Error(t, s.CreateAPIKey(t.Context(), APIKey{ID: "key_2", ProjectID: "proj_none", KeyHash: "g"}), "a key belongs to a project")
}

func TestObjectsInUseStay(t *testing.T) {
	s := open(t)
	put := func(id string) {
		require.NoError(t, s.PutObject(t.Context(), contract.Object{ID: id, WrappedKey: []byte{1}}))
	}
	for _, id := range []string{"raw", "train", "model", "held", "lost"} {
		put(id)
	}
	create(t, s, contract.KindDataset, "ds_1", contract.DatasetCreated{ObjectID: "raw"})
	add(t, s, "dataset/ds_1", ev("dataset.processed", contract.DatasetProcessed{Train: &contract.ObjectRef{ObjectID: "train"}}))
	_, err := s.CreateModel(t.Context(), Model{ID: "model_1", Files: []ModelFile{{ObjectID: "model"}}})
	require.NoError(t, err)
	require.NoError(t, s.HoldObject(t.Context(), "someone", "held"))
	for _, id := range []string{"raw", "train", "model", "held"} {
		require.Equal(t, contract.CodeConflict, contract.CodeOf(s.DeleteObject(t.Context(), id)), id)
	}
	live, err := s.LiveObjects(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"raw": true, "train": true, "model": true, "held": true}, live)
	freed, err := s.ReleaseOwner(t.Context(), "someone")
	require.NoError(t, err)
	require.Equal(t, []string{"held"}, freed)
	put("lost")
	require.NoError(t, s.DeleteObject(t.Context(), "lost"))
	require.NoError(t, s.DeleteObject(t.Context(), "lost"))
}

// TestFilesOfARunThatIsOverGoWithoutAManifest: a worker was killed between handing in a checkpoint's files and its manifest,
// and the job never got further.
func TestFilesOfARunThatIsOverGoWithoutAManifest(t *testing.T) {
	s := open(t)
	for _, id := range []string{"job_over", "job_paused"} {
		create(t, s, contract.KindJob, id, contract.JobCreated{})
		run, err := s.ClaimRun(t.Context(), RunClaim{RunID: id, Nonce: "n", ClaimRequest: contract.ClaimRequest{Worker: "w"}})
		require.NoError(t, err)
		fence := Fence{RunID: id, Epoch: run.Epoch}
		for _, part := range []string{"saved", "made", "orphan"} {
			object := contract.Object{ID: id + "/" + part, SHA256: part + "'s digest", WrappedKey: []byte{1}}
			require.NoError(t, s.PutObject(t.Context(), object))
			require.NoError(t, s.AddRunBlob(t.Context(), fence, contract.ObjectRef{ObjectID: object.ID, SHA256: object.SHA256}))
		}
		_, err = s.AppendRun(t.Context(), RunBatch{Fence: fence, First: 1, Events: []contract.NewEvent{ev("runner.checkpoint", map[string]any{"name": "step-1"})}})
		require.NoError(t, err)
		manifest := contract.Manifest{Kind: "checkpoint", Name: "step-1", Files: []contract.FileInfo{{Path: "a", SHA256: "saved's digest"}}}
		_, err = s.CommitCheckpoint(t.Context(), fence, manifest)
		require.NoError(t, err)
		manifest = contract.Manifest{Kind: "adapter", Name: "adapter", Files: []contract.FileInfo{{Path: "a", SHA256: "made's digest"}}}
		require.NoError(t, s.CommitArtifact(t.Context(), fence, manifest))
	}
	add(t, s, "job/job_over", ev("job.failed", contract.Errorf(contract.CodeNoProgress, "it died")))
	add(t, s, "job/job_paused", ev("job.paused", contract.Paused{}))
	live, err := s.LiveObjects(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"job_over/saved": true, "job_over/made": true,
		"job_paused/saved": true, "job_paused/made": true, "job_paused/orphan": true}, live)
}

func TestADatabaseIsTheSameInItsBackups(t *testing.T) {
	ids := map[string]bool{}
	for range 2 {
		path, _ := earlier(t)
		for range 2 {
			s, err := openAt(t, path, masterKey)
			require.NoError(t, err)
			id, err := s.ID(t.Context())
			require.NoError(t, err)
			require.NoError(t, s.Close())
			ids[id] = true
		}
	}
	require.Len(t, ids, 1)
	for range 2 {
		id, err := open(t).ID(t.Context())
		require.NoError(t, err)
		ids[id] = true
	}
	require.Len(t, ids, 3)
}
