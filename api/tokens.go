package api

import (
	"cmp"
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/store"
)

const (
	tokenRows     = 5
	tokensShown   = 4096    // of a row
	maxTokenBytes = 1 << 20 // of the rows together, as JSON
)

// ShowTokens shows processed rows as a model's tokens, with the ones that training learns.
func (s *Server) ShowTokens(c *echo.Context, id string, p apigen.ShowTokensParams) error {
	ctx := c.Request().Context()
	d, err := s.Store.GetDataset(ctx, id)
	if err != nil {
		return err
	}
	m, err := s.Store.GetModel(ctx, cmp.Or(p.ModelID, catalog.Bundled))
	if err != nil {
		return onField(err, "model_id")
	}
	preview, err := s.trainingRows(ctx, d, p)
	if err != nil {
		return err
	}
	shown, err := s.tokensOf(ctx, d, m, preview.Rows, !p.LearnAll)
	if err != nil {
		return err
	}
	out := apigen.TokenRows{ModelID: m.ID, Split: preview.Split, Offset: preview.Offset, NextOffset: preview.NextOffset, Rows: []apigen.TokenRow{}}
	for _, row := range shown {
		out.Rows = append(out.Rows, apigen.TokenRow{Row: preview.Offset + int64(row.Row), Length: len(row.Tokens),
			Tokens: row.Tokens[:min(len(row.Tokens), tokensShown)]})
	}
	return c.JSON(http.StatusOK, out)
}

func (s *Server) trainingRows(ctx ctx, d *store.Dataset, p apigen.ShowTokensParams) (apigen.Preview, error) {
	split, ref := "train", d.Train
	if p.Split == "eval" {
		split, ref = "eval", d.Eval
	}
	if ref == nil {
		return apigen.Preview{}, contract.Errorf(contract.CodeConflict, "the dataset has no processed rows of the split %q", split).On("split").
			Mend("wait until its status is ready; preference pairs have none")
	}
	return s.splitPreview(ctx, *ref, apigen.Preview{Offset: p.Offset, Split: split}, cmp.Or(p.Limit, tokenRows))
}

func (s *Server) tokensOf(ctx ctx, d *store.Dataset, m *store.Model, rows []map[string]any, completionOnly bool) ([]contract.TokensRow, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	base, err := s.Store.BaseOf(ctx, m)
	if err != nil {
		return nil, err
	}
	if len(base.Files) > 0 {
		return nil, contract.Errorf(contract.CodeConflict, "the tokens of an uploaded model cannot be shown yet").On("model_id").
			Mend("choose another model; a training shows in its log how many tokens its rows have")
	}
	asked := contract.TokensQuestion{Model: base.Ref, Format: d.Canonical, CompletionOnly: completionOnly}
	size := 0
	for _, row := range rows {
		line, err := json.Marshal(row)
		if err != nil {
			return nil, err
		}
		asked.Rows = append(asked.Rows, line)
		size += len(line)
	}
	if size > maxTokenBytes {
		return nil, contract.Errorf(contract.CodeTooLarge, "the %d rows are longer than %d KiB together", len(rows), maxTokenBytes>>10).On("limit").Mend("ask for fewer rows")
	}
	queue, err := s.readyQueue(ctx)
	if err != nil {
		return nil, err
	}
	return s.Options.ShowTokens(ctx, d.ProjectID, queue, asked)
}

// readyQueue is the queue that a new run would take, if a worker is there to be asked now.
func (s *Server) readyQueue(ctx ctx) (string, error) {
	queue, err := s.queueOr(ctx, "")
	if err != nil {
		return "", err
	}
	workers, err := s.Store.ListWorkers(ctx)
	if err != nil {
		return "", err
	}
	for _, w := range workers {
		if w.Queue == queue && alive(w) && w.State != contract.WorkerPreparing {
			return queue, nil
		}
	}
	return "", contract.Errorf(contract.CodeUnavailable, "no worker is ready to be asked").Mend("wait until `vibeflow up` has a worker, then ask again")
}
