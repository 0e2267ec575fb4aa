package gateway

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/contract"
)

const (
	questionsAtOnce = 4 // each is a Python process on a worker
	maxTokensAnswer = 16 << 20
)

// questions are what somebody waits for and a worker is to answer. They live in memory, as long as the request that asks.
type questions struct {
	mu   sync.Mutex
	open map[string]*question
}

type question struct {
	asked  contract.TokensQuestion
	answer chan contract.TokensAnswer // holds one
}

// AskTokens holds a question while dispatch has a worker answer it; dispatch returns once the worker is done, or with the
// reason why none was. projectID is whose Hub token a gated model is fetched with. The answer's own Error is returned as
// one. CodeRateLimited says that too many ask at once.
func (g *Gateway) AskTokens(
	ctx context.Context, projectID string, asked contract.TokensQuestion, dispatch func(ctx context.Context, id string) error,
) ([]contract.TokensRow, error) {
	if err := g.addHubToken(ctx, projectID, &asked.Model); err != nil {
		return nil, err
	}
	q := &question{asked: asked, answer: make(chan contract.TokensAnswer, 1)}
	id := contract.NewID("tokens_")
	if !g.questions.add(id, q) {
		return nil, contract.Errorf(contract.CodeRateLimited, "%d questions about tokens wait for an answer", questionsAtOnce).Mend("ask again in a moment")
	}
	defer g.questions.remove(id)
	// Who asked may leave, but the worker's process stays until it is done, and counts among questionsAtOnce until then.
	if err := dispatch(context.WithoutCancel(ctx), id); err != nil {
		return nil, err
	}
	select {
	case answer := <-q.answer:
		if answer.Error != nil {
			return nil, answer.Error
		}
		return answer.Rows, nil
	default:
		return nil, contract.Errorf(contract.CodeUnavailable, "the worker gave no answer").Mend("ask again")
	}
}

func (q *questions) add(id string, one *question) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.open) >= questionsAtOnce {
		return false
	}
	q.open[id] = one
	return true
}

func (q *questions) remove(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.open, id)
}

func (q *questions) find(id string) (*question, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if one, ok := q.open[id]; ok {
		return one, nil
	}
	return nil, contract.Errorf(contract.CodeNotFound, "nobody waits for %q", id)
}

func (g *Gateway) getTokens(c *echo.Context) error {
	q, err := g.questions.find(c.Param("id"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, q.asked)
}

// getTokensBlob serves a file of an uploaded model that an open question names.
func (g *Gateway) getTokensBlob(c *echo.Context) error {
	q, err := g.questions.find(c.Param("id"))
	if err != nil {
		return err
	}
	named := slices.ContainsFunc(q.asked.Model.Files, func(f contract.FileInfo) bool { return f.SHA256 == c.Param("sha") })
	id, uploaded := strings.CutPrefix(q.asked.Model.Source, "upload:")
	if !named || !uploaded {
		return contract.Errorf(contract.CodeNotFound, "the question has no content with this digest")
	}
	m, err := g.store.GetModel(c.Request().Context(), id)
	if err != nil {
		return err
	}
	o, err := g.modelFile(c.Request().Context(), "model "+id, m.Files, c.Param("sha"))
	if err != nil {
		return err
	}
	return g.serve(c, o)
}

func (g *Gateway) putTokens(c *echo.Context) error {
	q, err := g.questions.find(c.Param("id"))
	if err != nil {
		return err
	}
	var answer contract.TokensAnswer
	if err := readBody(c, maxTokensAnswer, &answer); err != nil {
		return err
	}
	if answer.Error == nil && len(answer.Rows) != len(q.asked.Rows) {
		return contract.Errorf(contract.CodeInvalid, "%d rows were asked for, not %d", len(q.asked.Rows), len(answer.Rows)).On("rows")
	}
	select {
	case q.answer <- answer:
		return c.NoContent(http.StatusNoContent)
	default:
		return contract.Errorf(contract.CodeConflict, "the question is answered")
	}
}
