package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

func TestAWorkerAnswersAQuestionAboutTokens(t *testing.T) {
	w := newWorld(t)
	asked := contract.TokensQuestion{Model: contract.ModelRef{Source: "tiny:llama"}, Format: "text", Rows: []json.RawMessage{[]byte(`{"text":"a"}`)}}
	row := contract.TokensRow{Tokens: []contract.Token{{ID: 3, Text: "a", Trained: true}}}
	var gone string
	rows, err := w.gateway.AskTokens(t.Context(), "", asked, func(_ context.Context, id string) error {
		gone = id
		w.refused(w.do("no worker", "GET", "/tokens/"+id, nil), http.StatusUnauthorized, contract.CodeUnauthenticated)
		var question contract.TokensQuestion
		w.do(workerToken, "GET", "/tokens/"+id, nil).into(t, &question)
		require.Equal(t, asked, question)

		w.refused(w.do(workerToken, "PUT", "/tokens/"+id, contract.TokensAnswer{}), http.StatusBadRequest, contract.CodeInvalid)
		require.Equal(t, http.StatusNoContent, w.do(workerToken, "PUT", "/tokens/"+id, contract.TokensAnswer{Rows: []contract.TokensRow{row}}).status)
		w.refused(w.do(workerToken, "PUT", "/tokens/"+id, contract.TokensAnswer{Rows: []contract.TokensRow{row}}), http.StatusConflict, contract.CodeConflict)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []contract.TokensRow{row}, rows)
	w.refused(w.do(workerToken, "GET", "/tokens/"+gone, nil), http.StatusNotFound, contract.CodeNotFound)
}

func TestAQuestionAboutAnUploadedModelHasItsTokenizer(t *testing.T) {
	w := newWorld(t)
	tokenizer, weights := w.object(`{"a":1}`), w.object("weights")
	_, err := w.store.CreateModel(t.Context(), store.Model{ID: "model_up", ProjectID: store.DefaultProject, Name: "mine", Ref: contract.ModelRef{Source: "upload:model_up"},
		Files: []store.ModelFile{
			{FileInfo: contract.FileInfo{Path: "tokenizer.json", SHA256: tokenizer.SHA256, Size: tokenizer.Size}, ObjectID: tokenizer.ObjectID},
			{FileInfo: contract.FileInfo{Path: "model.safetensors", SHA256: weights.SHA256, Size: weights.Size}, ObjectID: weights.ObjectID},
		}})
	require.NoError(t, err)
	asked := contract.TokensQuestion{Model: contract.ModelRef{Source: "upload:model_up", Files: []contract.FileInfo{{Path: "tokenizer.json", SHA256: tokenizer.SHA256}}}}
	_, err = w.gateway.AskTokens(t.Context(), "", asked, func(_ context.Context, id string) error {
		require.Equal(t, `{"a":1}`, string(w.do(workerToken, "GET", "/tokens/"+id+"/blobs/"+tokenizer.SHA256, nil).body))
		w.refused(w.do("no worker", "GET", "/tokens/"+id+"/blobs/"+tokenizer.SHA256, nil), http.StatusUnauthorized, contract.CodeUnauthenticated)
		w.refused(w.do(workerToken, "GET", "/tokens/"+id+"/blobs/"+weights.SHA256, nil), http.StatusNotFound, contract.CodeNotFound)
		w.refused(w.do(workerToken, "GET", "/tokens/none/blobs/"+tokenizer.SHA256, nil), http.StatusNotFound, contract.CodeNotFound)
		w.do(workerToken, "PUT", "/tokens/"+id, contract.TokensAnswer{})
		return nil
	})
	require.NoError(t, err)
}

func TestAQuestionAboutTokensEndsWithTheReason(t *testing.T) {
	w := newWorld(t)
	ask := func(dispatch func(context.Context, string) error) contract.Code {
		rows, err := w.gateway.AskTokens(t.Context(), "", contract.TokensQuestion{}, dispatch)
		require.Nil(t, rows)
		return contract.CodeOf(err)
	}
	require.Equal(t, contract.CodeUnavailable, ask(func(context.Context, string) error { return nil }), "a worker that says nothing")
	require.Equal(t, contract.CodeBadData, ask(func(_ context.Context, id string) error {
		w.do(workerToken, "PUT", "/tokens/"+id, contract.TokensAnswer{Error: contract.Errorf(contract.CodeBadData, "line 1")})
		return nil
	}))
	var nested func(context.Context, string) error
	depth := 0
	nested = func(context.Context, string) error {
		depth++
		_, err := w.gateway.AskTokens(t.Context(), "", contract.TokensQuestion{}, nested)
		return err
	}
	require.Equal(t, contract.CodeRateLimited, ask(nested))
	require.Equal(t, 4, depth)
}

func TestAQuestionWhoseAskerHasLeftStillCounts(t *testing.T) {
	w := newWorld(t)
	ctx, leave := context.WithCancel(t.Context())
	_, err := w.gateway.AskTokens(ctx, "", contract.TokensQuestion{}, func(ctx context.Context, id string) error {
		leave()
		require.NoError(t, ctx.Err(), "the worker's process is still there")
		require.Equal(t, http.StatusOK, w.do(workerToken, "GET", "/tokens/"+id, nil).status)
		return nil
	})
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err))
}
