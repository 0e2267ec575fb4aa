package gateway_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/labstack/echo/v5"
	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/gateway"
	"github.com/vibeflow/vibeflow/api/problem"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/store"
)

const (
	workerToken = "worker-token"
	jobID       = "job_1"
	worker      = "host/1/boot"
)

var signingKey = bytes.Repeat([]byte{7}, 32)

// world is a gateway over a real database, a real bucket and real HTTP, with one ready dataset and one queued job.
type world struct {
	t         *testing.T
	dir       string
	store     *store.Store
	artifacts *artifact.Store
	gateway   *gateway.Gateway
	server    *httptest.Server
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldAt(t, t.TempDir())
}

func newWorldAt(t *testing.T, dir string) *world {
	t.Helper()
	w := &world{t: t, dir: dir}
	w.start()
	t.Cleanup(w.stop)
	train, eval := w.object("train rows"), w.object("eval rows")
	w.create(contract.KindDataset, "ds_1", contract.DatasetCreated{Name: "questions"})
	w.append("dataset/ds_1", "dataset.completed", contract.DatasetProcessed{Format: "alpaca", Canonical: "chat",
		Rows: 20, TrainRows: 10, EvalRows: 10, Train: &train, Eval: &eval})
	require.NoError(t, w.store.UpsertCatalog(t.Context(), []store.Model{{ID: "model_base", Name: "Tiny", Source: "tiny:llama",
		Ref: contract.ModelRef{Source: "tiny:llama"}}}))
	w.create(contract.KindJob, jobID, contract.JobCreated{DatasetID: "ds_1", ModelID: "model_base",
		Model: contract.ModelRef{Source: "tiny:llama"}, Queue: "cpu", Config: contract.Training{Method: "lora", Seed: 3}})
	return w
}

func (w *world) start() {
	w.t.Helper()
	var err error
	quiet := slog.New(slog.DiscardHandler)
	w.store, err = store.Open(w.t.Context(), store.Options{Path: filepath.Join(w.dir, "app.db"), MasterKey: signingKey, Logger: quiet})
	require.NoError(w.t, err)
	w.artifacts, err = artifact.Open(w.t.Context(), artifact.Options{BucketURL: "file://" + w.dir + "/blobs",
		MasterKey: signingKey, Index: w.store, SpoolDir: w.spool(), Logger: quiet})
	require.NoError(w.t, err)
	w.gateway, err = gateway.New(gateway.Deps{Store: w.store, Artifacts: w.artifacts, WorkerToken: workerToken, SigningKey: signingKey,
		MaxFileBytes: 64 << 20, Logger: quiet})
	require.NoError(w.t, err)
	e := echo.New()
	e.HTTPErrorHandler = problem.Handler(quiet)
	w.gateway.Register(e.Group("/internal"))
	w.server = httptest.NewServer(e)
}

func (w *world) stop() {
	w.server.Close()
	require.NoError(w.t, w.artifacts.Close())
	require.NoError(w.t, w.store.Close())
}

func (w *world) spool() string { return filepath.Join(w.dir, "spool") }

func (w *world) object(content string) contract.ObjectRef {
	w.t.Helper()
	o, err := w.artifacts.Put(w.t.Context(), artifact.PutInput{Reader: strings.NewReader(content)})
	require.NoError(w.t, err)
	return contract.ObjectRef{ObjectID: o.ID, SHA256: o.SHA256, Size: o.Size}
}

func (w *world) create(kind contract.Kind, id string, payload any) {
	w.t.Helper()
	_, err := w.store.Create(w.t.Context(), store.Creation{Kind: kind, ID: id, Payload: payload})
	require.NoError(w.t, err)
}

func (w *world) append(stream, event string, payload any) {
	w.t.Helper()
	body, err := json.Marshal(payload)
	require.NoError(w.t, err)
	_, err = w.store.Append(w.t.Context(), stream, contract.NewEvent{Type: event, Payload: body})
	require.NoError(w.t, err)
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   []byte
	problem.Document
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	require.Less(t, a.status, 300, "%s", a.body)
	require.NoError(t, json.Unmarshal(a.body, v))
}

func (w *world) do(token, method, path string, body any, headers ...string) answer {
	w.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		r = bytes.NewReader(b)
	case string:
		r = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		require.NoError(w.t, err)
		r = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+"/internal"+path, r)
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer func() { _ = res.Body.Close() }()
	a := answer{status: res.StatusCode, header: res.Header}
	a.body, err = io.ReadAll(res.Body)
	require.NoError(w.t, err)
	if a.status >= 400 && method != http.MethodHead {
		require.Equal(w.t, problem.ContentType, res.Header.Get("Content-Type"))
		require.NoError(w.t, json.Unmarshal(a.body, &a.Document))
	}
	return a
}

func (w *world) refused(a answer, status int, code contract.Code) {
	w.t.Helper()
	require.Equal(w.t, status, a.status, "%s", a.body)
	require.Equal(w.t, code, a.Code)
}

func (w *world) claim(run string, expect int64, step int) contract.Claim {
	w.t.Helper()
	var c contract.Claim
	w.do(workerToken, "POST", "/runs/"+run+"/claim", contract.ClaimRequest{ExpectEpoch: expect, Worker: worker, Step: step}).into(w.t, &c)
	return c
}

func line(n int, kind string, fields ...any) json.RawMessage {
	m := map[string]any{"n": n, "type": kind, "at": "2026-11-23T10:00:00.000001Z"}
	for i := 0; i+1 < len(fields); i += 2 {
		m[fields[i].(string)] = fields[i+1]
	}
	body, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return body
}

