package api

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/problem"
	"github.com/vibeflow/vibeflow/contract"
)

// requestIDs are those that we take over from a caller: they go to the log and come back in a header.
var requestIDs = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// requestID names a request, so that a user can point at a line of the log.
func requestID(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		id := c.Request().Header.Get(echo.HeaderXRequestID)
		if !requestIDs.MatchString(id) {
			id = contract.NewID("req_")
		}
		c.Response().Header().Set(echo.HeaderXRequestID, id)
		return next(c)
	}
}

// answerError answers with a problem document, or in OpenAI's envelope under /v1.
func (s *Server) answerError() echo.HTTPErrorHandler {
	problems := problem.Handler(s.Logger)
	return func(c *echo.Context, err error) {
		if problem.From(err).Status == http.StatusUnauthorized {
			c.Response().Header().Set(echo.HeaderWWWAuthenticate, "Bearer")
		}
		sayWait(c, err)
		if strings.HasPrefix(c.Request().URL.Path, "/v1/") {
			answerOpenAIError(c, s.Logger, err)
			return
		}
		problems(c, err)
	}
}

// unknownProperty is how the validator says that an object has a member too many.
var unknownProperty = regexp.MustCompile(`^property "(.{1,100})" is unsupported$`)

// invalidRequest says in our words, and with the field, what the OpenAPI document finds wrong with a request.
func invalidRequest(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return contract.Errorf(contract.CodeTooLarge, "the request is larger than %d bytes", tooLarge.Limit).Mend("send less at once")
	}
	var ours *contract.Error // of reading the body
	if errors.As(err, &ours) {
		return ours
	}
	code, field, reason := contract.CodeInvalid, "", ""
	var request *openapi3filter.RequestError
	if errors.As(err, &request) {
		code, field, reason = wrongRequest(request)
	}
	remedy := "see /api/openapi.yaml for what is expected"
	var schema *openapi3.SchemaError
	if errors.As(err, &schema) {
		field, reason = wrongValue(schema, field)
		if known := fieldsOf(schema); known != "" {
			remedy = "the fields are: " + known
		}
	}
	reason, _, _ = strings.Cut(reason, "\n")
	if reason == "minimum string length is 1" {
		reason = "it is empty"
	}
	return contract.Errorf(code, "%s", cmp.Or(reason, "the request does not match the API")).On(field).Mend("%s", remedy)
}

// fieldsOf lists what an object may hold that holds a member too many.
func fieldsOf(err *openapi3.SchemaError) string {
	if !unknownProperty.MatchString(err.Reason) || err.Schema == nil {
		return ""
	}
	return strings.Join(slices.Sorted(maps.Keys(err.Schema.Properties)), ", ")
}

func wrongRequest(err *openapi3filter.RequestError) (code contract.Code, field, reason string) {
	reason = err.Reason
	if err.Parameter != nil {
		field = err.Parameter.Name
	}
	switch {
	case strings.Contains(reason, "Content-Type"):
		return contract.CodeUnsupported, field, "the request's Content-Type is not application/json"
	case reason == "" && err.Err != nil:
		reason = err.Err.Error()
	}
	return contract.CodeInvalid, field, reason
}

func wrongValue(err *openapi3.SchemaError, parameter string) (field, reason string) {
	path, reason := err.JSONPointer(), err.Reason
	if unknown := unknownProperty.FindStringSubmatch(reason); unknown != nil {
		path, reason = append(path, unknown[1]), "there is no such field"
	}
	return cmp.Or(strings.Join(path, "."), parameter), reason
}
