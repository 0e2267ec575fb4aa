package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/store"
)

// An operation's entry in the matrix: how to ask for it, about what belongs to Ada. "ID" in a path is filled in.
type entry struct {
	id   string // of Ada's, in the path
	body string
	// about is what the operation is about, where neither its path nor its body names something of a project: the caller
	// (their own account, keys, settings), the whole installation, or everybody.
	about string
	// list says that strangers get an empty list; of models, they get the catalog.
	list bool
}

const (
	aboutCaller = "the caller"
	aboutAll    = "everybody"
	aboutSystem = "the installation"
)

// matrix has an entry for each operation of the document. A new operation is refused by the test until it has one: write
// it down with something of Ada's that the operation is asked about.
var matrix = map[string]entry{
	"getHealth": {about: aboutAll}, "getReady": {about: aboutAll}, "getAuthStatus": {about: aboutAll},
	"register": {about: aboutAll, body: `{"email":"x@example.com","password":"x"}`}, "login": {about: aboutAll, body: `{"email":"x@example.com","password":"x"}`},
	"redeemLink": {about: aboutAll, body: `{"code":"x"}`}, "refreshSession": {about: aboutAll, body: `{}`}, "logout": {about: aboutAll, body: `{"refresh_token":"x"}`},
	"resetPassword": {about: aboutAll, body: `{"code":"x","password":"x"}`}, "collectGarbage": {about: aboutSystem}, "getSystem": {about: aboutSystem}, "getDisk": {about: aboutSystem}, "createSignInLink": {about: aboutSystem},
	"listUsers": {about: aboutSystem}, "createUser": {about: aboutSystem, body: `{"email":"x@example.com"}`}, "getUser": {about: aboutSystem, id: "ada"},
	"updateUser": {about: aboutSystem, id: "ada", body: `{}`}, "deleteUser": {about: aboutSystem, id: "ada"}, "resetUser": {about: aboutSystem, id: "ada"},
	"listAudit": {about: aboutSystem}, "changePassword": {about: aboutCaller, body: `{"current_password":"x","new_password":"x"}`},
	"getMe": {about: aboutCaller}, "updateMe": {about: aboutCaller, body: `{}`}, "listSessions": {about: aboutCaller}, "listSettings": {about: aboutCaller},
	"putSetting": {about: aboutCaller, body: `{"value":"x"}`}, "deleteSetting": {about: aboutCaller}, "endSession": {id: "session"},
	"createProject": {about: aboutCaller, body: `{"name":"x"}`}, "listProjects": {list: true}, "getProject": {id: "project"}, "updateProject": {id: "project", body: `{"name":"x"}`},
	"deleteProject": {id: "project"}, "archiveProject": {id: "project"}, "unarchiveProject": {id: "project"}, "restoreProject": {id: "project"}, "listActivity": {id: "project"},
	"listMembers": {id: "project"}, "addMember": {id: "project", body: `{"email":"bob@example.com","role":"viewer"}`},
	"updateMember": {id: "project", body: `{"role":"viewer"}`}, "removeMember": {id: "project"},

	"uploadDataset": {body: "upload"}, "listDatasets": {list: true}, "getDataset": {id: "ds_ready"}, "previewDataset": {id: "ds_ready"}, "showTokens": {id: "ds_ready"},
	"addSampleDataset": {about: aboutCaller}, "processDataset": {id: "ds_ready", body: `{}`}, "deleteDataset": {id: "ds_ready"}, "updateDataset": {id: "ds_ready", body: `{}`}, "updateModel": {id: tunedModel, body: `{}`}, "updateJob": {id: "job_1", body: `{}`}, "deleteModel": {id: tunedModel}, "deleteJob": {id: "job_1"}, "deleteEvaluation": {id: "eval_1"}, "deletePipeline": {id: "pipe_1"},
	"streamDatasetEvents": {id: "ds_ready"},
	"listModels":          {list: true}, "getModel": {id: tunedModel}, "uploadModel": {body: "upload"}, "addModel": {about: aboutCaller, body: `{"source":"hub:a/b"}`},
	"checkTraining": {about: aboutCaller, body: `{}`}, "recommendTraining": {body: `{"dataset_id":"ds_ready"}`}, "startTraining": {body: `{"dataset_id":"ds_ready","model_id":"` + baseModel + `"}`},
	"listJobs": {list: true}, "compareJobs": {id: "job_1"}, "getJob": {id: "job_1"}, "pauseJob": {id: "job_1"}, "resumeJob": {id: "job_1"}, "cancelJob": {id: "job_1"},
	"listJobCheckpoints": {id: "job_1"}, "getJobMetrics": {id: "job_1"}, "getJobLogs": {id: "job_1"}, "streamJobEvents": {id: "job_1"}, "streamJob": {id: "job_1"},
	"startEvaluation": {body: `{"model_id":"` + tunedModel + `","dataset_id":"ds_ready"}`}, "listEvaluations": {list: true}, "getEvaluation": {id: "eval_1"},
	"compareEvaluation": {id: "eval_1"}, "cancelEvaluation": {id: "eval_1"}, "streamEvaluationEvents": {id: "eval_1"},
	"startDeployment": {body: `{"model_id":"` + tunedModel + `"}`}, "listDeployments": {list: true}, "getDeployment": {id: "dep_1"}, "stopDeployment": {id: "dep_1"},
	"streamDeploymentEvents": {id: "dep_1"},
	"startExport":            {body: `{"model_id":"` + tunedModel + `"}`}, "listExports": {list: true}, "getExport": {id: "exp_1"}, "downloadExport": {id: "exp_1"}, "streamExportEvents": {id: "exp_1"},
	"startPipeline": {body: `{"dataset_id":"ds_ready"}`}, "listPipelines": {list: true}, "getPipeline": {id: "pipe_1"}, "confirmPipeline": {id: "pipe_1"},
	"retryPipeline": {id: "pipe_1"}, "cancelPipeline": {id: "pipe_1"}, "streamPipelineEvents": {id: "pipe_1"},
	"listOpenAIModels": {list: true}, "getOpenAIModel": {id: tunedModel}, "createChatCompletion": {body: question},
	"generateKey": {body: `{"name":"x","project_id":"PROJECT"}`}, "listKeys": {list: true}, "revokeKey": {id: "key"}, "getKeyAnalytics": {id: "key"},
}