func (w *world) send(c contract.Claim, first int, lines ...json.RawMessage) answer {
	w.t.Helper()
	return w.do(c.Token, "POST", "/runs/"+jobID+"/events", contract.EventBatch{Epoch: c.Epoch, First: int64(first), Lines: lines})
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func (w *world) chunk(token, run, sha string, offset, size int, chunk []byte) answer {
	w.t.Helper()
	return w.do(token, "PUT", fmt.Sprintf("/runs/%s/uploads/%s?offset=%d&size=%d", run, sha, offset, size), chunk)
}

func (w *world) upload(c contract.Claim, content string) contract.FileInfo {
	w.t.Helper()
	sha := digest([]byte(content))
	var state contract.UploadState
	w.chunk(c.Token, jobID, sha, 0, len(content), []byte(content)).into(w.t, &state)
	require.True(w.t, state.Complete)
	return contract.FileInfo{Path: "f-" + sha[:6], SHA256: sha, Size: int64(len(content))}
}

func (w *world) commit(c contract.Claim, m contract.Manifest) answer {
	w.t.Helper()
	return w.do(c.Token, "PUT", "/runs/"+jobID+"/checkpoints/"+m.Name, m)
}

func (w *world) blobs() int {
	entries, err := os.ReadDir(filepath.Join(w.dir, "blobs", "objects"))
	require.NoError(w.t, err)
	return len(entries)
}

func TestSignIn(t *testing.T) {
	w := newWorld(t)
	for _, token := range []string{"", "wrong", workerToken + "x"} {
		w.refused(w.do(token, "GET", "/runs/"+jobID, nil), 401, contract.CodeUnauthenticated)
	}
	c := w.claim(jobID, 0, 0)
	w.refused(w.do(c.Token, "GET", "/runs/"+jobID, nil), 401, contract.CodeUnauthenticated)
	w.refused(w.do(workerToken, "POST", "/runs/"+jobID+"/events", "{}"), 401, contract.CodeUnauthenticated)

	t.Run("a token reaches its own run only", func(t *testing.T) {
		w.create(contract.KindJob, "job_2", contract.JobCreated{DatasetID: "ds_1", ModelID: "model_base"})
		other := w.claim("job_2", 0, 0)
		w.refused(w.do(other.Token, "POST", "/runs/"+jobID+"/events", "{}"), 403, contract.CodeForbidden)
	})
	t.Run("forged tokens", func(t *testing.T) {
		claims := jwt.MapClaims{"iss": "vibeflow", "aud": "run", "run": jobID, "epoch": 1, "nonce": "x", "exp": time.Now().Add(time.Hour).Unix()}
		none, err := jwt.NewWithClaims(jwt.SigningMethodNone, claims).SignedString(jwt.UnsafeAllowNoneSignatureType)
		require.NoError(t, err)
		master, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(signingKey)
		require.NoError(t, err)
		for _, token := range []string{none, master, c.Token[:len(c.Token)-2]} {
			w.refused(w.do(token, "PUT", "/runs/"+jobID+"/result", "{}"), 401, contract.CodeUnauthenticated)
		}
	})
}

func TestClaimSaysWhatToDo(t *testing.T) {
	w := newWorld(t)
	c := w.claim(jobID, 0, 0)
	require.EqualValues(t, 1, c.Epoch)
	require.Equal(t, contract.VerbTrain, c.Spec.Verb)
	require.Equal(t, "tiny:llama", c.Spec.Model.Source)
	require.Equal(t, "chat", c.Spec.Dataset.Format)
	require.EqualValues(t, 3, c.Spec.Training.Seed)
	require.EqualValues(t, 1, c.Spec.Epoch)
	require.Nil(t, c.Checkpoint)

	rows := w.do(c.Token, "GET", "/runs/"+jobID+"/blobs/"+c.Spec.Dataset.Train.SHA256, nil)
	require.Equal(t, "train rows", string(rows.body))
	part := w.do(c.Token, "GET", "/runs/"+jobID+"/blobs/"+c.Spec.Dataset.Eval.SHA256, nil, "Range", "bytes=5-")
	require.Equal(t, 206, part.status)
	require.Equal(t, "rows", string(part.body))
	require.Equal(t, "bytes 5-8/9", part.header.Get("Content-Range"))

	job, err := w.store.GetJob(t.Context(), jobID)
	require.NoError(t, err)
	require.Equal(t, contract.StatusRunning, job.Status)
	require.Equal(t, worker, job.Worker)

	w.refused(w.do(workerToken, "POST", "/runs/job_none/claim", contract.ClaimRequest{Worker: worker}), 404, contract.CodeNotFound)
	w.refused(w.do(workerToken, "POST", "/runs/pipe_1/claim", contract.ClaimRequest{Worker: worker}), 404, contract.CodeNotFound)
	w.refused(w.do(workerToken, "GET", "/runs/"+jobID+"%2f..", nil), 404, contract.CodeNotFound)
}

func TestARunKeepsItsRows(t *testing.T) {
	w := newWorld(t)
	w.create(contract.KindDataset, "ds_2", contract.DatasetCreated{Name: "late"})
	w.create(contract.KindJob, "job_2", contract.JobCreated{DatasetID: "ds_2", ModelID: "model_base"})
	w.refused(w.do(workerToken, "POST", "/runs/job_2/claim", contract.ClaimRequest{Worker: worker}), 503, contract.CodeUnavailable)
	w.append("dataset/ds_2", "dataset.failed", contract.Errorf(contract.CodeBadData, "no rows"))
	w.refused(w.do(workerToken, "POST", "/runs/job_2/claim", contract.ClaimRequest{Worker: worker}), 422, contract.CodeBadData)

	first := w.claim(jobID, 0, 0)
	anew := w.object("other rows")
	w.append("dataset/ds_1", "dataset.queued", struct{}{})
	w.append("dataset/ds_1", "dataset.completed", contract.DatasetProcessed{Train: &anew})
	second := w.claim(jobID, 1, 0)
	require.Equal(t, first.Spec.Dataset, second.Spec.Dataset, "a dataset processed anew changes no run that has begun")
	w.stop()
	w.start() // sweeps what nothing refers to
	got := w.do(second.Token, "GET", "/runs/"+jobID+"/blobs/"+second.Spec.Dataset.Train.SHA256, nil)
	require.Equal(t, "train rows", string(got.body))
}

func TestTwoClaimersOneWins(t *testing.T) {
	w := newWorld(t)
	for epoch := range int64(5) {
		var wg sync.WaitGroup
		answers := make([]answer, 4)
		for i := range answers {
			wg.Go(func() {
				answers[i] = w.do(workerToken, "POST", "/runs/"+jobID+"/claim", contract.ClaimRequest{ExpectEpoch: epoch, Worker: worker})
			})
		}
		wg.Wait()
		won := 0
		for _, a := range answers {
			if a.status == 200 {
				won++
				continue
			}
			w.refused(a, 409, contract.CodeEpochSuperseded)
		}
		require.Equal(t, 1, won)
	}
	evs, err := w.store.EventsAfter(t.Context(), "job/"+jobID, 0, 0)
	require.NoError(t, err)
	require.Len(t, evs, 1+5) // created, and a started for each epoch
}

func TestOldEpochWritesNothing(t *testing.T) {
	w := newWorld(t)
	old := w.claim(jobID, 0, 0)
	f := w.upload(old, "weights")
	w.claim(jobID, 1, 0)

	m := contract.Manifest{Kind: "checkpoint", Name: "step-00000001", Step: 1, Files: []contract.FileInfo{f}}
	w.refused(w.send(old, 1, line(1, "log")), 409, contract.CodeEpochSuperseded)
	w.refused(w.commit(old, m), 409, contract.CodeEpochSuperseded)
	m.Kind, m.Name = "adapter", "adapter"
	w.refused(w.do(old.Token, "PUT", "/runs/"+jobID+"/artifacts/adapter", m), 409, contract.CodeEpochSuperseded)
	result := contract.RunResult{RunID: jobID, Epoch: 1, Outcome: contract.OutcomeCompleted}
	w.refused(w.do(old.Token, "PUT", "/runs/"+jobID+"/result", result), 409, contract.CodeEpochSuperseded)
	sha := digest([]byte("more"))
	w.refused(w.chunk(old.Token, jobID, sha, 0, 4, []byte("more")), 409, contract.CodeEpochSuperseded)
	w.refused(w.do(old.Token, "GET", "/runs/"+jobID+"/blobs/"+f.SHA256, nil), 409, contract.CodeEpochSuperseded)
	w.refused(w.do(workerToken, "POST", "/runs/"+jobID+"/adopt", contract.AdoptRequest{Epoch: 1, Worker: worker}), 409, contract.CodeEpochSuperseded)

	var adopted contract.Claim
	w.do(workerToken, "POST", "/runs/"+jobID+"/adopt", contract.AdoptRequest{Epoch: 2, Worker: "host/1/later"}).into(t, &adopted)
	require.Nil(t, adopted.Spec)
	require.Equal(t, 200, w.send(adopted, 1, line(1, "log")).status)
	var state contract.RunState
	w.do(workerToken, "GET", "/runs/"+jobID, nil).into(t, &state)
	require.Equal(t, "host/1/later", state.Worker)
	require.EqualValues(t, 1, state.Acked)
}

func TestFencingUnderRace(t *testing.T) {
	w := newWorld(t)
	c := w.claim(jobID, 0, 0)
	var wg sync.WaitGroup
	var sent []answer
	wg.Go(func() {
		for n := 1; n <= 40; n++ {
			sent = append(sent, w.send(c, n, line(n, "metrics", "step", n, "loss", 1.5)))
		}
	})
	wg.Go(func() { w.claim(jobID, 1, 0) })
	wg.Wait()

	evs, err := w.store.EventsAfter(t.Context(), "job/"+jobID, 0, 0)
	require.NoError(t, err)
	superseded, accepted := false, 0
	for i, e := range evs {
		require.EqualValues(t, i+1, e.Seq)
		if e.Source == "gateway/2" {
			superseded = true
		}
		if e.Source == "runner/1" {
			require.False(t, superseded, "a line of epoch 1 was taken after epoch 2 had begun")
			accepted++
		}
	}
	for i, a := range sent {
		if i < accepted {
			require.Equal(t, 200, a.status)
		} else {
			w.refused(a, 409, contract.CodeEpochSuperseded)
		}
	}
}

func TestEvents(t *testing.T) {
	w := newWorld(t)
	c := w.claim(jobID, 0, 0)
	metrics := func(n int) json.RawMessage { return line(n, "metrics", "step", n, "loss", 3.0/float64(n)) }

	var ack contract.Ack
	w.send(c, 1, line(1, "started", "total_steps", 9), metrics(2), metrics(3)).into(t, &ack)
	require.Equal(t, contract.Ack{Epoch: 1, Acked: 3}, ack)

	t.Run("a batch told twice counts once", func(t *testing.T) {
		w.send(c, 1, line(1, "started", "total_steps", 9), metrics(2), metrics(3)).into(t, &ack)
		require.EqualValues(t, 3, ack.Acked)
		w.send(c, 3, metrics(3), metrics(4)).into(t, &ack)
		require.EqualValues(t, 4, ack.Acked)
		evs, err := w.store.EventsAfter(t.Context(), "job/"+jobID, 2, 0)
		require.NoError(t, err)
		require.Len(t, evs, 4)
	})
	t.Run("a gap is refused, with where to go on", func(t *testing.T) {
		a := w.send(c, 6, metrics(6))
		w.refused(a, 409, contract.CodeConflict)
		require.NotNil(t, a.Acked)
		require.EqualValues(t, 4, *a.Acked)
	})
	t.Run("bad batches leave nothing", func(t *testing.T) {
		big := line(5, "log", "message", strings.Repeat("x", 65<<10))
		many := make([]json.RawMessage, 1001)
		for i := range many {
			many[i] = line(5+i, "log")
		}
		for name, bad := range map[string]struct {
			body any
			code contract.Code
		}{
			"not JSON":             {`{"epoch":1,"first":5,"lines":[{]}`, contract.CodeInvalid},
			"torn":                 {`{"epoch":1,"first":5,"lines":[{"n":5`, contract.CodeInvalid},
			"two values":           {`{"epoch":1,"first":5,"lines":[{"n":5,"type":"log"}]}{}`, contract.CodeInvalid},
			"no lines":             {`{"epoch":1,"first":5,"lines":[]}`, contract.CodeInvalid},
			"line is a number":     {`{"epoch":1,"first":5,"lines":[7]}`, contract.CodeInvalid},
			"line is null":         {`{"epoch":1,"first":5,"lines":[null]}`, contract.CodeInvalid},
			"wrong number":         {`{"epoch":1,"first":5,"lines":[{"n":6,"type":"log"}]}`, contract.CodeInvalid},
			"no type":              {`{"epoch":1,"first":5,"lines":[{"n":5}]}`, contract.CodeInvalid},
			"type of another kind": {`{"epoch":1,"first":5,"lines":[{"n":5,"type":"job.completed"}]}`, contract.CodeInvalid},
			"line 0":               {`{"epoch":1,"first":0,"lines":[{"n":0,"type":"log"}]}`, contract.CodeInvalid},
			"other epoch":          {`{"epoch":2,"first":5,"lines":[{"n":5,"type":"log"}]}`, contract.CodeInvalid},
			"second line bad":      {`{"epoch":1,"first":5,"lines":[{"n":5,"type":"log"},{"n":7,"type":"log"}]}`, contract.CodeInvalid},
			"long line":            {contract.EventBatch{Epoch: 1, First: 5, Lines: []json.RawMessage{big}}, contract.CodeTooLarge},
			"many lines":           {contract.EventBatch{Epoch: 1, First: 5, Lines: many}, contract.CodeTooLarge},
			"huge body":            {strings.Repeat(" ", 17<<20), contract.CodeTooLarge},
		} {
			status := map[contract.Code]int{contract.CodeInvalid: 400, contract.CodeTooLarge: 413}[bad.code]
			a := w.do(c.Token, "POST", "/runs/"+jobID+"/events", bad.body)
			require.Equal(t, status, a.status, "%s: %s", name, a.body)
			require.Equal(t, bad.code, a.Code, name)
		}
		require.Equal(t, 200, w.send(c, 5, metrics(5)).status)
	})
	t.Run("a line whose fields have odd types is kept and does no harm", func(t *testing.T) {
		require.Equal(t, 200, w.send(c, 6, line(6, "metrics", "step", "six", "loss", nil, "grad_norm", 7.5)).status)
		job, err := w.store.GetJob(t.Context(), jobID)
		require.NoError(t, err)
		require.InDelta(t, 7.5, *job.GradNorm, 0)
		require.Equal(t, 5, job.Step)
		require.Equal(t, 9, job.TotalSteps)
	})
}

func TestRewind(t *testing.T) {
	w := newWorld(t)
	c := w.claim(jobID, 0, 0)
	for n := 1; n <= 6; n++ {
		require.Equal(t, 200, w.send(c, n, line(n, "metrics", "step", n, "loss", 1.0)).status)
	}
	c = w.claim(jobID, 1, 4)
	evs, err := w.store.EventsAfter(t.Context(), "job/"+jobID, 8, 0)
	require.NoError(t, err)
	require.Equal(t, []string{"job.rewound", "job.started"}, []string{evs[0].Type, evs[1].Type})
	require.JSONEq(t, `{"to_step":4}`, string(evs[0].Payload))
	require.Equal(t, 200, w.send(c, 1, line(1, "metrics", "step", 5, "loss", 2.0)).status)
	curves, err := w.store.Metrics(t.Context(), jobID, 0)
	require.NoError(t, err)
	require.Len(t, curves.Train, 5)
	require.InDelta(t, 2.0, *curves.Train[4].Loss, 0)
	w.claim(jobID, 2, 5)
	evs, err = w.store.EventsAfter(t.Context(), "job/"+jobID, 11, 0)
	require.NoError(t, err)
	require.Len(t, evs, 1, "nothing later was told: no rewind")
}

func TestUploadGoesOnWhereItStopped(t *testing.T) {
	w := newWorld(t)
	c := w.claim(jobID, 0, 0)
	content := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	sha := digest(content)
	head := func() int { return w.do(c.Token, "HEAD", "/runs/"+jobID+"/blobs/"+sha, nil).status }

	var state contract.UploadState
	w.do(c.Token, "GET", "/runs/"+jobID+"/uploads/"+sha, nil).into(t, &state)
	require.Equal(t, contract.UploadState{SHA256: sha}, state)
	w.chunk(c.Token, jobID, sha, 0, len(content), content[:1<<20]).into(t, &state)
	require.EqualValues(t, 1<<20, state.Received)

	w.refused(w.chunk(c.Token, jobID, sha, 2<<20, len(content), content[2<<20:]), 409, contract.CodeConflict)
	require.Equal(t, 404, head())

	w.stop()
	w.start() // the server died and came back

	w.do(c.Token, "GET", "/runs/"+jobID+"/uploads/"+sha, nil).into(t, &state)
	require.EqualValues(t, 1<<20, state.Received)
	path := filepath.Join(w.spool(), jobID+"-"+sha+".sealed")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
	spooled, err := os.ReadFile(path)
	require.NoError(t, err)
	require.False(t, bytes.Contains(spooled, content[:16]), "content lies in the open")
	w.chunk(c.Token, jobID, sha, 1<<20, len(content), content[1<<20:2<<20]).into(t, &state)
	w.chunk(c.Token, jobID, sha, 1<<20, len(content), content[1<<20:2<<20]).into(t, &state) // its answer was lost
	require.EqualValues(t, 2<<20, state.Received)
	w.chunk(c.Token, jobID, sha, 2<<20, len(content), content[2<<20:]).into(t, &state)
	require.True(t, state.Complete)
	require.Equal(t, 200, head())
	got := w.do(c.Token, "GET", "/runs/"+jobID+"/blobs/"+sha, nil)
	require.True(t, bytes.Equal(content, got.body))
	parts, err := os.ReadDir(w.spool())
	require.NoError(t, err)
	require.Empty(t, parts)

	w.chunk(c.Token, jobID, sha, 2<<20, len(content), content[2<<20:]).into(t, &state) // sent once more
	require.True(t, state.Complete)
	sealed, err := os.ReadFile(filepath.Join(w.dir, "blobs", "objects", w.newest()))
	require.NoError(t, err)
	require.False(t, bytes.Contains(sealed, content[:64]), "content lies in the open")
}

func (w *world) newest() string {
	entries, err := os.ReadDir(filepath.Join(w.dir, "blobs", "objects"))
	require.NoError(w.t, err)
	name, size := "", int64(-1)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(w.t, err)
		if info.Size() > size {
			name, size = e.Name(), info.Size()
		}
	}
	return name
}

