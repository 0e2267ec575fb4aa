// Package gatewaytest is a worker gateway in memory, for tests of what talks to one. It keeps contract/gateway.go to the
// letter and refuses what the real one refuses: a stale epoch, a gap in the events, a checkpoint whose files or events
// are missing, content that is not what its digest says.
package gatewaytest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient"
)

// WorkerToken is the one that the gateway takes.
const WorkerToken = "worker-token"

// Gateway holds any number of runs and deployments.
type Gateway struct {
	server *httptest.Server

	mu          sync.Mutex
	changed     *sync.Cond
	down        bool
	full        bool
	away        bool
	turnedAway  int
	misled      int // requests for content that do not reach it
	garbled     int // contents that are changed on their way
	runs        map[string]*Run
	deployments map[string]*contract.DeploymentSpec
	served      map[string][]contract.Serving
	lost        map[string]int
	blobs       map[string][]byte
	uploads     map[string][]byte
	reports     []contract.WorkerReport
	tokens      int
}

// Run is what the gateway holds of one run. Read it inside Look only.
type Run struct {
	State contract.RunState
	Spec  contract.RunSpec
	// Lines are the events of each epoch, in order.
	Lines map[int64][]json.RawMessage
	// Claims are the steps that launches went on from.
	Claims []int
	// Checkpoints and Artifacts are the manifests in the order of their arrival.
	Checkpoints []contract.Manifest
	Artifacts   []contract.Manifest
	Adoptions   int
	// Notes, Adjusted and Lost are what claims told of the launches before them.
	Notes    []string
	Adjusted []contract.Adjustment
	Lost     []string
	token    string
}

// New starts a gateway that ends with the test.
func New(t testing.TB) *Gateway {
	t.Helper()
	g := &Gateway{
		runs: map[string]*Run{}, deployments: map[string]*contract.DeploymentSpec{}, served: map[string][]contract.Serving{}, lost: map[string]int{},
		blobs: map[string][]byte{}, uploads: map[string][]byte{},
	}
	g.changed = sync.NewCond(&g.mu)
	g.server = httptest.NewServer(g.handler())
	t.Cleanup(g.server.Close)
	return g
}

// Client returns a client of the gateway.
func (g *Gateway) Client(t testing.TB) *gatewayclient.Client {
	t.Helper()
	client, err := gatewayclient.New(g.server.URL, WorkerToken)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// URL is where the gateway listens.
func (g *Gateway) URL() string { return g.server.URL }

// AddRun makes a run known.
func (g *Gateway) AddRun(id string, kind contract.Kind, spec contract.RunSpec) {
	g.mu.Lock()
	defer g.mu.Unlock()
	spec.RunID = id
	g.runs[id] = &Run{
		State: contract.RunState{RunID: id, Kind: kind, Status: contract.StatusRunning}, Spec: spec,
		Lines: map[int64][]json.RawMessage{},
	}
}

// AddBlob stores content and returns its name.
func (g *Gateway) AddBlob(content []byte) contract.FileInfo {
	g.mu.Lock()
	defer g.mu.Unlock()
	digest := digestOf(content)
	g.blobs[digest] = content
	return contract.FileInfo{SHA256: digest, Size: int64(len(content))}
}

// DropBlob loses content, as a broken disk would.
func (g *Gateway) DropBlob(digest string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.blobs, digest)
}

// AddDeployment makes a deployment known.
func (g *Gateway) AddDeployment(spec contract.DeploymentSpec) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deployments[spec.DeploymentID] = &spec
}

// SetDown makes every call fail, or work again.
func (g *Gateway) SetDown(down bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = down
}

// Mislead has something before the gateway answer the next requests for content: it knows of none.
func (g *Gateway) Mislead(requests int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.misled = requests
}

// Misled tells how many of them are still to come.
func (g *Gateway) Misled() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.misled
}

// Garble has the next contents changed on their way to the worker.
func (g *Gateway) Garble(contents int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.garbled = contents
}

