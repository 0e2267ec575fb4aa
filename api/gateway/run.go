package gateway

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/problem"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// extended puts what a worker needs to go on into the problem document of a conflict.
type extended struct{ error }

// Unwrap implements errors.Unwrap.
func (e extended) Unwrap() error { return e.error }

// Extend implements problem.Extender.
func (e extended) Extend(doc *problem.Document) {
	var gap *store.GapError
	if errors.As(e.error, &gap) {
		doc.Acked = &gap.Acked
	}
	var missing *store.MissingError
	if errors.As(e.error, &missing) {
		doc.Missing = missing.SHA256
	}
}

func extend(err error) error {
	if err == nil {
		return nil
	}
	return extended{err}
}

func (g *Gateway) postEvents(c *echo.Context) error {
	fence := fenceOf(c)
	var batch contract.EventBatch
	if err := readBody(c, maxBatch, &batch); err != nil {
		return err
	}
	if batch.Epoch != fence.Epoch {
		return contract.Errorf(contract.CodeInvalid, "the batch is of epoch %d, the token of %d", batch.Epoch, fence.Epoch).On("epoch")
	}
	evs, err := decodeBatch(batch)
	if err != nil {
		return err
	}
	acked, err := g.store.AppendRun(c.Request().Context(), store.RunBatch{Fence: fence, First: batch.First, Events: evs})
	if err != nil {
		return extend(err)
	}
	return c.JSON(http.StatusOK, contract.Ack{Epoch: fence.Epoch, Acked: acked})
}

func (g *Gateway) putCheckpoint(c *echo.Context) error {
	var m contract.Manifest
	if err := readBody(c, maxManifest, &m); err != nil {
		return err
	}
	if err := checkManifest(c.Param("name"), m, "checkpoint"); err != nil {
		return err
	}
	freed, err := g.store.CommitCheckpoint(c.Request().Context(), fenceOf(c), m)
	if err != nil {
		return extend(err)
	}
	// The index has let go of them: what cannot be deleted now is swept at the next start.
	if err := g.artifacts.Discard(c.Request().Context(), freed...); err != nil {
		g.log.Warn("pruned checkpoints are not deleted yet", "error", err)
	}
	return c.NoContent(http.StatusNoContent)
}

func (g *Gateway) putArtifact(c *echo.Context) error {
	var m contract.Manifest
	if err := readBody(c, maxManifest, &m); err != nil {
		return err
	}
	if err := checkManifest(c.Param("name"), m, "adapter", "model", "samples", "checkpoint"); err != nil {
		return err
	}
	if err := g.store.CommitArtifact(c.Request().Context(), fenceOf(c), m); err != nil {
		return extend(err)
	}
	return c.NoContent(http.StatusNoContent)
}

func (g *Gateway) putResult(c *echo.Context) error {
	fence := fenceOf(c)
	var result contract.RunResult
	if err := readBody(c, maxResult, &result); err != nil {
		return err
	}
	if result.RunID != fence.RunID || result.Epoch != fence.Epoch {
		return contract.Errorf(contract.CodeInvalid, "the result is of run %q, epoch %d", result.RunID, result.Epoch).On("run_id")
	}
	switch result.Outcome {
	case contract.OutcomeCompleted, contract.OutcomePaused, contract.OutcomeOrphaned, contract.OutcomeSuperseded, contract.OutcomeFailed:
	default:
		return contract.Errorf(contract.CodeInvalid, "%q is not an outcome", result.Outcome).On("outcome")
	}
	if err := g.store.SaveResult(c.Request().Context(), fence, result); err != nil {
		return err
	}
	if result.Outcome == contract.OutcomeCompleted {
		g.uploads.forget(fence.RunID)
	}
	return c.NoContent(http.StatusNoContent)
}
