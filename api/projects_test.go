package api_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

func TestProjectsAreMadeAndChanged(t *testing.T) {
	w := newWorld(t)
	w.owner()
	ada := bearer(w.signUp("ada@example.com").AccessToken)
	a := w.post("/api/projects", map[string]string{"name": " Support ", "goal": "answers"}, ada)
	p := into[apigen.Project](a, http.StatusCreated)
	require.Equal(t, "Support", p.Name)
	require.Equal(t, apigen.ProjectStatus("active"), p.Status)
	w.post("/api/projects", map[string]string{"name": "  "}, ada).problem(http.StatusBadRequest)
	w.post("/api/projects", map[string]string{"name": ""}, ada).problem(http.StatusBadRequest)

	path, tag := "/api/projects/"+p.ID, a.header.Get("ETag")
	change := func(tag, name string) answer {
		return w.call(http.MethodPut, path, map[string]string{"name": name}, ada, header("If-Match", tag))
	}
	require.Equal(t, "no_precondition", change("", "X").problem(http.StatusPreconditionRequired).Code)
	changed := change(tag, "Help")
	require.Equal(t, "Help", into[apigen.Project](changed, http.StatusOK).Name)
	require.Empty(t, into[apigen.Project](changed, http.StatusOK).Goal, "a PUT says it all")
	require.NotEqual(t, tag, changed.header.Get("ETag"))
	for _, old := range []string{tag, `"x"`, `W/"1"`, `"99999999999999999999"`, `"0"`, `"-1"`} {
		require.Equal(t, "precondition", change(old, "Late").problem(http.StatusPreconditionFailed).Code, old)
	}
	require.Equal(t, "Help", into[apigen.Project](w.get(path, ada), http.StatusOK).Name)
	require.Equal(t, http.StatusOK, change(changed.header.Get("ETag"), "Again").status)
	require.Equal(t, http.StatusOK, change("*", "Anyway").status)
}

func TestProjectsAreFound(t *testing.T) {
	w := newWorld(t)
	w.owner()
	ada := bearer(w.signUp("ada@example.com").AccessToken)
	for _, name := range []string{"one", "two", "two_too", "50%"} {
		w.post("/api/projects", map[string]string{"name": name, "description": "about " + name}, ada)
	}
	names := func(query string) (found []string) {
		for _, p := range into[apigen.ProjectPage](w.get("/api/projects"+query, ada), http.StatusOK).Items {
			found = append(found, p.Name)
		}
		return found
	}
	require.Equal(t, []string{"50%", "two_too", "two", "one", "My project"}, names(""))
	require.Equal(t, []string{"two_too", "two"}, names("?q=TWO"))
	require.Equal(t, []string{"two_too"}, names("?q=two_"), "no wildcards")
	require.Equal(t, []string{"50%"}, names("?q=%25"))
	first := into[apigen.ProjectPage](w.get("/api/projects?limit=2", ada), http.StatusOK)
	require.Len(t, first.Items, 2)
	require.Equal(t, []string{"two", "one", "My project"}, names("?limit=50&cursor="+first.NextCursor))
}

func TestAnArchivedProjectTakesNothingNew(t *testing.T) {
	x := newTenants(t)
	ada := bearer(x.ada.AccessToken)
	require.Equal(t, apigen.ProjectStatus("archived"), into[apigen.Project](x.post("/api/projects/"+store.DefaultProject+"/archive", nil, ada), http.StatusOK).Status)
	for name, try := range map[string]func() answer{
		"training": func() answer { return x.post("/api/training/start", `{"dataset_id":"ds_ready"}`, ada) },
		"pipeline": func() answer { return x.post("/api/pipelines", `{"dataset_id":"ds_ready"}`, ada) },
		"upload": func() answer {
			return x.ask(operation{id: "uploadDataset", method: "POST", path: "/api/datasets/upload"}, entry{body: "upload"}, ada)
		},
		"key": func() answer {
			return x.post("/api/keys/generate", `{"name":"k","project_id":"`+store.DefaultProject+`"}`, ada)
		},
	} {
		require.Contains(t, try().problem(http.StatusConflict).Detail, "archived", name)
	}
	require.Empty(t, x.jobsBeside("job_1"))
	require.Equal(t, http.StatusOK, x.get("/api/training/job_1", ada).status, "what is there can be read")
	require.Equal(t, http.StatusAccepted, x.post("/api/training/job_1/cancel", nil, ada).status, "what runs can be ended")
	require.Equal(t, http.StatusOK, x.post("/api/projects/"+store.DefaultProject+"/unarchive", nil, ada).status)
	require.Equal(t, http.StatusCreated, x.post("/api/training/start", `{"dataset_id":"ds_ready"}`, ada).status)
}