// SetFull has the gateway refuse events for want of room, or take them again.
func (g *Gateway) SetFull(full bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.full = full
}

// SetAway has the gateway miss the disk of its stored files, or find it again.
func (g *Gateway) SetAway(away bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.away, g.turnedAway = away, 0
}

// AwaitTurnedAway blocks until content was asked for, or handed in, while the stored files were away.
func (g *Gateway) AwaitTurnedAway(t testing.TB) {
	t.Helper()
	g.await(t, func() bool { return g.turnedAway > 0 })
}

// stored refuses what needs the stored files while they are away.
func (g *Gateway) stored() error {
	if !g.away {
		return nil
	}
	g.turnedAway++
	return contract.Errorf(contract.CodeStorageAway, "the stored files are away")
}

// Look runs read on a run while nothing changes.
func (g *Gateway) Look(id string, read func(*Run)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	read(g.runs[id])
}

// patience is for a real runner or engine that starts cold on a machine that is busy.
const patience = 3 * time.Minute

// Await blocks until a run is as wanted; it fails the test when patience is over.
func (g *Gateway) Await(t testing.TB, id string, wanted func(*Run) bool) {
	t.Helper()
	g.await(t, func() bool { return wanted(g.runs[id]) })
}

// AwaitServing blocks until what was reported of a deployment is as wanted.
func (g *Gateway) AwaitServing(t testing.TB, id string, wanted func([]contract.Serving) bool) {
	t.Helper()
	g.await(t, func() bool { return wanted(g.served[id]) })
}

// Lost is how often it was told that a deployment's engine had died.
func (g *Gateway) Lost(id string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lost[id]
}

// AwaitReport blocks until a worker has reported as wanted.
func (g *Gateway) AwaitReport(t testing.TB, wanted func(contract.WorkerReport) bool) {
	t.Helper()
	g.await(t, func() bool { return len(g.reports) > 0 && wanted(g.reports[len(g.reports)-1]) })
}

func (g *Gateway) await(t testing.TB, wanted func() bool) {
	t.Helper()
	late := false
	timer := time.AfterFunc(patience, func() {
		g.mu.Lock()
		late = true
		g.mu.Unlock()
		g.changed.Broadcast()
	})
	defer timer.Stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	for !wanted() {
		require.False(t, late, "the gateway did not get there in %s", patience)
		g.changed.Wait()
	}
}

func (g *Gateway) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /internal/workers/{id...}", g.worker(g.putReport))
	mux.HandleFunc("GET /internal/runs/{run}", g.worker(g.getState))
	mux.HandleFunc("POST /internal/runs/{run}/claim", g.worker(g.claim))
	mux.HandleFunc("POST /internal/runs/{run}/adopt", g.worker(g.adopt))
	mux.HandleFunc("POST /internal/runs/{run}/events", g.run(g.events))
	mux.HandleFunc("GET /internal/runs/{run}/blobs/{sha}", g.run(g.getBlob))
	mux.HandleFunc("GET /internal/runs/{run}/uploads/{sha}", g.run(g.getUpload))
	mux.HandleFunc("PUT /internal/runs/{run}/uploads/{sha}", g.run(g.putUpload))
	mux.HandleFunc("PUT /internal/runs/{run}/checkpoints/{name}", g.run(g.putCheckpoint))
	mux.HandleFunc("PUT /internal/runs/{run}/artifacts/{name}", g.run(g.putArtifact))
	mux.HandleFunc("PUT /internal/runs/{run}/result", g.run(g.putResult))
	mux.HandleFunc("GET /internal/deployments/{id}", g.worker(g.getDeployment))
	mux.HandleFunc("GET /internal/deployments/{id}/blobs/{sha}", g.worker(func(w http.ResponseWriter, r *http.Request) error { return g.getBlob(w, r, nil) }))
	mux.HandleFunc("PUT /internal/deployments/{id}/serving", g.worker(g.putServing))
	mux.HandleFunc("DELETE /internal/deployments/{id}/serving", g.worker(g.deleteServing))
	return mux
}

