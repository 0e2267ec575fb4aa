package api

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

const (
	defaultGenerations  = 20
	defaultNewTokens    = 96
	defaultEvalBatch    = 8
	defaultEvalSeed     = 42
	defaultMaxLength    = 1024
	precisionOfTheModel = "auto"
)

// StartEvaluation queues a comparison of a tuned model with its base.
func (s *Server) StartEvaluation(c *echo.Context, _ apigen.StartEvaluationParams) error {
	request, err := body[apigen.StartEvaluation](c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	created, err := s.newEvaluation(ctx, request)
	if err != nil {
		return err
	}
	id := contract.NewID(contract.PrefixEvaluation)
	err = s.start(ctx, contract.KindEvaluation, id, created, contract.Start{Workflow: contract.WorkflowEvaluate,
		Summary: "Evaluate " + created.ModelID, Project: created.ProjectID, Model: created.ModelID},
		contract.EvaluateInput{EvaluationID: id, Queue: created.Queue})
	if err != nil {
		return err
	}
	return s.showEvaluation(c, http.StatusCreated, id)
}

func (s *Server) newEvaluation(ctx ctx, request apigen.StartEvaluation) (contract.EvaluationCreated, error) {
	created := contract.EvaluationCreated{ModelID: request.ModelID, DatasetID: request.DatasetID,
		Config: contract.Evaluation{MaxRows: request.MaxRows, MaxGenerations: request.MaxGenerations, MaxNewTokens: request.MaxNewTokens,
			MaxLength: defaultMaxLength, BatchSize: defaultEvalBatch, Seed: defaultEvalSeed, Precision: precisionOfTheModel}}
	model, err := s.tuned(ctx, request.ModelID)
	if err != nil {
		return created, err
	}
	if job, err := s.Store.GetJob(ctx, model.JobID); err == nil {
		created.JobID, created.Config.MaxLength = job.ID, job.Config.MaxLength
		created.DatasetID = cmp.Or(created.DatasetID, job.DatasetID)
	}
	dataset, err := s.readyDataset(ctx, created.DatasetID)
	if err != nil {
		return created, err
	}
	if dataset.EvalRows == 0 {
		return created, contract.Errorf(contract.CodeConflict, "the dataset has no held-out rows").On("dataset_id").
			Mend("process it again with eval_rows")
	}
	created.ProjectID = dataset.ProjectID
	created.Config.MaxGenerations = cmp.Or(created.Config.MaxGenerations, defaultGenerations)
	created.Config.MaxNewTokens = cmp.Or(created.Config.MaxNewTokens, defaultNewTokens)
	created.Queue, err = s.queueOr(ctx, request.Queue)
	return created, err
}

// tuned returns a model that has weights of its own.
func (s *Server) tuned(ctx ctx, id string) (*store.Model, error) {
	m, err := s.Store.GetModel(ctx, id)
	if err != nil {
		return nil, onField(err, "model_id")
	}
	if !m.Tuned() {
		return nil, contract.Errorf(contract.CodeConflict, "%s is a base model", m.ID).On("model_id").Mend("name a model that a training job made")
	}
	return m, nil
}

// ListEvaluations lists evaluations.
func (s *Server) ListEvaluations(c *echo.Context, p apigen.ListEvaluationsParams) error {
	page, err := s.Store.ListEvaluations(c.Request().Context(), store.Filter{Text: p.Q, Sort: store.Sort(p.Sort), Status: statuses(p.Status),
		DatasetID: p.DatasetID, ModelID: p.ModelID, JobID: p.JobID, Limit: p.Limit, Cursor: p.Cursor})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, apigen.EvaluationPage{Items: mapped(page.Items, viewEvaluation), NextCursor: page.Next})
}

// GetEvaluation shows an evaluation.
func (s *Server) GetEvaluation(c *echo.Context, id string) error {
	return s.showEvaluation(c, http.StatusOK, id)
}

func (s *Server) showEvaluation(c *echo.Context, status int, id string) error {
	e, err := s.Store.GetEvaluation(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return c.JSON(status, viewEvaluation(*e))
}

// CompareEvaluation shows answers side by side, those that became worse first.
func (s *Server) CompareEvaluation(c *echo.Context, id string) error {
	e, err := s.Store.GetEvaluation(c.Request().Context(), id)
	if err != nil {
		return err
	}
	if e.Metrics == nil {
		return contract.Errorf(contract.CodeConflict, "the evaluation has no result yet").Mend("wait until its status is completed")
	}
	samples := slices.Clone(e.Metrics.Samples)
	slices.SortStableFunc(samples, func(a, b contract.EvaluationSample) int {
		return cmp.Compare(b.LossTuned-b.LossBase, a.LossTuned-a.LossBase)
	})
	return c.JSON(http.StatusOK, apigen.Comparison{EvaluationID: id, Verdict: string(e.Metrics.Verdict), VerdictText: e.Metrics.VerdictText,
		LossBase: e.Metrics.LossBase, LossTuned: e.Metrics.LossTuned, LossDeltaCi: e.Metrics.LossDeltaCI[:], Samples: orEmpty(samples)})
}

// CancelEvaluation cancels.
func (s *Server) CancelEvaluation(c *echo.Context, id string) error {
	err := s.steer(c.Request().Context(), contract.KindEvaluation, id, contract.EventCancelRequested, contract.SignalCancel,
		contract.CancelRequest{})
	if err != nil {
		return err
	}
	return s.showEvaluation(c, http.StatusAccepted, id)
}