func (x *tenants) jobsBeside(known string) (ids []string) {
	x.t.Helper()
	for _, j := range into[apigen.JobPage](x.get("/api/training"), http.StatusOK).Items {
		if j.ID != known {
			ids = append(ids, j.ID)
		}
	}
	return ids
}

// furnished is a project of Ada's with a dataset, a model and a key in it.
func (x *tenants) furnished(name string) (id, key string) {
	x.t.Helper()
	ada := bearer(x.ada.AccessToken)
	id = into[apigen.Project](x.post("/api/projects", map[string]string{"name": name}, ada), http.StatusCreated).ID
	file := x.object([]byte("the file of " + name))
	x.create(contract.KindDataset, "ds_"+id, contract.DatasetCreated{ProjectID: id, Name: "d", FileName: "d.jsonl", ObjectID: file.ObjectID, SHA256: file.SHA256, Size: file.Size})
	x.tell(contract.KindDataset, "ds_"+id, contract.EventFailed, contract.Error{Code: contract.CodeBadData, Message: "bad"})
	weights := x.object([]byte("the weights of " + name))
	_, err := x.store.CreateModel(x.t.Context(), store.Model{ID: "model_" + id, ProjectID: id, Name: "m", Source: "job", BaseModelID: baseModel, Method: "lora",
		Files: []store.ModelFile{{FileInfo: contract.FileInfo{Path: "w", SHA256: weights.SHA256, Size: weights.Size}, ObjectID: weights.ObjectID}}})
	require.NoError(x.t, err)
	return id, x.key(ada, id, "read", "inference").Secret
}

func TestADeletedProjectComesBackOrGoesForGood(t *testing.T) {
	x := newTenants(t)
	ada := bearer(x.ada.AccessToken)
	kept := len(x.files())
	id, key := x.furnished("Support")
	path := "/api/projects/" + id
	before := into[apigen.Project](x.get(path, ada), http.StatusOK)
	require.Equal(t, 1, before.Contents.Datasets)
	require.Equal(t, 1, before.Contents.Models)
	require.Equal(t, 1, before.Contents.Keys)
	require.EqualValues(t, len("the file of Support")+len("the weights of Support"), before.Contents.Bytes)

	gone := into[apigen.Project](x.call(http.MethodDelete, path, nil, ada), http.StatusOK)
	require.Equal(t, apigen.ProjectStatus("deleted"), gone.Status)
	require.WithinDuration(t, time.Now().Add(store.ProjectUndo), gone.PurgeAt, time.Minute)
	require.Equal(t, 1, gone.Contents.Datasets, "a deletion says what it takes along")
	for _, as := range []with{ada, bearer(ownerToken), bearer(key)} {
		x.get("/api/datasets/ds_"+id, as).problem(http.StatusNotFound)
		x.get("/api/models/model_"+id, as).problem(http.StatusNotFound)
	}
	require.Equal(t, gone.ID, into[apigen.ProjectPage](x.get("/api/projects?status=deleted", ada), http.StatusOK).Items[0].ID)
	require.NotContains(t, string(x.get("/api/projects", ada).body), id)
	x.call(http.MethodPut, path, map[string]string{"name": "x"}, ada, header("If-Match", "*")).problem(http.StatusConflict)
	x.post(path+"/archive", nil, ada).problem(http.StatusConflict)

	require.Equal(t, apigen.ProjectStatus("active"), into[apigen.Project](x.post(path+"/restore", nil, ada), http.StatusOK).Status)
	require.Equal(t, http.StatusOK, x.get("/api/datasets/ds_"+id, bearer(key)).status, "keys and all")

	x.call(http.MethodDelete, path+"?permanent=true", nil, ada).problem(http.StatusBadRequest)
	x.call(http.MethodDelete, path+"?permanent=true&confirm=support", nil, ada).problem(http.StatusBadRequest)
	require.Equal(t, http.StatusOK, x.get("/api/datasets/ds_"+id, ada).status)
	require.Equal(t, http.StatusNoContent, x.call(http.MethodDelete, path+"?permanent=true&confirm=Support", nil, ada).status)
	x.get(path, ada).problem(http.StatusNotFound)
	require.Equal(t, http.StatusUnauthorized, x.get("/api/datasets", bearer(key)).status)
	require.Len(t, x.files(), kept, "the files are gone, and no others")
	last, err := x.store.LastSeq(t.Context(), contract.Stream(contract.KindDataset, "ds_"+id))
	require.NoError(t, err)
	require.Zero(t, last)
	require.NoError(t, x.store.Rebuild(t.Context()))
	require.Equal(t, http.StatusOK, x.get("/api/datasets/ds_ready", ada).status, "other projects' things are as they were")
	require.Equal(t, http.StatusOK, x.get("/api/models/"+tunedModel, ada).status)
}