type handler func(http.ResponseWriter, *http.Request) error

// worker admits the worker token.
func (g *Gateway) worker(next handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		g.serve(w, r, func() error {
			if r.Header.Get("Authorization") != "Bearer "+WorkerToken {
				return contract.Errorf(contract.CodeUnauthenticated, "not the worker token")
			}
			return next(w, r)
		})
	}
}

// run admits the token of the current epoch.
func (g *Gateway) run(next func(http.ResponseWriter, *http.Request, *Run) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		g.serve(w, r, func() error {
			run := g.runs[r.PathValue("run")]
			token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			if run == nil {
				return contract.Errorf(contract.CodeNotFound, "no such run")
			}
			if epoch, _, ok := strings.Cut(token, "/"); ok && epoch != strconv.FormatInt(run.State.Epoch, 10) {
				return contract.Errorf(contract.CodeEpochSuperseded, "epoch %d owns this run", run.State.Epoch)
			}
			if token != run.token {
				return contract.Errorf(contract.CodeUnauthenticated, "not the run's token")
			}
			return next(w, r, run)
		})
	}
}

func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, do func() error) {
	body, err := io.ReadAll(r.Body) // before the lock: a slow body must not hold it
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.changed.Broadcast()
	if g.down {
		panic(http.ErrAbortHandler) // cuts the connection
	}
	if g.misled > 0 && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
		g.misled--
		http.NotFound(w, r)
		return
	}
	w.Header().Set(contract.HeaderGateway, "1")
	if err := do(); err != nil {
		refuse(w, err)
	}
}

