package api_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
)

func TestRowsAreShownAsTokens(t *testing.T) {
	w := newWorld(t)
	w.models()
	w.ready("ds_ready", "prompt_completion")
	ask := "/api/datasets/ds_ready/tokens?model_id=" + baseModel
	p := w.get(ask).problem(http.StatusServiceUnavailable)
	require.Contains(t, p.Detail, "no worker")

	require.NoError(t, w.store.SaveWorkerReport(t.Context(), contract.WorkerReport{ID: "h/1", Queue: "cpu"}))
	shown := into[apigen.TokenRows](w.get(ask+"&limit=1"), http.StatusOK)
	require.Len(t, shown.Rows, 1)
	require.Equal(t, 1, shown.Rows[0].Length)
	require.True(t, shown.Rows[0].Tokens[0].Trained)
	require.Equal(t, int64(1), shown.NextOffset)

	next := into[apigen.TokenRows](w.get(ask+"&limit=1&offset=1&learn_all=true"), http.StatusOK)
	require.Equal(t, int64(1), next.Rows[0].Row)
	require.NotEqual(t, shown.Rows[0].Tokens[0].Text, next.Rows[0].Tokens[0].Text)
	require.False(t, next.Rows[0].Tokens[0].Trained)

	require.Empty(t, into[apigen.TokenRows](w.get(ask+"&offset=100000"), http.StatusOK).Rows)
	require.Equal(t, "model_id", w.get("/api/datasets/ds_ready/tokens?model_id=none").problem(http.StatusNotFound).Field)
	w.get(ask + "&limit=21").problem(http.StatusBadRequest)
	w.dataset("ds_queued")
	w.get("/api/datasets/ds_queued/tokens?model_id=" + baseModel).problem(http.StatusConflict)
}
