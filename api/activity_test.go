package api_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// activity reads all of a project's activity, a page at a time.
func (x *tenants) activity(as with, project string, limit int) (all []apigen.Activity) {
	x.t.Helper()
	cursor := ""
	for {
		page := into[apigen.ActivityPage](x.get("/api/projects/"+project+"/activity?limit="+strconv.Itoa(limit)+"&cursor="+cursor, as), http.StatusOK)
		all = append(all, page.Items...)
		if cursor = page.NextCursor; cursor == "" {
			return all
		}
		require.Len(x.t, page.Items, limit)
	}
}

func texts(all []apigen.Activity) (texts []string) {
	for _, a := range all {
		texts = append(texts, a.Text)
	}
	return texts
}

func TestActivitySaysWhoDidWhat(t *testing.T) {
	x := newTenants(t)
	ada := bearer(x.ada.AccessToken)
	require.Equal(t, http.StatusOK, x.call(http.MethodPatch, "/api/datasets/ds_ready", `{"notes":"checked"}`, ada).status)
	require.Equal(t, http.StatusAccepted, x.post("/api/training/job_1/pause", nil, ada).status)
	x.tell(contract.KindJob, "job_1", contract.EventPaused, contract.Paused{Step: 3})
	x.tell(contract.KindJob, "job_1", contract.EventProgress, contract.Progress{Phase: "train"})
	x.tell(contract.KindJob, "job_1", contract.EventFailed, contract.Errorf(contract.CodeBadData, "row 7 is empty"))
	require.Equal(t, http.StatusOK, x.call(http.MethodDelete, "/api/evaluation/eval_1?preview=true", nil, ada).status)
	require.Equal(t, http.StatusOK, x.call(http.MethodDelete, "/api/evaluation/eval_1", nil, ada).status)
	require.Equal(t, http.StatusOK, x.post("/api/projects/"+store.DefaultProject+"/archive", nil).status)
	x.post("/api/projects/"+store.DefaultProject+"/archive", nil, bearer(x.bob.AccessToken)).problem(http.StatusNotFound)
	require.Equal(t, http.StatusOK, x.post("/api/projects/"+store.DefaultProject+"/unarchive", nil).status)
	key := bearer(x.key(ada, store.DefaultProject, "write").Secret)
	require.Equal(t, http.StatusAccepted, x.call(http.MethodDelete, "/api/deployments/dep_1", nil, key).status)

	all := x.activity(ada, store.DefaultProject, 200)
	got := all[:8]
	require.Equal(t, []string{
		"k stopped the deployment of “tuned”",
		"ada@example.com made the API key “k”",
		"owner@example.com took the project “default” out of the archive",
		"owner@example.com archived the project “default”",
		"ada@example.com deleted the evaluation of “tuned”",
		"The training “job_1” failed",
		"The training “job_1” is paused",
		"ada@example.com paused the training “job_1”",
	}, texts(got))
	require.Equal(t, "row 7 is empty", got[5].Detail)
	require.Equal(t, []any{apigen.ActivityActorKind("api_key"), apigen.ActivityKind("deployment"), "dep_1", "deployment.stop_requested"},
		[]any{got[0].Actor.Kind, got[0].Kind, got[0].ResourceID, got[0].Action})
	require.Equal(t, apigen.ActivityActorKind("user"), got[7].Actor.Kind)
	require.Empty(t, got[6].Actor.ID)
	require.Equal(t, "eval_1", got[4].ResourceID)
	require.Contains(t, texts(all), "The dataset “questions” is ready")
	require.Contains(t, texts(all), "ada@example.com changed the dataset “questions”")

	for _, limit := range []int{1, 3, 7} {
		require.Equal(t, all, x.activity(ada, store.DefaultProject, limit), "page by page")
	}
	other := into[apigen.Project](x.post("/api/projects", `{"name":"other"}`, ada), http.StatusCreated).ID
	require.Equal(t, []string{"ada@example.com made the project “other”"}, texts(x.activity(ada, other, 50)))
	x.get("/api/projects/"+store.DefaultProject+"/activity", bearer(x.bob.AccessToken)).problem(http.StatusNotFound)
	foreign := into[apigen.ActivityPage](x.get("/api/projects/"+store.DefaultProject+"/activity?limit=1", ada), http.StatusOK).NextCursor
	x.get("/api/projects/"+other+"/activity?cursor="+foreign, ada).problem(http.StatusBadRequest)
	x.get("/api/projects/"+store.DefaultProject+"/activity?cursor=x", ada).problem(http.StatusBadRequest)

	require.Equal(t, http.StatusNoContent, x.call(http.MethodDelete, "/api/users/"+x.ada.User.ID, nil).status)
	all = x.activity(bearer(ownerToken), store.DefaultProject, 200)
	require.Contains(t, texts(all), "Somebody who is gone paused the training “job_1”", "no address stays")
}
