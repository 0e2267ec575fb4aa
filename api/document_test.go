package api_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/problem"
	"github.com/vibeflow/vibeflow/contract"
)

// TestEveryOperationIsDescribed fails for an operation without an example of what it takes and of what it answers, or
// without one of the errors that it can give. That examples are what their schemas say is checked where the harness reads
// the document; that no other status is ever answered, in every test that asks for something.
func TestEveryOperationIsDescribed(t *testing.T) {
	for path, item := range newConformance(t).doc.Paths.Map() {
		for method, op := range item.Operations() {
			t.Run(op.OperationID, func(t *testing.T) {
				require.NotEmpty(t, op.OperationID, "%s %s has no operationId", method, path)
				require.NotEmpty(t, op.Summary)
				require.NotEmpty(t, op.Tags)
				if op.RequestBody != nil {
					requireExamples(t, op.RequestBody.Value.Content, "the request")
				}
				require.Nil(t, op.Responses.Default(), "each status is described, none by default")
				for status, response := range op.Responses.Map() {
					requireDescribed(t, path, status, response.Value)
				}
				for _, status := range errorsOf(path, method, op) {
					require.NotNil(t, op.Responses.Status(status), "it can answer %d, and does not say so", status)
				}
			})
		}
	}
}

// TestTheAuditLogHasWordsForAllThatIsWrittenIntoIt fails for an operation that changes something and does not say what the
// audit log calls it, and for words that nothing writes.
func TestTheAuditLogHasWordsForAllThatIsWrittenIntoIt(t *testing.T) {
	c := newConformance(t)
	for _, o := range c.operations() {
		item := c.doc.Paths.Value(o.path).GetOperation(o.method)
		said, _ := item.Extensions["x-audit"].(map[string]any)
		if o.method == http.MethodGet || o.access == "read" || strings.HasPrefix(o.path, "/v1/") {
			require.Empty(t, said, "%s only reads", o.id)
			continue
		}
		require.NotEmpty(t, said["do"], o.id)
		require.NotEmpty(t, said["did"], o.id)
	}
}

func requireDescribed(t *testing.T, path, status string, response *openapi3.Response) {
	t.Helper()
	require.NotEmpty(t, *response.Description, status)
	requireExamples(t, response.Content, status)
	code, err := strconv.Atoi(status)
	require.NoError(t, err)
	if code < http.StatusBadRequest || path == "/readyz" {
		return
	}
	mediaType, within := "application/problem+json", func(example map[string]any) any { return example["status"] }
	if strings.HasPrefix(path, "/v1/") {
		mediaType, within = "application/json", func(example map[string]any) any { return example["error"] }
	}
	require.NotNil(t, response.Content[mediaType], "%s is not an error document", status)
	example, ok := response.Content[mediaType].Example.(map[string]any)
	require.True(t, ok, status)
	require.NotNil(t, within(example), status)
	if named, ok := example["code"].(string); ok && code != http.StatusRequestedRangeNotSatisfiable { // net/http's, not ours
		require.Equal(t, code, problem.Status(contract.Code(named)), "the example's code is of another status")
		require.EqualValues(t, code, example["status"])
	}
}

// requireExamples wants an example beside each schema, or in it.
func requireExamples(t *testing.T, content openapi3.Content, what string) {
	t.Helper()
	for mediaType, body := range content {
		require.NotNil(t, body.Schema, "%s as %s has no schema", what, mediaType)
		require.True(t, body.Example != nil || len(body.Examples) > 0 || body.Schema.Value.Example != nil, "%s as %s has no example", what, mediaType)
	}
}

// errorsOf are the statuses that follow from what an operation takes and asks for; those of its own, its tests show.
func errorsOf(path, method string, op *openapi3.Operation) []int {
	statuses := []int{http.StatusForbidden, http.StatusInternalServerError} // a host name that is not the server's; a fault
	if path == "/healthz" || path == "/readyz" {
		return statuses
	}
	statuses = append(statuses, http.StatusTooManyRequests, http.StatusServiceUnavailable)
	if op.Security == nil {
		statuses = append(statuses, http.StatusUnauthorized)
	}
	if op.RequestBody != nil || len(op.Parameters) > 0 {
		statuses = append(statuses, http.StatusBadRequest)
	}
	if op.RequestBody != nil {
		statuses = append(statuses, http.StatusRequestEntityTooLarge)
	}
	if strings.Contains(path, "{") || op.Parameters.GetByInAndName("query", "project_id") != nil {
		statuses = append(statuses, http.StatusNotFound)
	}
	if op.Parameters.GetByInAndName("header", "If-Match") != nil {
		statuses = append(statuses, http.StatusPreconditionFailed)
	}
	if op.Parameters.GetByInAndName("header", "Idempotency-Key") != nil {
		statuses = append(statuses, http.StatusConflict)
	}
	if strings.HasPrefix(path, "/v1/") {
		return statuses
	}
	if op.RequestBody != nil {
		statuses = append(statuses, http.StatusUnsupportedMediaType)
	}
	if method != http.MethodGet {
		statuses = append(statuses, http.StatusInsufficientStorage)
	}
	return slices.Compact(statuses)
}