// query is what an operation's query must have.
var query = map[string]string{"deleteDataset": "?preview=true", "deleteModel": "?preview=true", "deleteJob": "?preview=true", "deleteEvaluation": "?preview=true",
	"deletePipeline": "?preview=true", "downloadExport": "?file=adapter/weights.safetensors", "compareJobs": "?id={id}&id=job_1", "showTokens": "?model_id=" + baseModel}

// tenants is an installation with an owner and two members: Ada, to whom everything belongs, and Bob.
type tenants struct {
	*world
	ids      map[string]string // what the matrix calls by a name
	ada, bob apigen.Session
}

// signUp makes a member.
func (w *world) signUp(email string) apigen.Session {
	w.t.Helper()
	return into[apigen.Session](w.post("/api/auth/register", map[string]string{"email": email, "password": "correct horse"}, nobody()), http.StatusCreated)
}

// owner makes the owner's account.
func (w *world) owner() apigen.Session {
	w.t.Helper()
	return into[apigen.Session](w.post("/api/auth/register", map[string]string{"email": "owner@example.com", "password": "correct horse"}), http.StatusCreated)
}

func newTenants(t *testing.T) *tenants {
	t.Helper()
	w := newWorld(t)
	w.owner()
	x := &tenants{world: w, ada: w.signUp("ada@example.com"), bob: w.signUp("bob@example.com")}
	everything(w)
	engine := engine(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(`{"id":"c","model":"dep_1","choices":[]}`))
	})
	w.tell(contract.KindDeployment, "dep_1", contract.EventServing, contract.Serving{Worker: "host/1/boot", URL: engine, Token: engineSecret, Name: "dep_1"})
	_, err := w.store.ChangeProject(t.Context(), store.DefaultProject, 0, func(p *store.Project) error {
		p.UserID = x.ada.User.ID
		return nil
	})
	require.NoError(t, err)
	sessions := into[apigen.DeviceList](w.get("/api/me/sessions", bearer(x.ada.AccessToken)), http.StatusOK)
	x.ids = map[string]string{"project": store.DefaultProject, "ada": x.ada.User.ID, "session": sessions.Items[0].ID}
	x.ids["key"] = x.key(bearer(x.ada.AccessToken), store.DefaultProject).Key.ID
	return x
}

