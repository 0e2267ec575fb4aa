// Package gateway is the server's side of contract/gateway.go: the only door through which workers reach data. A worker
// signs in with the worker token; each launch of a run gets a token that reaches that run under one epoch, and every
// write checks, in its own transaction, that the epoch is still the run's (design §6).
package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/store"
)

// Deps is what a gateway works with. WorkerToken signs workers in; SigningKey (≥ 32 bytes, shared with others: a key of
// its own is derived from it) signs run tokens. MaxFileBytes bounds one uploaded file and defaults to 64 GiB.
type Deps struct {
	Store        *store.Store
	Artifacts    *artifact.Store
	WorkerToken  string
	SigningKey   []byte
	MaxFileBytes int64
	Logger       *slog.Logger
}

const (
	defaultMaxFile = 64 << 30
	maxJSONBody    = 1 << 20
	maxManifest    = 8 << 20
	maxResult      = 32 << 20 // an evaluation's samples
	maxBatch       = 16 << 20 // lines beyond it are sent with the next batch
	bodyTimeout    = 2 * time.Minute
)

// Gateway serves workers. Make it with New.
type Gateway struct {
	store       *store.Store
	artifacts   *artifact.Store
	workerToken [sha256.Size]byte
	tokens      tokens
	uploads     *uploads
	questions   questions
	log         *slog.Logger
}

// New makes a gateway; it fails with invalid_config for an empty worker token or a short key.
func New(d Deps) (*Gateway, error) {
	if d.WorkerToken == "" || len(d.SigningKey) < sha256.Size {
		return nil, contract.Errorf(contract.CodeInvalidConfig, "the gateway needs a worker token and a signing key of 32 bytes")
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	if d.MaxFileBytes <= 0 {
		d.MaxFileBytes = defaultMaxFile
	}
	tokens, err := newTokens(d.SigningKey)
	if err != nil {
		return nil, err
	}
	up, err := newUploads(d.Artifacts, d.MaxFileBytes, d.Logger)
	if err != nil {
		return nil, err
	}
	return &Gateway{store: d.Store, artifacts: d.Artifacts, workerToken: sha256.Sum256([]byte(d.WorkerToken)),
		tokens: tokens, uploads: up, questions: questions{open: map[string]*question{}}, log: d.Logger}, nil
}

// Register adds the gateway's routes to the group of /internal. Errors go to Echo's HTTPErrorHandler (problem.Handler).
func (g *Gateway) Register(group *echo.Group) {
	group.Use(sign)
	worker := group.Group("", g.asWorker)
	worker.PUT("/workers/:id", g.putWorker)
	worker.GET("/runs/:run", g.getRun)
	worker.POST("/runs/:run/claim", g.claim)
	worker.POST("/runs/:run/adopt", g.adopt)
	worker.GET("/deployments/:id", g.getDeployment)
	worker.GET("/deployments/:id/blobs/:sha", g.getDeploymentBlob)
	worker.PUT("/deployments/:id/serving", g.putServing)
	worker.DELETE("/deployments/:id/serving", g.deleteServing)
	worker.GET("/tokens/:id", g.getTokens)
	worker.PUT("/tokens/:id", g.putTokens)
	worker.GET("/tokens/:id/blobs/:sha", g.getTokensBlob)

	run := group.Group("", g.asRun, g.tellAway)
	run.POST("/runs/:run/events", g.postEvents)
	run.GET("/runs/:run/blobs/:sha", g.getBlob)
	run.HEAD("/runs/:run/blobs/:sha", g.headBlob)
	run.GET("/runs/:run/uploads/:sha", g.getUpload)
	run.PUT("/runs/:run/uploads/:sha", g.putUpload)
	run.PUT("/runs/:run/checkpoints/:name", g.putCheckpoint)
	run.PUT("/runs/:run/artifacts/:name", g.putArtifact)
	run.PUT("/runs/:run/result", g.putResult)
}

// sign marks an answer, a refusal too, as the gateway's own.
func sign(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		c.Response().Header().Set(contract.HeaderGateway, "1")
		return next(c)
	}
}

// asWorker lets the worker token in.
func (g *Gateway) asWorker(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		given := sha256.Sum256([]byte(bearer(c)))
		if !hmac.Equal(given[:], g.workerToken[:]) {
			return contract.Errorf(contract.CodeUnauthenticated, "this needs the worker token").
				Mend("give the worker the data folder's worker token")
		}
		return next(c)
	}
}

const fenceKey = "gateway.fence"

// asRun lets a token of the run in the path in. Whether its epoch is still the run's, each handler checks with its work.
func (g *Gateway) asRun(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		fence, err := g.tokens.verify(bearer(c))
		if err != nil {
			return err
		}
		if fence.RunID != c.Param("run") {
			return contract.Errorf(contract.CodeForbidden, "this token is for another run")
		}
		c.Set(fenceKey, fence)
		return next(c)
	}
}

// tellAway says in the run's own log, once a launch, what it waits for: its worker asks again until the stored files are back.
func (g *Gateway) tellAway(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		err := next(c)
		if contract.CodeOf(err) == contract.CodeStorageAway {
			note := "The server's stored files are away: their disk is not mounted, or something else is in its place. " +
				"What has to be read or stored waits, and goes on by itself once they are back; nothing is lost."
			if told := g.store.NoteRun(c.Request().Context(), fenceOf(c), "storage", note); told != nil {
				g.log.Warn("a run's log could not be told that the stored files are away", "run", fenceOf(c).RunID, "error", told)
			}
		}
		return err
	}
}

func fenceOf(c *echo.Context) store.Fence {
	fence, _ := c.Get(fenceKey).(store.Fence) // set by asRun; the zero fence owns nothing
	return fence
}