func TestUploadCutOff(t *testing.T) {
	w := newWorld(t)
	c := w.claim(jobID, 0, 0)
	content := bytes.Repeat([]byte("abcdefgh"), 64<<10)
	sha := digest(content)
	r, pipe := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "PUT",
		fmt.Sprintf("%s/internal/runs/%s/uploads/%s?offset=0&size=%d", w.server.URL, jobID, sha, len(content)), r)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+c.Token)
	req.ContentLength = int64(len(content))
	go func() {
		_, _ = pipe.Write(content[:100_000])
		_ = pipe.CloseWithError(io.ErrUnexpectedEOF)
	}()
	_, err = http.DefaultClient.Do(req) //nolint:bodyclose // there is no answer
	require.Error(t, err)

	var state contract.UploadState
	require.Eventually(t, func() bool { // the server notices the broken connection by itself
		w.do(c.Token, "GET", "/runs/"+jobID+"/uploads/"+sha, nil).into(t, &state)
		return state.Received > 0
	}, 5*time.Second, 10*time.Millisecond)
	require.False(t, state.Complete)
	w.chunk(c.Token, jobID, sha, int(state.Received), len(content), content[state.Received:]).into(t, &state)
	require.True(t, state.Complete)
}

// TestADamagedPartIsSentAgain: a worker is told to begin again, and its run does not fail for it.
func TestADamagedPartIsSentAgain(t *testing.T) {
	w := newWorld(t)
	c := w.claim(jobID, 0, 0)
	content := bytes.Repeat([]byte("abcdefgh"), 64<<10)
	sha := digest(content)
	w.chunk(c.Token, jobID, sha, 0, len(content), content[:400_000])
	path := filepath.Join(w.spool(), jobID+"-"+sha+".sealed")
	spooled, err := os.ReadFile(path)
	require.NoError(t, err)
	spooled[1000] ^= 1
	require.NoError(t, os.WriteFile(path, spooled, 0o600))
	w.refused(w.chunk(c.Token, jobID, sha, 400_000, len(content), content[400_000:]), 503, contract.CodeUnavailable)

	var state contract.UploadState
	w.do(c.Token, "GET", "/runs/"+jobID+"/uploads/"+sha, nil).into(t, &state)
	require.Zero(t, state.Received)
	w.chunk(c.Token, jobID, sha, 0, len(content), content).into(t, &state)
	require.True(t, state.Complete)
}

