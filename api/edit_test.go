package api_test

import (
	"bufio"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// labelled is what datasets, models and jobs have in common for whoever edits them.
type labelled struct {
	Name, Notes string
	Tags        []string
}

// editable is where the one dataset, job and tuned model of a world are, all at rest.
func editable(w *world) []string {
	w.t.Helper()
	everything(w)
	w.tell(contract.KindJob, "job_1", contract.EventCancelled, nil)
	w.tell(contract.KindPipeline, "pipe_1", contract.EventCancelled, nil)
	w.tell(contract.KindDeployment, "dep_1", contract.EventStopped, nil)
	return []string{"/api/datasets/ds_ready", "/api/training/job_1", "/api/models/" + tunedModel}
}

func TestEditsChangeTheVersionThatWasRead(t *testing.T) {
	w := newWorld(t)
	for _, path := range editable(w) {
		first := w.get(path).header.Get("ETag")
		require.NotEmpty(t, first, path)
		a := w.call(http.MethodPatch, path, `{"name":" mine ","notes":"two\nlines","tags":["b","a","b"]}`, header("If-Match", first))
		require.Equal(t, labelled{"mine", "two\nlines", []string{"b", "a"}}, into[labelled](a, http.StatusOK), path)
		second := a.header.Get("ETag")
		require.NotEqual(t, first, second)

		p := w.call(http.MethodPatch, path, `{"name":"theirs"}`, header("If-Match", first)).problem(http.StatusPreconditionFailed)
		require.Equal(t, "If-Match", p.Field)
		require.NotEmpty(t, p.Remedy)
		for _, stale := range []string{first, `"99"`, "W/" + second, `"x"`, `""`} {
			w.call(http.MethodDelete, path, nil, header("If-Match", stale)).problem(http.StatusPreconditionFailed)
		}
		require.Equal(t, "mine", into[labelled](w.get(path), http.StatusOK).Name, "nothing was changed, and nothing is gone")

		require.Equal(t, second, w.call(http.MethodPatch, path, `{}`).header.Get("ETag"), "an edit that says nothing makes no version")
		cleared := w.call(http.MethodPatch, path, `{"notes":"","tags":[]}`, header("If-Match", "*"))
		require.Equal(t, labelled{"mine", "", nil}, into[labelled](cleared, http.StatusOK), path)
		for _, nonsense := range []string{`{"name":""}`, `{"name":"  "}`, `{"name":null}`, `{"tags":[""]}`, `{"tags":[" "]}`, `{"tags":"a"}`, `{"status":"ready"}`,
			`{"name":"` + strings.Repeat("x", 201) + `"}`, `{"notes":"\u0000"}`} {
			w.call(http.MethodPatch, path, nonsense).problem(http.StatusBadRequest)
		}
		require.Equal(t, http.StatusOK, w.call(http.MethodDelete, path, nil, header("If-Match", cleared.header.Get("ETag"))).status, path)
		w.call(http.MethodPatch, path, `{"name":"x"}`).problem(http.StatusNotFound)
	}
}

// TestAJobsCourseMakesNoVersion: a note can be written while the job trains.
func TestAJobsCourseMakesNoVersion(t *testing.T) {
	w := newWorld(t)
	everything(w)
	read := w.get("/api/training/job_1").header.Get("ETag")
	w.tell(contract.KindJob, "job_1", contract.EventStarted, contract.Claimed{Epoch: 1, Worker: "w"})
	require.Equal(t, http.StatusOK, w.call(http.MethodPatch, "/api/training/job_1", `{"notes":"look at step 3"}`, header("If-Match", read)).status)
}

func TestListsAreNarrowedByTags(t *testing.T) {
	w := newWorld(t)
	editable(w)
	w.ready("ds_other", "prompt_completion")
	w.job("job_other")
	for list, ids := range map[string][2]string{"/api/datasets": {"ds_ready", "ds_other"}, "/api/training": {"job_1", "job_other"}, "/api/models": {tunedModel, ""}} {
		require.Equal(t, http.StatusOK, w.call(http.MethodPatch, list+"/"+ids[0], `{"tags":["a","b c"]}`).status)
		if ids[1] != "" {
			require.Equal(t, http.StatusOK, w.call(http.MethodPatch, list+"/"+ids[1], `{"tags":["a"]}`).status)
		}
		require.ElementsMatch(t, slices.DeleteFunc(ids[:], func(id string) bool { return id == "" }), w.listed(list+"?tag=a"))
		require.Equal(t, []string{ids[0]}, w.listed(list+"?tag=a&tag=b%20c"))
		require.Empty(t, w.listed(list+"?tag=b"), "a tag is looked for whole")
	}
}

func (w *world) listed(path string) (ids []string) {
	w.t.Helper()
	page := into[struct{ Items []struct{ ID string } }](w.get(path), http.StatusOK)
	for _, item := range page.Items {
		ids = append(ids, item.ID)
	}
	return ids
}

// TestEditsStandInTheLog: they are in the audit log, survive a rebuild of the rows, are told to watchers, and hold no
// stream up that has ended.
func TestEditsStandInTheLog(t *testing.T) {
	w := newWorld(t)
	editable(w)
	require.Equal(t, http.StatusOK, w.call(http.MethodPatch, "/api/training/job_1", `{"name":"renamed","notes":"n","tags":["t"]}`).status)
	require.Equal(t, http.StatusOK, w.call(http.MethodPatch, "/api/training/job_1", `{"notes":"m"}`).status)
	before := w.get("/api/training/job_1")
	require.NoError(t, w.store.Rebuild(t.Context()))
	after := w.get("/api/training/job_1")
	require.JSONEq(t, string(before.body), string(after.body))
	require.Equal(t, before.header.Get("ETag"), after.header.Get("ETag"))

	audit := into[apigen.AuditPage](w.get("/api/audit?action=updateJob"), http.StatusOK)
	require.Len(t, audit.Items, 2)
	require.Equal(t, "job_1", audit.Items[0].Resource)

	told := []string{}
	stream := w.get("/api/training/job_1/events") // it returns: the stream ends
	lines := bufio.NewScanner(strings.NewReader(string(stream.body)))
	for lines.Scan() {
		if event, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			told = append(told, event)
		}
	}
	require.Equal(t, []string{"job.edited", "job.edited", "end"}, told[len(told)-3:])
}