func bearer(c *echo.Context) string {
	token, ok := strings.CutPrefix(c.Request().Header.Get(echo.HeaderAuthorization), "Bearer ")
	if !ok {
		return ""
	}
	return token
}

// readBody decodes a JSON body of at most limit bytes, which must arrive within bodyTimeout.
func readBody(c *echo.Context, limit int64, into any) error {
	defer boundBody(c, limit)()
	return decodeJSON(c.Request().Body, into)
}

// boundBody limits how much of a body is read, and for how long until the returned function is called: a deadline that
// passes while a handler works would cancel its request.
func boundBody(c *echo.Context, limit int64) (arrived func()) {
	control := http.NewResponseController(c.Response())
	// A server that cannot set deadlines (a test's recorder) still has the limit.
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	c.Request().Body = http.MaxBytesReader(c.Response(), c.Request().Body, limit)
	return func() { _ = control.SetReadDeadline(time.Time{}) }
}

func (g *Gateway) putWorker(c *echo.Context) error {
	var report contract.WorkerReport
	if err := readBody(c, maxJSONBody, &report); err != nil {
		return err
	}
	// Echo gives the escaped form of a segment that holds a slash: a worker's id is host/instance.
	id, err := url.PathUnescape(c.Param("id"))
	if err != nil || report.ID == "" || id != report.ID {
		return contract.Errorf(contract.CodeInvalid, "the report is of worker %q, its address of %q", report.ID, id).On("id")
	}
	if err := g.store.SaveWorkerReport(c.Request().Context(), report); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func (g *Gateway) getRun(c *echo.Context) error {
	state, err := g.store.RunState(c.Request().Context(), c.Param("run"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, state)
}

func (g *Gateway) claim(c *echo.Context) error {
	ctx, runID := c.Request().Context(), c.Param("run")
	var request contract.ClaimRequest
	if err := readBody(c, maxJSONBody, &request); err != nil {
		return err
	}
	if request.Worker == "" || request.Step < 0 || request.ExpectEpoch < 0 {
		return contract.Errorf(contract.CodeInvalid, "a claim names its worker, the epoch that it expects and a step of 0 or more")
	}
	if err := checkRemedies(request); err != nil {
		return err
	}
	plan, err := g.plan(ctx, runID)
	if err != nil {
		return err
	}
	run, err := g.store.ClaimRun(ctx, store.RunClaim{RunID: runID, Nonce: newNonce(), Dataset: plan.spec.Dataset,
		Inputs: plan.inputs, ClaimRequest: request})
	if err != nil {
		return err
	}
	if err := g.artifacts.Discard(ctx, run.Freed...); err != nil {
		g.log.Warn("damaged checkpoints are not deleted yet", "error", err)
	}
	plan.spec.Epoch = run.Epoch
	if plan.spec.Training != nil {
		plan.spec.Training.Adjust(request.Adjust)
		plan.spec.PredictedMemory = g.predict(ctx, plan, request.Worker)
	}
	claim, err := g.claimed(c, run)
	if err != nil {
		return err
	}
	claim.Spec = &plan.spec
	g.log.Info("run claimed", "run", runID, "epoch", run.Epoch, "worker", run.Worker, "step", request.Step)
	return c.JSON(http.StatusOK, claim)
}

// checkRemedies bounds what a claim may say of the launch before it.
func checkRemedies(request contract.ClaimRequest) error {
	if len(request.Notes) > contract.ClaimNotes || len(request.Damaged) > contract.ClaimNotes {
		return contract.Errorf(contract.CodeTooLarge, "a claim has at most %d notes and damaged checkpoints", contract.ClaimNotes)
	}
	for _, note := range request.Notes {
		if len(note) > contract.ClaimNoteBytes {
			return contract.Errorf(contract.CodeTooLarge, "a note has at most %d bytes", contract.ClaimNoteBytes).On("notes")
		}
	}
	a := request.Adjust
	if a == nil {
		return nil
	}
	if a.Step < 0 || a.BatchSize < 0 || a.GradientAccumulationSteps < 0 || (a.BatchSize == 0) != (a.GradientAccumulationSteps == 0) ||
		a.LearningRateScale < 0 || a.LearningRateScale > 1 {
		return contract.Errorf(contract.CodeInvalid, "the adjustment cannot be").On("adjust")
	}
	return nil
}

func (g *Gateway) adopt(c *echo.Context) error {
	var request contract.AdoptRequest
	if err := readBody(c, maxJSONBody, &request); err != nil {
		return err
	}
	if request.Worker == "" {
		return contract.Errorf(contract.CodeInvalid, "an adoption names its worker").On("worker")
	}
	run, err := g.store.AdoptRun(c.Request().Context(), c.Param("run"), request)
	if err != nil {
		return err
	}
	claim, err := g.claimed(c, run)
	if err != nil {
		return err
	}
	g.log.Info("run adopted", "run", run.RunID, "epoch", run.Epoch, "worker", run.Worker)
	return c.JSON(http.StatusOK, claim)
}

// claimed is the answer that claims and adoptions share: a token of the epoch, and how far the log and the checkpoints
// are.
func (g *Gateway) claimed(c *echo.Context, run store.Run) (contract.Claim, error) {
	token, err := g.tokens.sign(run)
	if err != nil {
		return contract.Claim{}, err
	}
	state, err := g.store.RunState(c.Request().Context(), run.RunID)
	if err != nil {
		return contract.Claim{}, err
	}
	return contract.Claim{Epoch: run.Epoch, Token: token, Acked: run.Acked, Checkpoint: state.Checkpoint}, nil
}