func TestBadUploads(t *testing.T) {
	w := newWorld(t)
	c := w.claim(jobID, 0, 0)
	before := w.blobs()
	sha := digest([]byte("right"))
	w.refused(w.chunk(c.Token, jobID, sha, 0, 5, []byte("wrong")), 400, contract.CodeInvalid)
	w.refused(w.chunk(c.Token, jobID, sha, 0, 5, []byte("too long")), 413, contract.CodeTooLarge)
	w.refused(w.chunk(c.Token, jobID, sha, 0, 65<<20, []byte("right")), 413, contract.CodeTooLarge)
	w.refused(w.chunk(c.Token, jobID, sha, 6, 5, nil), 400, contract.CodeInvalid)
	w.refused(w.chunk(c.Token, jobID, sha, -1, 5, nil), 400, contract.CodeInvalid)
	for _, bad := range []string{strings.ToUpper(sha), sha[1:], "..%2f..%2fapp.db", "%2e%2e"} {
		a := w.chunk(c.Token, jobID, bad, 0, 5, []byte("right"))
		require.GreaterOrEqual(t, a.status, 400, bad)
	}
	require.Equal(t, before, w.blobs())
	var state contract.UploadState
	w.chunk(c.Token, jobID, sha, 0, 5, []byte("right")).into(t, &state) // begins again
	require.True(t, state.Complete)
	empty := digest(nil)
	w.chunk(c.Token, jobID, empty, 0, 0, nil).into(t, &state)
	require.True(t, state.Complete)
	require.Equal(t, 200, w.do(c.Token, "GET", "/runs/"+jobID+"/blobs/"+empty, nil).status)
}