func refuse(w http.ResponseWriter, err error) {
	status := map[contract.Code]int{
		contract.CodeUnauthenticated: 401, contract.CodeNotFound: 404, contract.CodeConflict: 409,
		contract.CodeEpochSuperseded: 409, contract.CodeInvalid: 400, contract.CodeTooLarge: 413,
		contract.CodeStorageAway: 503,
	}[contract.CodeOf(err)]
	if status == 0 {
		status = 500
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": "refused", "status": status, "detail": err.Error(), "code": contract.CodeOf(err)})
}

func (g *Gateway) putReport(w http.ResponseWriter, r *http.Request) error {
	var report contract.WorkerReport
	if err := read(r, &report); err != nil {
		return err
	}
	g.reports = append(g.reports, report)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (g *Gateway) find(r *http.Request) (*Run, error) {
	run := g.runs[r.PathValue("run")]
	if run == nil {
		return nil, contract.Errorf(contract.CodeNotFound, "no such run")
	}
	return run, nil
}

func (g *Gateway) getState(w http.ResponseWriter, r *http.Request) error {
	run, err := g.find(r)
	if err != nil {
		return err
	}
	return write(w, run.State)
}

func (g *Gateway) claim(w http.ResponseWriter, r *http.Request) error {
	run, err := g.find(r)
	if err != nil {
		return err
	}
	var request contract.ClaimRequest
	if err := read(r, &request); err != nil {
		return err
	}
	if request.ExpectEpoch != run.State.Epoch {
		return contract.Errorf(contract.CodeEpochSuperseded, "the epoch is %d", run.State.Epoch)
	}
	run.State.Epoch++
	run.State.Worker, run.State.Acked, run.State.Result = request.Worker, 0, nil
	run.Claims = append(run.Claims, request.Step)
	run.Notes = append(run.Notes, request.Notes...)
	run.lose(request.Damaged)
	if request.Adjust != nil {
		run.Adjusted = append(run.Adjusted, *request.Adjust)
	}
	spec := run.Spec
	spec.Epoch = run.State.Epoch
	if spec.Training != nil {
		training := *spec.Training
		for _, a := range run.Adjusted {
			training.Adjust(&a)
		}
		spec.Training = &training
	}
	return write(w, contract.Claim{Epoch: run.State.Epoch, Token: g.newToken(run), Spec: &spec, Checkpoint: run.State.Checkpoint})
}

// lose forgets damaged checkpoints.
func (r *Run) lose(names []string) {
	r.Lost = append(r.Lost, names...)
	var left []contract.Manifest
	if r.State.Checkpoint != nil {
		left = append(left, *r.State.Checkpoint)
	}
	left = slices.DeleteFunc(append(left, r.State.Earlier...), func(m contract.Manifest) bool { return slices.Contains(names, m.Name) })
	r.State.Checkpoint, r.State.Earlier = nil, nil
	if len(left) > 0 {
		r.State.Checkpoint, r.State.Earlier = &left[0], left[1:]
	}
}

func (g *Gateway) adopt(w http.ResponseWriter, r *http.Request) error {
	run, err := g.find(r)
	if err != nil {
		return err
	}
	var request contract.AdoptRequest
	if err := read(r, &request); err != nil {
		return err
	}
	if request.Epoch != run.State.Epoch {
		return contract.Errorf(contract.CodeEpochSuperseded, "the epoch is %d", run.State.Epoch)
	}
	run.State.Worker = request.Worker
	run.Adoptions++
	return write(w, contract.Claim{Epoch: run.State.Epoch, Token: g.newToken(run), Acked: run.State.Acked, Checkpoint: run.State.Checkpoint})
}

func (g *Gateway) newToken(run *Run) string {
	g.tokens++
	run.token = fmt.Sprintf("%d/%d", run.State.Epoch, g.tokens)
	return run.token
}

// ExpireToken makes the run's present token worthless.
func (g *Gateway) ExpireToken(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.newToken(g.runs[id])
}

func (g *Gateway) events(w http.ResponseWriter, r *http.Request, run *Run) error {
	var batch contract.EventBatch
	if err := read(r, &batch); err != nil {
		return err
	}
	if g.full {
		return contract.Errorf(contract.CodeDiskFull, "the server's disk is full")
	}
	if batch.Epoch != run.State.Epoch {
		return contract.Errorf(contract.CodeEpochSuperseded, "the epoch is %d", run.State.Epoch)
	}
	if batch.First > run.State.Acked+1 {
		return contract.Errorf(contract.CodeConflict, "a gap: line %d after %d", batch.First, run.State.Acked)
	}
	for i, line := range batch.Lines {
		number := batch.First + int64(i)
		var event struct {
			N    int64  `json:"n"`
			Type string `json:"type"`
		}
		if err := json.Unmarshal(line, &event); err != nil || event.Type == "" || event.N != number {
			return contract.Errorf(contract.CodeInvalid, "line %d is no event: %s", number, line)
		}
		if number > run.State.Acked {
			run.Lines[batch.Epoch] = append(run.Lines[batch.Epoch], line)
			run.State.Acked = number
		}
	}
	return write(w, contract.Ack{Epoch: batch.Epoch, Acked: run.State.Acked})
}

func (g *Gateway) getBlob(w http.ResponseWriter, r *http.Request, _ *Run) error {
	if err := g.stored(); err != nil {
		return err
	}
	content, ok := g.blobs[r.PathValue("sha")]
	if !ok {
		return contract.Errorf(contract.CodeNotFound, "no such content")
	}
	if g.garbled > 0 {
		g.garbled--
		content = slices.Clone(content)
		content[len(content)-1] ^= 1
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	return nil
}

func (g *Gateway) getUpload(w http.ResponseWriter, r *http.Request, _ *Run) error {
	digest := r.PathValue("sha")
	_, complete := g.blobs[digest]
	return write(w, contract.UploadState{SHA256: digest, Received: int64(len(g.uploads[digest])), Complete: complete})
}

func (g *Gateway) putUpload(w http.ResponseWriter, r *http.Request, _ *Run) error {
	digest := r.PathValue("sha")
	offset, err1 := strconv.ParseInt(r.URL.Query().Get("offset"), 10, 64)
	size, err2 := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
	if err1 != nil || err2 != nil {
		return contract.Errorf(contract.CodeInvalid, "offset and size are needed")
	}
	if offset != int64(len(g.uploads[digest])) {
		return contract.Errorf(contract.CodeConflict, "the upload is at %d", len(g.uploads[digest]))
	}
	chunk, err := io.ReadAll(r.Body)
	if err != nil || len(chunk) > contract.UploadChunkBytes {
		return contract.Errorf(contract.CodeTooLarge, "a chunk of %d bytes", len(chunk))
	}
	g.uploads[digest] = append(g.uploads[digest], chunk...)
	received := int64(len(g.uploads[digest]))
	if received < size {
		return write(w, contract.UploadState{SHA256: digest, Received: received})
	}
	content := g.uploads[digest]
	if err := g.stored(); err != nil {
		return err
	}
	delete(g.uploads, digest)
	if digestOf(content) != digest {
		return contract.Errorf(contract.CodeInvalid, "the content is not what its digest says")
	}
	g.blobs[digest] = content
	return write(w, contract.UploadState{SHA256: digest, Received: received, Complete: true})
}

func (g *Gateway) putCheckpoint(w http.ResponseWriter, r *http.Request, run *Run) error {
	manifest, err := g.manifest(r)
	if err != nil {
		return err
	}
	told := false
	for _, lines := range run.Lines {
		for _, line := range lines {
			told = told || (bytes.Contains(line, []byte(`"checkpoint"`)) && bytes.Contains(line, []byte(manifest.Name)))
		}
	}
	if !told {
		return contract.Errorf(contract.CodeConflict, "the events up to %s are missing", manifest.Name)
	}
	run.Checkpoints = append(run.Checkpoints, manifest)
	if run.State.Checkpoint != nil && run.State.Checkpoint.Name != manifest.Name {
		run.State.Earlier = append([]contract.Manifest{*run.State.Checkpoint}, run.State.Earlier...)
	}
	run.State.Checkpoint = &manifest
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (g *Gateway) putArtifact(w http.ResponseWriter, r *http.Request, run *Run) error {
	manifest, err := g.manifest(r)
	if err != nil {
		return err
	}
	run.Artifacts = append(run.Artifacts, manifest)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (g *Gateway) manifest(r *http.Request) (contract.Manifest, error) {
	var manifest contract.Manifest
	if err := read(r, &manifest); err != nil {
		return manifest, err
	}
	if manifest.Name != r.PathValue("name") {
		return manifest, contract.Errorf(contract.CodeInvalid, "manifest of %q", manifest.Name)
	}
	for _, file := range manifest.Files {
		if content, ok := g.blobs[file.SHA256]; !ok || int64(len(content)) != file.Size {
			return manifest, contract.Errorf(contract.CodeConflict, "%s has not arrived", file.Path)
		}
	}
	return manifest, nil
}

func (g *Gateway) putResult(w http.ResponseWriter, r *http.Request, run *Run) error {
	var result contract.RunResult
	if err := read(r, &result); err != nil {
		return err
	}
	if result.Epoch != run.State.Epoch {
		return contract.Errorf(contract.CodeEpochSuperseded, "the epoch is %d", run.State.Epoch)
	}
	run.State.Result = &result
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (g *Gateway) getDeployment(w http.ResponseWriter, r *http.Request) error {
	spec := g.deployments[r.PathValue("id")]
	if spec == nil {
		return contract.Errorf(contract.CodeNotFound, "no such deployment")
	}
	return write(w, spec)
}

func (g *Gateway) putServing(w http.ResponseWriter, r *http.Request) error {
	var serving contract.Serving
	if err := read(r, &serving); err != nil {
		return err
	}
	id := r.PathValue("id")
	g.served[id] = append(g.served[id], serving)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (g *Gateway) deleteServing(w http.ResponseWriter, r *http.Request) error {
	g.lost[r.PathValue("id")]++
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func read(r *http.Request, out any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(out); err != nil {
		return contract.Errorf(contract.CodeInvalid, "%w", err)
	}
	return nil
}

func write(w http.ResponseWriter, value any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(value)
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