func (x *tenants) key(as with, project string, scopes ...string) apigen.CreatedKey {
	x.t.Helper()
	request := map[string]any{"name": "k", "project_id": project}
	if len(scopes) > 0 {
		request["scopes"] = scopes
	}
	return into[apigen.CreatedKey](x.post("/api/keys/generate", request, as), http.StatusCreated)
}

// home is the project that somebody has from the start.
func (x *tenants) home(as with) string {
	x.t.Helper()
	return into[apigen.Me](x.get("/api/me", as), http.StatusOK).DefaultProjectID
}

// ask asks for an operation as the matrix says.
func (x *tenants) ask(op operation, e entry, as ...with) answer {
	x.t.Helper()
	id := e.id
	if known, ok := x.ids[id]; ok {
		id = known
	}
	path := strings.NewReplacer("{id}", id, "{model}", id, "{name}", "signup", "{user_id}", x.ids["ada"]).Replace(op.path + query[op.id])
	changes := append([]with{header("If-Match", "*")}, as...)
	if e.body == "upload" {
		body, contentType := form(x.t, field{"project_id", "", store.DefaultProject}, field{"file", "q.jsonl", "{}\n"})
		return x.call(op.method, path, body, append(changes, header("Content-Type", contentType))...)
	}
	if e.body == "" {
		return x.call(op.method, path, nil, changes...)
	}
	return x.call(op.method, path, strings.ReplaceAll(e.body, "PROJECT", store.DefaultProject), changes...)
}

func TestEveryOperationIsInTheMatrix(t *testing.T) {
	known := map[string]bool{}
	for _, op := range newConformance(t).operations() {
		known[op.id] = true
		if _, ok := matrix[op.id]; op.id != "" && !ok {
			t.Errorf("the operation %s is not in the matrix: say what of Ada's it is about, and nobody else will reach it", op.id)
		}
	}
	for id := range matrix {
		require.True(t, known[id], "%s is in the matrix, and no operation", id)
	}
}