func TestContentOfOthersIsNotReached(t *testing.T) {
	w := newWorld(t)
	mine := w.claim(jobID, 0, 0)
	f := w.upload(mine, "my weights")
	secret := w.object("somebody's file")
	w.create(contract.KindJob, "job_2", contract.JobCreated{DatasetID: "ds_1", ModelID: "model_base"})
	other := w.claim("job_2", 0, 0)
	for _, sha := range []string{f.SHA256, secret.SHA256} {
		require.Equal(t, 404, w.do(other.Token, "HEAD", "/runs/job_2/blobs/"+sha, nil).status)
		require.Equal(t, 404, w.do(other.Token, "GET", "/runs/job_2/blobs/"+sha, nil).status)
	}
	before := w.blobs()
	var state contract.UploadState
	w.chunk(other.Token, "job_2", f.SHA256, 0, int(f.Size), []byte("my weights")).into(t, &state)
	require.True(t, state.Complete, "who has the content may hold it")
	require.Equal(t, before, w.blobs(), "the same content is stored once")
	w.refused(w.chunk(other.Token, "job_2", f.SHA256[:63]+"0", 0, int(f.Size), []byte("my weights")), 400, contract.CodeInvalid)
}

func TestCheckpoints(t *testing.T) {
	w := newWorld(t)
	c := w.claim(jobID, 0, 0)
	n, start := 0, w.blobs()
	save := func(step int, best, final bool) contract.Manifest {
		name := fmt.Sprintf("step-%08d", step)
		m := contract.Manifest{Kind: "checkpoint", Name: name, Step: step, Best: best, Final: final,
			Files: []contract.FileInfo{w.upload(c, name), w.upload(c, "the tokenizer")}}
		n++
		require.Equal(t, 200, w.send(c, n, line(n, "checkpoint", "name", name, "step", step)).status)
		require.Equal(t, 204, w.commit(c, m).status)
		return m
	}
	t.Run("needs its files and its line", func(t *testing.T) {
		m := contract.Manifest{Kind: "checkpoint", Name: "step-00000001", Step: 1,
			Files: []contract.FileInfo{{Path: "adapter.safetensors", SHA256: digest([]byte("step-00000001")), Size: 13}}}
		a := w.commit(c, m)
		w.refused(a, 409, contract.CodeConflict)
		require.Equal(t, []string{m.Files[0].SHA256}, a.Missing)
		w.upload(c, "step-00000001")
		w.refused(w.commit(c, m), 409, contract.CodeConflict) // the log does not know of it
		m.Files[0].Size = 12
		w.refused(w.commit(c, m), 400, contract.CodeInvalid)
	})
	first := save(1, true, false)
	save(2, false, false)
	require.Equal(t, 204, w.commit(c, first).status, "again changes nothing")
	third := save(3, false, false)
	save(4, false, false)
	fifth := save(5, false, true)
	cs, err := w.store.Checkpoints(t.Context(), jobID)
	require.NoError(t, err)
	var kept []int
	for _, cp := range cs {
		kept = append(kept, cp.Step)
	}
	require.Equal(t, []int{5, 4, 1}, kept, "the last two, and the best")
	require.Equal(t, start+4, w.blobs(), "three kept and the tokenizer that all share")
	require.Equal(t, 404, w.do(c.Token, "HEAD", "/runs/"+jobID+"/blobs/"+third.Files[0].SHA256, nil).status)

	var state contract.RunState
	w.do(workerToken, "GET", "/runs/"+jobID, nil).into(t, &state)
	require.Equal(t, fifth, *state.Checkpoint)
	next := w.claim(jobID, 1, 5)
	require.Equal(t, "step-00000005", next.Checkpoint.Name)
	got := w.do(next.Token, "GET", "/runs/"+jobID+"/blobs/"+fifth.Files[0].SHA256, nil)
	require.Equal(t, "step-00000005", string(got.body))

	job, err := w.store.GetJob(t.Context(), jobID)
	require.NoError(t, err)
	require.Equal(t, "step-00000005", job.Checkpoint)
}