func TestWhatRunsKeepsItsProject(t *testing.T) {
	x := newTenants(t)
	ada := bearer(x.ada.AccessToken)
	x.call(http.MethodDelete, "/api/projects/"+store.DefaultProject, nil, ada).problem(http.StatusConflict)
	id, _ := x.furnished("Busy")
	x.create(contract.KindJob, "job_busy", contract.JobCreated{ProjectID: id, Name: "j", DatasetID: "ds_" + id, ModelID: baseModel, Queue: "cpu"})
	for _, query := range []string{"", "?permanent=true&confirm=Busy"} {
		p := x.call(http.MethodDelete, "/api/projects/"+id+query, nil, ada).problem(http.StatusConflict)
		require.Contains(t, p.Detail, "under way")
	}
	x.tell(contract.KindJob, "job_busy", contract.EventCancelled, struct{}{})
	require.Equal(t, http.StatusOK, x.call(http.MethodDelete, "/api/projects/"+id, nil, ada).status)
}

// TestAPurgeThatWasInterruptedIsFinished by the next start.
func TestAPurgeThatWasInterruptedIsFinished(t *testing.T) {
	x := newTenants(t)
	kept := len(x.files())
	id, _ := x.furnished("Support")
	_, err := x.store.ChangeProject(t.Context(), id, 0, func(p *store.Project) error {
		p.DeletedAt = time.Now().Add(-store.ProjectUndo - time.Minute)
		return nil
	})
	require.NoError(t, err)
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = x.store.PurgeProject(stopped, id)
	require.Error(t, err)
	require.Len(t, x.files(), kept+2)
	x.stop()
	x.start()
	require.Eventually(t, func() bool {
		_, err := x.store.GetProject(t.Context(), id)
		return contract.CodeOf(err) == contract.CodeNotFound
	}, 10*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { return len(x.files()) == kept }, 10*time.Second, 10*time.Millisecond)
}

// TestTheProjectOfARequest: what a request names by project_id is all that it finds, and where what it makes goes.
func TestTheProjectOfARequest(t *testing.T) {
	x := newTenants(t)
	ada := bearer(x.ada.AccessToken)
	id, key := x.furnished("Support")
	ids := func(path string, as with) (found []string) {
		for _, d := range into[apigen.DatasetPage](x.get(path, as), http.StatusOK).Items {
			found = append(found, d.ID)
		}
		return found
	}
	require.ElementsMatch(t, []string{"ds_ready", "ds_" + id}, ids("/api/datasets", ada))
	require.Equal(t, []string{"ds_" + id}, ids("/api/datasets?project_id="+id, ada))
	require.Equal(t, []string{"ds_" + id}, ids("/api/datasets", bearer(key)))
	x.get("/api/datasets?project_id="+store.DefaultProject, bearer(key)).problem(http.StatusNotFound)
	x.get("/api/datasets?project_id="+id, bearer(x.bob.AccessToken)).problem(http.StatusNotFound)
	x.get("/api/datasets/ds_ready?project_id="+id, ada).problem(http.StatusNotFound)
	body, contentType := form(t, field{"file", "q.jsonl", "{}\n"})
	made := into[apigen.Dataset](x.post("/api/datasets/upload?project_id="+id, body, ada, header("Content-Type", contentType)), http.StatusCreated)
	require.Equal(t, id, made.ProjectID)
	body, contentType = form(t, field{"file", "q.jsonl", "{}\n"})
	made = into[apigen.Dataset](x.post("/api/datasets/upload", body, bearer(x.bob.AccessToken), header("Content-Type", contentType)), http.StatusCreated)
	require.Equal(t, x.home(bearer(x.bob.AccessToken)), made.ProjectID, "a member's own, where none is named")
}

// TestV1ShowsTheKeysProjectAlone, and to a person what is theirs.
func TestV1ShowsTheKeysProjectAlone(t *testing.T) {
	x := newTenants(t)
	_, elsewhere := x.furnished("Support")
	here := x.key(bearer(x.ada.AccessToken), store.DefaultProject).Secret
	for who, want := range map[string]bool{here: true, x.ada.AccessToken: true, ownerToken: true, elsewhere: false, x.bob.AccessToken: false} {
		status := map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[want]
		a := x.get("/v1/models/"+tunedModel, bearer(who))
		if want && a.status == http.StatusServiceUnavailable {
			a.status = http.StatusOK // its engine does not answer in this test: it is there all the same
		}
		require.Equal(t, status, a.status, "%s", a.body)
		require.Equal(t, http.StatusNotFound == status, x.post("/v1/chat/completions", `{"model":"`+tunedModel+`","messages":[]}`, bearer(who)).status == http.StatusNotFound)
	}
}
