// Package problem turns errors into RFC 9457 problem documents. It is the one place that maps a contract.Code to an HTTP
// status, and the one that keeps internal errors from users: they go to the log under the request's id.
package problem

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/contract"
)

// ContentType is the media type of a problem document.
const ContentType = "application/problem+json"

// Document is a problem document. Type is a URN of the code; Detail, Field and Remedy are for people. Acked and Missing
// are members that some of the gateway's conflicts have.
type Document struct {
	Type      string        `json:"type"`
	Title     string        `json:"title"`
	Status    int           `json:"status"`
	Detail    string        `json:"detail,omitempty"`
	Code      contract.Code `json:"code"`
	Field     string        `json:"field,omitempty"`
	Remedy    string        `json:"remedy,omitempty"`
	RequestID string        `json:"request_id,omitempty"`
	Acked     *int64        `json:"acked,omitempty"`
	Missing   []string      `json:"missing,omitempty"`
}

// Extender is an error in a chain that adds members to the document.
type Extender interface{ Extend(*Document) }

// statusClientClosed is what proxies log for a caller that went away; nobody reads the answer.
const statusClientClosed = 499

type entry struct {
	status int
	title  string
}

// table is the mapping. Codes of failed runs appear here too: a preflight or a dry run can answer with one.
var table = map[contract.Code]entry{
	contract.CodeInvalid:          {http.StatusBadRequest, "The request is not valid"},
	contract.CodeUnauthenticated:  {http.StatusUnauthorized, "Sign in first"},
	contract.CodeForbidden:        {http.StatusForbidden, "Not allowed"},
	contract.CodeNotFound:         {http.StatusNotFound, "Not found"},
	contract.CodeConflict:         {http.StatusConflict, "Not possible in this state"},
	contract.CodeEpochSuperseded:  {http.StatusConflict, "A newer launch owns this run"},
	contract.CodeInUse:            {http.StatusConflict, "In use"},
	contract.CodeTooLarge:         {http.StatusRequestEntityTooLarge, "Too large"},
	contract.CodeRateLimited:      {http.StatusTooManyRequests, "Too many requests"},
	contract.CodePrecondition:     {http.StatusPreconditionFailed, "It has changed meanwhile"},
	contract.CodeNoPrecondition:   {http.StatusPreconditionRequired, "Say which version you mean"},
	contract.CodeUnsupported:      {http.StatusUnsupportedMediaType, "Not supported"},
	contract.CodeUnavailable:      {http.StatusServiceUnavailable, "Not available now"},
	contract.CodeStorageAway:      {http.StatusServiceUnavailable, "The stored files are away"},
	contract.CodePrerequisite:     {http.StatusServiceUnavailable, "Something is missing on this machine"},
	contract.CodeDiskFull:         {http.StatusInsufficientStorage, "The disk is full"},
	contract.CodeBadData:          {http.StatusUnprocessableEntity, "The data cannot be used"},
	contract.CodeAllMasked:        {http.StatusUnprocessableEntity, "Nothing to learn from"},
	contract.CodeModelUnavailable: {http.StatusUnprocessableEntity, "The model cannot be had"},
	contract.CodeInvalidConfig:    {http.StatusUnprocessableEntity, "The configuration is not possible"},
	contract.CodeOutOfMemory:      {http.StatusServiceUnavailable, "Not enough memory"},
	contract.CodeEnvironment:      {http.StatusServiceUnavailable, "The Python environment is not ready"},
	contract.CodeInternal:         {http.StatusInternalServerError, "Something went wrong"},
}

// Status returns the HTTP status of a code; 500 for one that has none.
func Status(code contract.Code) int { return lookup(code).status }

func lookup(code contract.Code) entry {
	if e, ok := table[code]; ok {
		return e
	}
	return table[contract.CodeInternal]
}

