package api

import (
	"cmp"
	"encoding/json"
	"net/http"
	"path"

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

func (s *Server) tokensOf(ctx ctx, d *store.Dataset, m *store.Model, rows []json.RawMessage, completionOnly bool) ([]contract.TokensRow, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	base, err := s.Store.BaseOf(ctx, m)
	if err != nil {
		return nil, err
	}
	if err := checkQuestion(rows); err != nil {
		return nil, err
	}
	asked := contract.TokensQuestion{Model: base.Ref, Format: d.Canonical, CompletionOnly: completionOnly, Rows: rows}
	asked.Model.Files = tokenizerFiles(base)
	queue, err := s.readyQueue(ctx)
	if err != nil {
		return nil, err
	}
	return s.Options.ShowTokens(ctx, d.ProjectID, queue, asked)
}

// tokenizerFiles are the files of an uploaded model but its weights; none of a model that the worker has or fetches itself.
func tokenizerFiles(m *store.Model) (files []contract.FileInfo) {
	for _, f := range m.Files {
		if path.Ext(f.Path) != ".safetensors" {
			files = append(files, f.FileInfo)
		}
	}
	return files
}

// checkQuestion refuses more than the gateway may hold in memory.
func checkQuestion(rows []json.RawMessage) error {
	size := 0
	for number, row := range rows {
		if len(row) > maxTokenBytes {
			return contract.Errorf(contract.CodeTooLarge, "the row at place %d is longer than %d KiB, which is too long to be shown as tokens", number, maxTokenBytes>>10).
				On("offset").Mend("begin behind it; a training cuts it at its max_length")
		}
		if size += len(row); size > maxTokenBytes {
			return contract.Errorf(contract.CodeTooLarge, "the %d rows are longer than %d KiB together", len(rows), maxTokenBytes>>10).On("limit").Mend("set limit to %d", number)
		}
	}
	return nil
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