// TestNobodyReachesWhatIsNotTheirs asks for every operation, about things of Ada's, as everybody who must not.
func TestNobodyReachesWhatIsNotTheirs(t *testing.T) {
	x := newTenants(t)
	asAda, asBob := bearer(x.ada.AccessToken), bearer(x.bob.AccessToken)
	strangers := map[string]with{
		"no credentials":         nobody(),
		"an expired token":       bearer(x.expired(x.ada)),
		"a revoked key":          bearer(x.revoked(asAda)),
		"an expired key":         bearer(x.expiredKey()),
		"the worker token":       bearer("worker-token"),
		"another job's token":    bearer(runToken(t)),
		"a refresh token":        bearer(x.ada.RefreshToken),
		"an ended session":       bearer(x.ended("gone@example.com")),
		"a disabled user":        bearer(x.disabled("disabled@example.com")),
		"a disabled user's key":  bearer(x.keyOfDisabled("disabled2@example.com")),
		"a key of a gone projct": bearer(x.keyOfDeletedProject("deleted@example.com")),
	}
	everyScope := []string{"read", "write", "inference"}
	otherKey := bearer(x.key(asBob, x.home(asBob), everyScope...).Secret)
	adasOtherProject := into[apigen.Project](x.post("/api/projects", map[string]string{"name": "other"}, asAda), http.StatusCreated).ID
	adasOtherKey := bearer(x.key(asAda, adasOtherProject, everyScope...).Secret)
	wrongScope := map[string]with{"read": bearer(x.key(asAda, store.DefaultProject, "write", "inference").Secret),
		"write":     bearer(x.key(asAda, store.DefaultProject, "read", "inference").Secret),
		"inference": bearer(x.key(asAda, store.DefaultProject, "read", "write").Secret)}

	for _, op := range x.check.operations() {
		e, ok := matrix[op.id]
		if !ok || op.public {
			continue
		}
		for who, stranger := range strangers {
			if who == "a key of a gone projct" && op.access != "owner" && op.access != "person" {
				x.finds(op, e, stranger, who) // the key is good, and there is nothing that it reaches
				continue
			}
			status := http.StatusUnauthorized
			if who == "a key of a gone projct" {
				status = http.StatusForbidden
			}
			require.Equal(t, status, x.ask(op, e, stranger).status, "%s by %s", op.id, who)
		}
		switch op.access {
		case "owner":
			for who, caller := range map[string]with{"a member": asAda, "another member": asBob, "a key": adasOtherKey} {
				x.ask(op, e, caller).problem(http.StatusForbidden)
				_ = who
			}
		case "person":
			x.finds(op, e, asBob, "another user")
			for _, caller := range []with{otherKey, adasOtherKey, wrongScope["read"], wrongScope["write"]} {
				x.ask(op, e, caller).problem(http.StatusForbidden)
			}
		default:
			x.finds(op, e, asBob, "another user")
			x.finds(op, e, otherKey, "another user's key")
			x.finds(op, e, adasOtherKey, "a key of another project")
			require.Contains(t, x.ask(op, e, wrongScope[op.access]).refusal(op, http.StatusForbidden), "scope", op.id)
		}
	}
}

// finds asserts that a caller finds nothing of Ada's: what is named does not exist, and lists are empty.
func (x *tenants) finds(op operation, e entry, as with, who string) {
	x.t.Helper()
	switch {
	case e.about != "":
	case e.list:
		a := x.ask(op, e, as)
		require.Equal(x.t, http.StatusOK, a.status, "%s by %s: %s", op.id, who, a.body)
		type item struct {
			ID        string `json:"id"`
			ProjectID string `json:"project_id"`
			OwnedBy   string `json:"owned_by"`
		}
		var page struct{ Items, Data []item }
		require.NoError(x.t, json.Unmarshal(a.body, &page))
		for _, item := range append(page.Items, page.Data...) {
			require.NotContains(x.t, []string{item.ProjectID, item.OwnedBy}, store.DefaultProject, "%s by %s", op.id, who)
			require.NotContains(x.t, []string{store.DefaultProject, tunedModel}, item.ID, "%s by %s", op.id, who)
		}
	default:
		a := x.ask(op, e, as)
		said := a.refusal(op, http.StatusNotFound)
		none := x.ask(op, entry{id: "none_such", body: strings.NewReplacer("ds_ready", "none_such", tunedModel, "none_such", "PROJECT", "none_such").Replace(e.body)}, as)
		if e.body != "upload" { // its file names the project itself
			require.Equal(x.t, strings.ReplaceAll(said, x.named(e), "none_such"), none.refusal(op, http.StatusNotFound),
				"%s tells %s that there is something", op.id, who)
		}
	}
}

// refusal is what an operation's refusal says: a problem's detail, or under /v1 the message of OpenAI's envelope.
func (a answer) refusal(op operation, status int) string {
	a.t.Helper()
	if strings.HasPrefix(op.path, "/v1/") {
		return a.openAIError(status).Message
	}
	return a.problem(status).Detail
}

// named is the id that an entry asks about.
func (x *tenants) named(e entry) string {
	switch {
	case x.ids[e.id] != "":
		return x.ids[e.id]
	case e.id != "":
		return e.id
	case strings.Contains(e.body, "PROJECT"):
		return store.DefaultProject
	case strings.Contains(e.body, tunedModel):
		return tunedModel
	default:
		return "ds_ready"
	}
}