func TestManifestNamesAndPaths(t *testing.T) {
	w := newWorld(t)
	c := w.claim(jobID, 0, 0)
	f := w.upload(c, "weights")
	put := func(address string, m contract.Manifest) answer {
		return w.do(c.Token, "PUT", "/runs/"+jobID+"/artifacts/"+address, m)
	}
	for _, p := range []string{"", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "..", "a\\b", "C:x", "a\x00", strings.Repeat("a", 600)} {
		bad := f
		bad.Path = p
		w.refused(put("adapter", contract.Manifest{Kind: "adapter", Name: "adapter", Files: []contract.FileInfo{bad}}), 400, contract.CodeInvalid)
	}
	for address, name := range map[string]string{"..%2f..": "../..", "a%2fb": "a/b", ".hidden": ".hidden", "a..b": "a..b", "adapter": "other"} {
		a := put(address, contract.Manifest{Kind: "adapter", Name: name, Files: []contract.FileInfo{f}})
		require.Contains(t, []int{400, 404}, a.status, address)
	}
	w.refused(put("x", contract.Manifest{Kind: "shell", Name: "x", Files: []contract.FileInfo{f}}), 400, contract.CodeInvalid)
	w.refused(put("x", contract.Manifest{Kind: "model", Name: "x", Files: []contract.FileInfo{f, f}}), 400, contract.CodeInvalid)
	require.Equal(t, 204, put("adapter", contract.Manifest{Kind: "adapter", Name: "adapter", Files: []contract.FileInfo{f}}).status)
	as, err := w.store.RunArtifacts(t.Context(), jobID)
	require.NoError(t, err)
	require.Len(t, as, 1)
}

