package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/problem"
	"github.com/vibeflow/vibeflow/contract"
)

// retryAfter is what a client is told, in seconds, whose model is being loaded; OpenAI's SDKs wait so long and try again.
const retryAfter = "2"

// answerOpenAIError answers in OpenAI's envelope.
func answerOpenAIError(c *echo.Context, log *slog.Logger, err error) {
	if res, _ := echo.UnwrapResponse(c.Response()); res != nil && res.Committed {
		return
	}
	if errors.Is(err, context.Canceled) && c.Request().Context().Err() != nil {
		return // the client left
	}
	document := problem.From(err)
	if document.Status >= http.StatusInternalServerError {
		log.Error("request failed", "path", c.Request().URL.Path, "error", err,
			"request_id", c.Response().Header().Get(echo.HeaderXRequestID))
	}
	if document.Status == http.StatusServiceUnavailable {
		c.Response().Header().Set("Retry-After", retryAfter)
	}
	if err := c.JSON(document.Status, openAIEnvelope(document)); err != nil {
		log.Debug("the answer could not be sent", "error", err)
	}
}

// openAIEnvelope says an error as OpenAI does: types and codes are theirs wherever they have one.
func openAIEnvelope(document problem.Document) map[string]any {
	message, remedy := document.Detail, document.Remedy
	if document.Code == contract.CodeUnauthenticated { // whoever calls /v1 wants a key, not a session
		remedy = "send `Authorization: Bearer KEY`; make a key with `vibeflow keys create NAME`"
	}
	if remedy != "" {
		message += " (" + remedy + ")"
	}
	kind := "invalid_request_error"
	if document.Status >= http.StatusInternalServerError {
		kind = "server_error"
	}
	if document.Status == http.StatusTooManyRequests {
		kind = "requests"
	}
	return map[string]any{"error": map[string]any{"message": message, "type": kind,
		"param": nullable(document.Field), "code": nullable(openAICode(document))}}
}

// openAICode is empty where OpenAI has none.
func openAICode(document problem.Document) string {
	switch {
	case document.Code == contract.CodeUnauthenticated:
		return "invalid_api_key"
	case document.Code == contract.CodeRateLimited:
		return "rate_limit_exceeded"
	case document.Code == contract.CodeNotFound && document.Field == "model":
		return "model_not_found"
	case document.Code == contract.CodeNotFound:
		return "unknown_url"
	case document.Code == contract.CodeInvalid, document.Code == contract.CodeInternal:
		return ""
	default:
		return string(document.Code)
	}
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// unknownURL answers for what there is not under /v1, once the caller has shown a key.
func unknownURL(v *validator) echo.HandlerFunc {
	return func(c *echo.Context) error {
		if err := v.wrongMethod(c); err != nil {
			return err
		}
		return contract.Errorf(contract.CodeNotFound, "unknown request URL: %s %s", c.Request().Method, c.Request().URL.Path).
			Mend("there are GET /v1/models, GET /v1/models/{model} and POST /v1/chat/completions; is the base URL the server's with /v1?")
	}
}
