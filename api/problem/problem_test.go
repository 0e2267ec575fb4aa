package problem_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"
	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/problem"
	"github.com/vibeflow/vibeflow/contract"
)

// serve answers a request with what handler returns.
func serve(t *testing.T, method string, handler echo.HandlerFunc) (*httptest.ResponseRecorder, string) {
	t.Helper()
	var log bytes.Buffer
	e := echo.New()
	e.HTTPErrorHandler = problem.Handler(slog.New(slog.NewTextHandler(&log, nil)))
	e.Use(middleware.RequestID())
	e.Match([]string{http.MethodGet, http.MethodHead, http.MethodPost}, "/x", handler)
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), method, "/x", strings.NewReader("0123456789")))
	return rec, log.String()
}

func failing(err error) echo.HandlerFunc { return func(*echo.Context) error { return err } }

func decode(t *testing.T, rec *httptest.ResponseRecorder) problem.Document {
	t.Helper()
	require.Equal(t, problem.ContentType, rec.Header().Get("Content-Type"))
	var doc problem.Document
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &doc))
	require.Equal(t, rec.Code, doc.Status)
	require.NotEmpty(t, doc.RequestID)
	require.Equal(t, rec.Header().Get(echo.HeaderXRequestID), doc.RequestID)
	return doc
}

func TestATypedErrorSpeaksForItself(t *testing.T) {
	err := contract.Errorf(contract.CodeConflict, "it is paused").On("status").Mend("resume it")
	rec, log := serve(t, "GET", failing(fmt.Errorf("while pausing: %w", err)))
	doc := decode(t, rec)
	require.Equal(t, []any{409, "it is paused", "status", "resume it", contract.CodeConflict, "urn:vibeflow:problem:conflict"},
		[]any{rec.Code, doc.Detail, doc.Field, doc.Remedy, doc.Code, doc.Type})
	require.Empty(t, log)
}

func TestInternalErrorsAreHiddenAndLogged(t *testing.T) {
	secret := "no such column: password_hash"
	for name, err := range map[string]error{
		"untyped":       errors.New(secret),
		"typed as such": contract.Errorf(contract.CodeInternal, "%s", secret),
		"of a run":      contract.Errorf(contract.CodeRunnerCrashed, "%s", secret),
		"of Echo":       echo.NewHTTPError(http.StatusInternalServerError, secret),
	} {
		rec, log := serve(t, "GET", failing(err))
		doc := decode(t, rec)
		require.Equal(t, 500, rec.Code, name)
		require.NotContains(t, rec.Body.String(), secret, name)
		require.Contains(t, log, secret, name)
		require.Contains(t, log, doc.RequestID, name)
	}
}

func TestErrorsOfEcho(t *testing.T) {
	rec, _ := serve(t, "GET", failing(echo.ErrNotFound))
	require.Equal(t, contract.CodeNotFound, decode(t, rec).Code)
	rec, _ = serve(t, "GET", failing(echo.NewHTTPError(http.StatusTeapot, "short and stout")))
	doc := decode(t, rec)
	require.Equal(t, []any{418, "short and stout", contract.CodeInvalid}, []any{rec.Code, doc.Detail, doc.Code})
	rec, _ = serve(t, "POST", func(c *echo.Context) error {
		_, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, 5))
		return err
	})
	require.Equal(t, []any{413, contract.CodeTooLarge}, []any{rec.Code, decode(t, rec).Code})
}

func TestHeadHasNoBody(t *testing.T) {
	rec, _ := serve(t, "HEAD", failing(contract.Errorf(contract.CodeNotFound, "no")))
	require.Equal(t, 404, rec.Code)
	require.Empty(t, rec.Body.String())
}

func TestAnAnswerThatHasBegunIsLeft(t *testing.T) {
	rec, log := serve(t, "GET", func(c *echo.Context) error {
		if err := c.String(http.StatusOK, "half"); err != nil {
			return err
		}
		return errors.New("the rest is gone")
	})
	require.Equal(t, []any{200, "half"}, []any{rec.Code, rec.Body.String()})
	require.Contains(t, log, "the rest is gone")
}

func TestACallerThatLeftIsNoFailureOfOurs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	e := echo.New()
	e.HTTPErrorHandler = problem.Handler(slog.New(slog.NewTextHandler(&log, nil)))
	e.GET("/x", func(c *echo.Context) error { cancel(); return c.Request().Context().Err() })
	e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/x", nil))
	require.Empty(t, log.String())
}

func TestEveryCodeHasAStatus(t *testing.T) {
	for code, status := range map[contract.Code]int{
		contract.CodeInvalid: 400, contract.CodeUnauthenticated: 401, contract.CodeForbidden: 403, contract.CodeNotFound: 404,
		contract.CodeConflict: 409, contract.CodeEpochSuperseded: 409, contract.CodeTooLarge: 413, contract.CodeUnsupported: 415,
		contract.CodeUnavailable: 503, contract.CodeDiskFull: 507, contract.CodeInternal: 500, "one that nobody knows": 500,
	} {
		require.Equal(t, status, problem.Status(code), code)
	}
}
