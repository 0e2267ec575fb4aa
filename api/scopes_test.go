package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api"
	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/internal/limit"
	"github.com/vibeflow/vibeflow/internal/store"
)

// TestScopesOfKeys under /v1: asking models, reading and writing are apart.
func TestScopesOfKeys(t *testing.T) {
	x := newTenants(t)
	ada := bearer(x.ada.AccessToken)
	asked := x.key(ada, store.DefaultProject)
	require.Equal(t, []apigen.Scope{"inference"}, asked.Key.Scopes, "unless it says more")
	keys := map[string]with{"inference": bearer(asked.Secret), "read": bearer(x.key(ada, store.DefaultProject, "read").Secret), "write": bearer(x.key(ada, store.DefaultProject, "write").Secret)}
	for scope, key := range keys {
		for path, needs := range map[string]string{"GET /v1/models": "inference", "POST /v1/chat/completions": "inference", "GET /v1/files": "read", "GET /v1/fine_tuning/jobs": "read",
			"POST /v1/files": "write", "POST /v1/fine_tuning/jobs": "write"} {
			method, at, _ := strings.Cut(path, " ")
			a := x.call(method, at, nil, key)
			require.Equal(t, scope != needs, a.status == http.StatusForbidden, "%s with %s: %s", path, scope, a.body)
		}
	}
	x.post("/api/keys/generate", `{"name":"k","scopes":["everything"]}`, ada).problem(http.StatusBadRequest)
	x.post("/api/keys/generate", `{"name":"k","project_id":"`+x.home(bearer(x.bob.AccessToken))+`"}`, ada).problem(http.StatusNotFound)
}

// TestMoreKeysAreNoWayAroundALimit: all keys of a user together are held to what a user is.
func TestMoreKeysAreNoWayAroundALimit(t *testing.T) {
	w := newWorld(t, limited(api.Limits{User: limit.Rule{PerSecond: slow, Burst: 10}, Key: limit.Rule{PerSecond: slow, Burst: 5}}))
	w.owner()
	ada := bearer(w.signUp("ada@example.com").AccessToken)
	allowed := 0
	for range 4 {
		key := bearer(into[apigen.CreatedKey](w.post("/api/keys/generate", `{"name":"k"}`, ada), http.StatusCreated).Secret)
		for range 5 {
			if w.get("/v1/models", key).status == http.StatusOK {
				allowed++
			}
		}
	}
	require.Equal(t, 10, allowed)
	require.Equal(t, http.StatusOK, w.get("/api/me", ada).status, "their maker's own requests are counted apart")
}
