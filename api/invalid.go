package api

import (
	"errors"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"

	"github.com/vibeflow/vibeflow/contract"
)

// invalidRequest says in our words, and with the field, what the OpenAPI document finds wrong with a request.
func invalidRequest(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return contract.Errorf(contract.CodeTooLarge, "the request is larger than %d bytes", tooLarge.Limit)
	}
	field, reason := "", "the request does not match the API"
	var request *openapi3filter.RequestError
	if errors.As(err, &request) {
		reason = request.Reason
		if request.Parameter != nil {
			field = request.Parameter.Name
		}
		if reason == "" && request.Err != nil {
			reason = request.Err.Error()
		}
	}
	var schema *openapi3.SchemaError
	if errors.As(err, &schema) {
		reason = schema.Reason
		if path := schema.JSONPointer(); len(path) > 0 {
			field = strings.Join(path, ".")
		}
	}
	reason, _, _ = strings.Cut(reason, "\n")
	return contract.Errorf(contract.CodeInvalid, "%s", reason).On(field).Mend("see api/openapi.yaml for what is expected")
}