func TestResultIsTakenOnce(t *testing.T) {
	w := newWorld(t)
	c := w.claim(jobID, 0, 0)
	result := contract.RunResult{Version: 1, RunID: jobID, Epoch: 1, Outcome: contract.OutcomePaused, Step: 7}
	put := func() answer { return w.do(c.Token, "PUT", "/runs/"+jobID+"/result", result) }
	require.Equal(t, 204, put().status)
	require.Equal(t, 204, put().status)
	result.Step = 8
	w.refused(put(), 409, contract.CodeConflict)
	result.Outcome = "fine"
	w.refused(put(), 400, contract.CodeInvalid)
	var state contract.RunState
	w.do(workerToken, "GET", "/runs/"+jobID, nil).into(t, &state)
	require.Equal(t, 7, state.Result.Step)
	w.claim(jobID, 1, 7)
	state = contract.RunState{}
	w.do(workerToken, "GET", "/runs/"+jobID, nil).into(t, &state)
	require.Nil(t, state.Result, "a new epoch has none yet")

	w.append("job/"+jobID, "job.cancelled", struct{}{})
	w.refused(w.do(workerToken, "POST", "/runs/"+jobID+"/claim", contract.ClaimRequest{ExpectEpoch: 2, Worker: worker}), 409, contract.CodeConflict)
}

// tuned registers the model that the job made.
func (w *world) tuned() store.Model {
	w.t.Helper()
	c := w.claim(jobID, 0, 0)
	f := w.upload(c, "adapter weights")
	f.Path = "adapter_model.safetensors"
	m := contract.Manifest{Kind: "adapter", Name: "adapter", Files: []contract.FileInfo{f}}
	require.Equal(w.t, 204, w.do(c.Token, "PUT", "/runs/"+jobID+"/artifacts/adapter", m).status)
	files, err := w.store.ModelFiles(w.t.Context(), jobID, m)
	require.NoError(w.t, err)
	model := store.Model{ID: "model_tuned", Name: "Helper | <b>", Source: "job", BaseModelID: "model_base", JobID: jobID, Method: "lora", Files: files}
	_, err = w.store.CreateModel(w.t.Context(), model)
	require.NoError(w.t, err)
	return model
}

func TestEvaluationRun(t *testing.T) {
	w := newWorld(t)
	model := w.tuned()
	w.create(contract.KindEvaluation, "eval_1", contract.EvaluationCreated{ModelID: model.ID, DatasetID: "ds_1", Config: contract.Evaluation{MaxRows: 5}})
	c := w.claim("eval_1", 0, 0)
	require.Equal(t, contract.VerbEvaluate, c.Spec.Verb)
	require.Equal(t, "lora", c.Spec.Adapter.Method)
	require.Equal(t, "tiny:llama", c.Spec.Model.Source)
	require.Empty(t, c.Spec.Dataset.Train.SHA256, "training rows are not its business")
	got := w.do(c.Token, "GET", "/runs/eval_1/blobs/"+c.Spec.Adapter.Files[0].SHA256, nil)
	require.Equal(t, "adapter weights", string(got.body))

	metrics := json.RawMessage(`{"rows":5,"loss_base":3,"loss_tuned":2,"samples":[{"row":1,"prompt":"p"}]}`)
	result := contract.RunResult{RunID: "eval_1", Epoch: 1, Outcome: contract.OutcomeCompleted, Metrics: metrics}
	require.Equal(t, 204, w.do(c.Token, "PUT", "/runs/eval_1/result", result).status)
	w.append("evaluation/eval_1", "evaluation.completed", contract.EvaluationResult{Rows: 5, LossBase: 3, LossTuned: 2})
	v, err := w.store.GetEvaluation(t.Context(), "eval_1")
	require.NoError(t, err)
	require.Equal(t, contract.StatusCompleted, v.Status)
	require.Len(t, v.Metrics.Samples, 1, "the workflow's shorter copy leaves the samples")
}

func TestExportRunHasACard(t *testing.T) {
	w := newWorld(t)
	model := w.tuned()
	w.create(contract.KindExport, "exp_1", contract.ExportCreated{ModelID: model.ID, Format: "merged"})
	c := w.claim("exp_1", 0, 0)
	require.Equal(t, "merged", c.Spec.Export.Format)
	require.Contains(t, c.Spec.Export.Card, "# Helper  b\n")
	require.Contains(t, c.Spec.Export.Card, "questions (10 rows")
	require.NotNil(t, c.Spec.Adapter)

	// What it makes may be what it was given: that is stored already, and the export holds it from then on.
	f := c.Spec.Adapter.Files[0]
	require.Equal(t, 200, w.do(c.Token, "HEAD", "/runs/exp_1/blobs/"+f.SHA256, nil).status)
	m := contract.Manifest{Kind: "adapter", Name: "adapter", Files: []contract.FileInfo{f}}
	require.Equal(t, 204, w.do(c.Token, "PUT", "/runs/exp_1/artifacts/adapter", m).status)
	files, err := w.store.ModelFiles(t.Context(), "exp_1", m)
	require.NoError(t, err)
	require.Equal(t, model.Files[0].ObjectID, files[0].ObjectID)
}

