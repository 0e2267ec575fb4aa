package api

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// DeleteDataset deletes a dataset and its files.
func (s *Server) DeleteDataset(c *echo.Context, id string, p apigen.DeleteDatasetParams) error {
	return s.delete(c, contract.KindDataset, id, p.IfMatch, p.Preview)
}

// DeleteModel deletes a tuned model and what is nothing without it.
func (s *Server) DeleteModel(c *echo.Context, id string, p apigen.DeleteModelParams) error {
	return s.delete(c, store.KindModel, id, p.IfMatch, p.Preview)
}

// DeleteJob deletes a training job, its log, curves and checkpoints; the model that it made stays.
func (s *Server) DeleteJob(c *echo.Context, id string, p apigen.DeleteJobParams) error {
	return s.delete(c, contract.KindJob, id, p.IfMatch, p.Preview)
}

// DeleteEvaluation deletes an evaluation.
func (s *Server) DeleteEvaluation(c *echo.Context, id string, p apigen.DeleteEvaluationParams) error {
	return s.delete(c, contract.KindEvaluation, id, "", p.Preview)
}

// DeletePipeline deletes a pipeline; what its stages made stays.
func (s *Server) DeletePipeline(c *echo.Context, id string, p apigen.DeletePipelineParams) error {
	return s.delete(c, contract.KindPipeline, id, "", p.Preview)
}

// delete answers with what goes, or went. Files that cannot be deleted now are swept at the next start.
func (s *Server) delete(c *echo.Context, kind contract.Kind, id, ifMatch string, preview bool) error {
	if preview {
		onlyLooks(c)
	}
	ctx := c.Request().Context()
	project, name, err := s.Store.Describe(ctx, kind, id)
	if err != nil {
		return err
	}
	d, err := s.Store.Delete(ctx, kind, id, versionMeant(ifMatch), preview)
	if err != nil {
		return err
	}
	if !preview {
		about(c, project, id, name)
		if err := s.Artifacts.Discard(context.WithoutCancel(ctx), d.Objects...); err != nil {
			s.Logger.Warn("files of what was deleted stay until the next start", "kind", kind, "id", id, "error", err)
		}
	}
	also := mapped(d.Also, func(r store.Resource) apigen.DeletedResource {
		return apigen.DeletedResource{Kind: string(r.Kind), ID: r.ID}
	})
	return c.JSON(http.StatusOK, apigen.Deletion{Kind: string(kind), ID: id, Deleted: !preview, Also: also, Files: len(d.Objects), Bytes: d.Bytes})
}

// CollectGarbage deletes stored files that nothing refers to.
func (s *Server) CollectGarbage(c *echo.Context, p apigen.CollectGarbageParams) error {
	if p.Preview {
		onlyLooks(c)
	}
	ctx := c.Request().Context()
	d, err := s.Store.CollectGarbage(ctx, p.Preview)
	if err == nil && !p.Preview {
		err = s.Artifacts.Discard(context.WithoutCancel(ctx), d.Objects...)
	}
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, apigen.Garbage{Deleted: !p.Preview, Files: len(d.Objects), Bytes: d.Bytes})
}