// TestModelsThatEverybodySees are edited by owners alone, and those of the catalog by nobody: the next start would undo it.
func TestModelsThatEverybodySees(t *testing.T) {
	x := newTenants(t)
	added := into[apigen.Model](x.post("/api/models", `{"source":"hub:a/b"}`), http.StatusCreated)
	path := "/api/models/" + strings.ReplaceAll(added.ID, "/", "%2F")
	x.call(http.MethodPatch, path, `{"notes":"mine"}`, bearer(x.ada.AccessToken)).problem(http.StatusForbidden)
	require.Equal(t, "ours", into[labelled](x.call(http.MethodPatch, path, `{"notes":"ours"}`), http.StatusOK).Notes)
	x.call(http.MethodPatch, "/api/models/"+baseModel, `{"notes":"ours"}`).problem(http.StatusConflict)
}

func TestADeletedProjectIsTheOneThatWasRead(t *testing.T) {
	w := newWorld(t)
	project := w.post("/api/projects", `{"name":"p"}`)
	path, read := "/api/projects/"+into[apigen.Project](project, http.StatusCreated).ID, project.header.Get("ETag")
	require.Equal(t, http.StatusOK, w.call(http.MethodPut, path, `{"name":"q"}`, header("If-Match", read)).status)
	w.call(http.MethodDelete, path, nil, header("If-Match", read)).problem(http.StatusPreconditionFailed)
	w.call(http.MethodDelete, path+"?permanent=true&confirm=q", nil, header("If-Match", read)).problem(http.StatusPreconditionFailed)
	require.Equal(t, store.ProjectActive, string(into[apigen.Project](w.get(path), http.StatusOK).Status))
}
