package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// openAI serves the surface that OpenAI's SDKs know, as far as deployed models need it. A request goes to the engine
// that serves its model; what the engine answers is passed on as it comes.
func (s *Server) openAI(validate *validator) {
	v1 := s.echo.Group("/v1", s.metered, s.limitBody, s.requires(openAIAccess), s.narrowed)
	v1.GET("/models", s.openAIModels, s.recorded)
	v1.GET("/models/:model", s.openAIModel, s.recorded)
	v1.POST("/chat/completions", s.chatCompletions)
	v1.RouteNotFound("/*", unknownURL(validate), s.recorded)
}

// openAIAccess is what a route of /v1 asks for: a key with the scope, or a person.
func openAIAccess(c *echo.Context) access {
	r := c.Request()
	switch {
	case !strings.HasPrefix(r.URL.Path, "/v1/files") && !strings.HasPrefix(r.URL.Path, "/v1/fine_tuning"):
		return accessInference
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return accessRead
	default:
		return accessWrite
	}
}

func viewOpenAIModel(d store.Deployment) apigen.OpenAIModel {
	return apigen.OpenAIModel{ID: d.ModelID, Object: "model", Created: d.CreatedAt.Unix(), OwnedBy: d.ProjectID}
}

// openAIModels lists what can be asked now, each model once.
func (s *Server) openAIModels(c *echo.Context) error {
	ctx := c.Request().Context()
	filter := store.Filter{Status: []contract.Status{contract.StatusServing}, Limit: maxPage}
	models, seen := []apigen.OpenAIModel{}, map[string]bool{}
	for {
		page, err := s.Store.ListDeployments(ctx, filter)
		if err != nil {
			return err
		}
		s.engines.truly(ctx, page.Items)
		for _, d := range page.Items {
			if d.Status == contract.StatusServing && !seen[d.ModelID] {
				seen[d.ModelID], models = true, append(models, viewOpenAIModel(d))
			}
		}
		if filter.Cursor = page.Next; filter.Cursor == "" {
			return c.JSON(http.StatusOK, apigen.OpenAIModelList{Object: "list", Data: models})
		}
	}
}

func (s *Server) openAIModel(c *echo.Context) error {
	model, err := url.PathUnescape(c.Param("model")) // an id may have a slash, written %2F
	if err != nil || checkName("model", model) != nil {
		return contract.Errorf(contract.CodeInvalid, "that is no model's id").On("model")
	}
	ctx := c.Request().Context()
	d, err := s.served(ctx, model)
	if err != nil {
		return err
	}
	if !s.engines.answers(ctx, d.Serving) {
		return engineGone(ctx)
	}
	return c.JSON(http.StatusOK, viewOpenAIModel(*d))
}

// served finds the deployment that answers for a model.
func (s *Server) served(ctx context.Context, model string) (*store.Deployment, error) {
	d, err := s.deploymentOf(ctx, model, contract.StatusServing)
	if err != nil {
		return nil, err
	}
	if d != nil && d.Serving != nil {
		return d, nil
	}
	starting, err := s.deploymentOf(ctx, model, contract.StatusQueued, contract.StatusRunning)
	if err != nil {
		return nil, err
	}
	if starting != nil {
		return nil, contract.Errorf(contract.CodeUnavailable, "the model %q is still being loaded", model).On("model").Mend("try again in a moment")
	}
	return nil, contract.Errorf(contract.CodeNotFound, "no deployed model is called %q", model).On("model").
		Mend("deploy it with `vibeflow deploy %s`; GET /v1/models lists what is served", model)
}

// engineClient has no timeout of its own: an answer takes as long as the client waits. An engine redirects nobody, and
// its token must not follow a redirect.
var engineClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// chatCompletions passes a chat on to the model's engine, under the engine's own name and token for it.
func (s *Server) chatCompletions(c *echo.Context) error {
	request, err := body[map[string]json.RawMessage](c)
	if err != nil {
		return err
	}
	var model string
	if err := json.Unmarshal(request["model"], &model); err != nil || model == "" || checkName("model", model) != nil {
		return contract.Errorf(contract.CodeInvalid, "the request names no model").On("model").Mend("GET /v1/models lists what is served")
	}
	ctx := c.Request().Context()
	d, err := s.served(ctx, model)
	if err != nil {
		return err
	}
	s.record(c, model)
	out := answering{model: model, use: useOf(c), shows: askForUsage(request)}
	res, err := askEngine(ctx, *d.Serving, request)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // it also ends the engine's work when the client has left
	return out.passOn(c, res)
}

func askEngine(ctx context.Context, at contract.Serving, request map[string]json.RawMessage) (*http.Response, error) {
	name, err := json.Marshal(at.Name)
	if err != nil {
		return nil, err
	}
	request["model"] = name
	data, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.URL+"/v1/chat/completions", bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+at.Token)
	res, err := engineClient.Do(req)
	if err != nil {
		return nil, engineGone(ctx)
	}
	switch res.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		// A new engine on the port of the old one: it has another token, or does not have the model yet.
		_ = res.Body.Close()
		return nil, engineGone(ctx)
	default:
		return res, nil
	}
}

// engineGone is what a client is told of an engine that died; nothing if the client left first.
func engineGone(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return contract.Errorf(contract.CodeUnavailable, "the model's engine does not answer; it is being restarted").Mend("try again in a few seconds")
}