// TestAdaReachesWhatIsHers asks for the same as Ada, as an owner, and with the scope: the refusals above are not of everybody.
func TestAdaReachesWhatIsHers(t *testing.T) {
	x := newTenants(t)
	asAda := bearer(x.ada.AccessToken)
	keys := map[string]with{"read": bearer(x.key(asAda, store.DefaultProject, "read").Secret), "write": bearer(x.key(asAda, store.DefaultProject, "write").Secret),
		"inference": bearer(x.key(asAda, store.DefaultProject, "inference").Secret)}
	refused := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}
	for _, op := range x.check.operations() {
		e, ok := matrix[op.id]
		if !ok || op.public || strings.HasPrefix(op.id, "stream") || op.id == "endSession" || op.id == "deleteUser" {
			continue // those that would not end, and what this very test needs
		}
		callers := map[string]with{"Ada": asAda, "the machine's owner": bearer(ownerToken)}
		switch op.access {
		case "owner":
			delete(callers, "Ada")
		case "read", "write", "inference":
			callers["a key"] = keys[op.access]
		}
		if e.about == aboutCaller && op.access == "person" {
			continue // what these do, their own tests say
		}
		for who, caller := range callers {
			require.NotContains(t, refused, x.ask(op, e, caller).status, "%s by %s", op.id, who)
			x.post("/api/projects/"+store.DefaultProject+"/unarchive", nil)
		}
	}
}

func (x *tenants) expired(s apigen.Session) string {
	x.t.Helper()
	past, err := auth.NewTokens(signingKey, func() time.Time { return time.Now().Add(-time.Hour) })
	require.NoError(x.t, err)
	token, _, err := past.Access(s.User.ID, x.ids["session"])
	require.NoError(x.t, err)
	return token
}

func (x *tenants) revoked(as with) string {
	x.t.Helper()
	key := x.key(as, store.DefaultProject, "read", "write", "inference")
	require.Equal(x.t, http.StatusNoContent, x.call(http.MethodDelete, "/api/keys/"+key.Key.ID, nil, as).status)
	return key.Secret
}

func (x *tenants) expiredKey() string {
	x.t.Helper()
	secret := auth.NewKey()
	require.NoError(x.t, x.store.CreateAPIKey(x.t.Context(), store.APIKey{ID: "key_old", ProjectID: store.DefaultProject, KeyHash: auth.HashKey(signingKey, secret),
		ExpiresAt: time.Now().Add(-time.Second), Scopes: []contract.Scope{contract.ScopeRead, contract.ScopeWrite}}))
	return secret
}

func (x *tenants) ended(email string) string {
	x.t.Helper()
	session := x.signUp(email)
	require.Equal(x.t, http.StatusNoContent, x.post("/api/auth/logout", nil, bearer(session.AccessToken)).status)
	return session.AccessToken
}

func (x *tenants) disabled(email string) string {
	x.t.Helper()
	session := x.signUp(email)
	x.disable(session)
	return session.AccessToken
}

func (x *tenants) disable(session apigen.Session) {
	x.t.Helper()
	require.Equal(x.t, http.StatusOK, x.call(http.MethodPatch, "/api/users/"+session.User.ID, `{"disabled":true}`).status)
}

func (x *tenants) keyOfDisabled(email string) string {
	x.t.Helper()
	session := x.signUp(email)
	key := x.key(bearer(session.AccessToken), x.home(bearer(session.AccessToken)), "read", "write", "inference")
	x.disable(session)
	return key.Secret
}

func (x *tenants) keyOfDeletedProject(email string) string {
	x.t.Helper()
	session := x.signUp(email)
	as := bearer(session.AccessToken)
	home := x.home(as)
	key := x.key(as, home, "read", "write", "inference")
	require.Equal(x.t, http.StatusOK, x.call(http.MethodDelete, "/api/projects/"+home, nil, as).status)
	return key.Secret
}

// runToken is what the gateway gives to a launch, signed with this server's key.
func runToken(t *testing.T) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": "vibeflow", "aud": []string{"run"}, "run": "job_other", "epoch": 1, "nonce": "n",
		"exp": time.Now().Add(time.Hour).Unix()}).SignedString(signingKey)
	require.NoError(t, err)
	return token
}