func TestDeployment(t *testing.T) {
	w := newWorld(t)
	model := w.tuned()
	w.create(contract.KindDeployment, "dep_1", contract.DeploymentCreated{ModelID: model.ID, Queue: "cpu.serve"})
	var spec contract.DeploymentSpec
	w.do(workerToken, "GET", "/deployments/dep_1", nil).into(t, &spec)
	require.Equal(t, "tiny:llama", spec.Base.Source)
	require.Equal(t, "lora", spec.Weights.Method)
	blob := w.do(workerToken, "GET", "/deployments/dep_1/blobs/"+spec.Weights.Files[0].SHA256, nil)
	require.Equal(t, "adapter weights", string(blob.body))
	w.refused(w.do(workerToken, "GET", "/deployments/dep_1/blobs/"+digest([]byte("train rows")), nil), 404, contract.CodeNotFound)
	w.refused(w.do(workerToken, "GET", "/deployments/dep_2", nil), 404, contract.CodeNotFound)

	serving := contract.Serving{Worker: worker, URL: "http://127.0.0.1:1", Token: "t", Name: "model_tuned"}
	put := func(s contract.Serving) answer { return w.do(workerToken, "PUT", "/deployments/dep_1/serving", s) }
	for _, bad := range []string{"", "file:///etc/passwd", "http://", "127.0.0.1:1", "http://u:p@h/"} {
		s := serving
		s.URL = bad
		w.refused(put(s), 400, contract.CodeInvalid)
	}
	require.False(t, spec.Served)
	require.Equal(t, 204, put(serving).status)
	require.Equal(t, 204, put(serving).status)
	w.do(workerToken, "GET", "/deployments/dep_1", nil).into(t, &spec)
	require.True(t, spec.Served)
	last, err := w.store.LastSeq(t.Context(), "deployment/dep_1")
	require.NoError(t, err)
	require.EqualValues(t, 2, last, "the same report again is no event")
	d, err := w.store.GetDeployment(t.Context(), "dep_1")
	require.NoError(t, err)
	require.Equal(t, serving, *d.Serving)
	shown, err := json.Marshal(d)
	require.NoError(t, err)
	require.NotContains(t, string(shown), "127.0.0.1")
	w.append("deployment/dep_1", "deployment.stop_requested", struct{}{})
	w.refused(put(serving), 409, contract.CodeConflict)
}

func TestWorkerReport(t *testing.T) {
	w := newWorld(t)
	report := contract.WorkerReport{ID: "host/1", Boot: "b", Queue: "cpu", Slots: 1}
	require.Equal(t, 204, w.do(workerToken, "PUT", "/workers/host%2F1", report).status)
	report.Boot, report.State = "c", contract.WorkerPreparing
	require.Equal(t, 204, w.do(workerToken, "PUT", "/workers/host%2F1", report).status)
	w.refused(w.do(workerToken, "PUT", "/workers/other", report), 400, contract.CodeInvalid)
	ws, err := w.store.ListWorkers(t.Context())
	require.NoError(t, err)
	require.Len(t, ws, 1)
	require.Equal(t, []string{"c", contract.WorkerPreparing}, []string{ws[0].Boot, ws[0].State})
}

// TestTheHubsTokenIsTheProjects: who runs a job gets its project's token with the claim, and nothing else has it.
func TestTheHubsTokenIsTheProjects(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	put := func(owner, token string) {
		require.NoError(t, w.store.PutSetting(ctx, store.Setting{Owner: owner, Name: store.SettingHubToken, Value: []byte(token)}))
	}
	_, err := w.store.CreateUser(ctx, store.User{ID: "user_1", Email: "ada@example.com", Role: contract.RoleMember}, false)
	require.NoError(t, err)
	require.NoError(t, w.store.CreateProject(ctx, store.Project{ID: "proj_ada", UserID: "user_1", Name: "Ada's"}))
	put("", "hf_everybodys")
	put("user_1", "hf_adas")
	require.NoError(t, w.store.UpsertCatalog(ctx, []store.Model{{ID: "hub:meta/gated", Ref: contract.ModelRef{Source: "hub:meta/gated"}}}))
	for id, project := range map[string]string{"job_ada": "proj_ada", "job_other": store.DefaultProject} {
		w.create(contract.KindJob, id, contract.JobCreated{ProjectID: project, DatasetID: "ds_1", ModelID: "hub:meta/gated",
			Model: contract.ModelRef{Source: "hub:meta/gated"}, Queue: "cpu"})
		var claim contract.Claim
		w.do(workerToken, "POST", "/runs/"+id+"/claim", contract.ClaimRequest{Worker: worker}).into(t, &claim)
		require.Equal(t, map[string]string{"job_ada": "hf_adas", "job_other": "hf_everybodys"}[id], claim.Spec.Model.Token)
		events, err := w.store.EventsAfter(ctx, contract.Stream(contract.KindJob, id), 0, 100)
		require.NoError(t, err)
		told, err := json.Marshal(events)
		require.NoError(t, err)
		require.NotContains(t, string(told), "hf_")
	}
	var bundled contract.Claim
	w.do(workerToken, "POST", "/runs/"+jobID+"/claim", contract.ClaimRequest{Worker: worker}).into(t, &bundled)
	require.Empty(t, bundled.Spec.Model.Token, "a model that is not the Hub's needs none")
	w.create(contract.KindDeployment, "dep_ada", contract.DeploymentCreated{ProjectID: "proj_ada", ModelID: "hub:meta/gated", Queue: "cpu.serve"})
	var spec contract.DeploymentSpec
	w.do(workerToken, "GET", "/deployments/dep_ada", nil).into(t, &spec)
	require.Equal(t, "hf_adas", spec.Base.Token)
}