// From makes the document of an error. Only a *contract.Error and an error of Echo's with a status below 500 speak for
// themselves; of any other, the user learns nothing but that it happened.
func From(err error) Document {
	doc := describe(err)
	var more Extender
	if errors.As(err, &more) {
		more.Extend(&doc)
	}
	return doc
}

func describe(err error) Document {
	var typed *contract.Error
	var tooLarge *http.MaxBytesError
	var coded echo.HTTPStatusCoder
	switch {
	case errors.As(err, &typed) && lookup(typed.Code).status != http.StatusInternalServerError:
		doc := of(typed.Code)
		doc.Detail, doc.Field, doc.Remedy = typed.Message, typed.Field, typed.Remedy
		return doc
	case errors.As(err, &tooLarge):
		doc := of(contract.CodeTooLarge)
		doc.Detail, doc.Remedy = tooLarge.Error(), "send less at once"
		return doc
	case errors.As(err, &coded) && coded.StatusCode() < http.StatusInternalServerError:
		return ofStatus(err, coded.StatusCode())
	default:
		doc := of(contract.CodeInternal)
		doc.Detail, doc.Remedy = "an internal error; its details are in the server's log", "look for the request id in the log"
		return doc
	}
}

func of(code contract.Code) Document {
	e := lookup(code)
	return Document{Type: "urn:vibeflow:problem:" + string(code), Title: e.title, Status: e.status, Code: code}
}

// ofStatus describes what Echo itself refuses: no such route, a method that a route lacks, a body that does not parse.
func ofStatus(err error, status int) Document {
	code := map[int]contract.Code{
		http.StatusUnauthorized: contract.CodeUnauthenticated, http.StatusForbidden: contract.CodeForbidden,
		http.StatusNotFound: contract.CodeNotFound, http.StatusConflict: contract.CodeConflict,
		http.StatusRequestEntityTooLarge: contract.CodeTooLarge, http.StatusUnsupportedMediaType: contract.CodeUnsupported,
		http.StatusTooManyRequests: contract.CodeRateLimited, http.StatusRequestTimeout: contract.CodeUnavailable,
	}[status]
	if code == "" {
		code = contract.CodeInvalid
	}
	doc := of(code)
	doc.Status, doc.Detail = status, http.StatusText(status)
	var he *echo.HTTPError
	if errors.As(err, &he) && he.Message != "" {
		doc.Detail = he.Message
	}
	return doc
}

// Write answers with the error's document. It logs nothing: Handler does.
func Write(c *echo.Context, err error) error {
	doc := From(err)
	doc.RequestID = c.Response().Header().Get(echo.HeaderXRequestID)
	c.Response().Header().Set(echo.HeaderContentType, ContentType)
	if c.Request().Method == http.MethodHead {
		return c.NoContent(doc.Status)
	}
	c.Response().WriteHeader(doc.Status)
	return json.NewEncoder(c.Response()).Encode(doc)
}

// Handler is Echo's HTTPErrorHandler: it answers with the document, and logs what it hides from the user. An answer
// that has begun is left as it is.
func Handler(log *slog.Logger) echo.HTTPErrorHandler {
	return func(c *echo.Context, err error) {
		if res, _ := echo.UnwrapResponse(c.Response()); res != nil && res.Committed {
			logInternal(log, c, err)
			return
		}
		if errors.Is(err, context.Canceled) && c.Request().Context().Err() != nil {
			c.Response().WriteHeader(statusClientClosed)
			return
		}
		logInternal(log, c, err)
		if werr := Write(c, err); werr != nil {
			log.Debug("the answer could not be sent", "error", werr)
		}
	}
}

func logInternal(log *slog.Logger, c *echo.Context, err error) {
	doc := From(err)
	if doc.Code != contract.CodeInternal {
		return
	}
	log.Error("request failed", "method", c.Request().Method, "path", c.Request().URL.Path, "error", err,
		"request_id", c.Response().Header().Get(echo.HeaderXRequestID))
}
