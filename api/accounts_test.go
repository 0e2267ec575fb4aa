package api_test

import (
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api"
	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/login"
	"github.com/vibeflow/vibeflow/internal/store"
)

// credentials are the body of a registration or a login.
func credentials(email string, more ...any) map[string]any {
	out := map[string]any{"email": email, "password": "correct horse"}
	for i := 0; i < len(more); i += 2 {
		out[more[i].(string)] = more[i+1]
	}
	return out
}

// jar sends cookies as a browser does, each to its path.
func jar(cookies map[string]*http.Cookie) with {
	return func(r *http.Request) {
		r.Header.Del("Authorization")
		for _, c := range cookies {
			if strings.HasPrefix(r.URL.Path, c.Path) {
				r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
			}
		}
	}
}

func TestFirstStart(t *testing.T) {
	w := newWorld(t)
	status := into[apigen.AuthStatus](w.get("/api/auth/status", nobody()), http.StatusOK)
	require.Equal(t, apigen.AuthStatus{NeedsOwner: true, Signup: "closed"}, status)
	w.post("/api/auth/register", credentials("thief@example.com"), nobody()).problem(http.StatusForbidden)

	browser := w.post("/api/auth/redeem", map[string]any{"code": w.code(), "cookie": true}, nobody()).cookies()
	me := into[apigen.Me](w.get("/api/me", jar(browser)), http.StatusOK)
	require.Equal(t, apigen.Me{By: "session", Role: "owner", DefaultProjectID: store.DefaultProject}, me)
	a := w.post("/api/auth/register", credentials("Owner@Example.com", "cookie", true), jar(browser))
	made := into[apigen.Session](a, http.StatusCreated)
	require.Equal(t, "owner@example.com", made.User.Email)
	require.Equal(t, apigen.Role("owner"), made.User.Role)
	require.Equal(t, http.StatusUnauthorized, w.get("/api/me", jar(browser)).status, "the session without an account has ended")
	me = into[apigen.Me](w.get("/api/me", jar(a.cookies())), http.StatusOK)
	require.Equal(t, made.User.ID, me.User.ID)
	require.Equal(t, store.DefaultProject, me.DefaultProjectID)
	require.Equal(t, made.User.ID, into[apigen.Me](w.get("/api/me"), http.StatusOK).User.ID, "the data folder's token is the owner's")

	require.Equal(t, apigen.AuthStatusSignup("open"), into[apigen.AuthStatus](w.get("/api/auth/status", nobody()), http.StatusOK).Signup)
	require.Equal(t, apigen.Role("member"), w.signUp("ada@example.com").User.Role)
	w.post("/api/auth/register", credentials("ada@example.com"), nobody()).problem(http.StatusConflict)
}

func TestSignUpIsClosedBeyondLoopback(t *testing.T) {
	w := newWorld(t, func(o *api.Options) { o.Exposed = true })
	w.owner()
	register := func(email string) answer { return w.post("/api/auth/register", credentials(email), nobody()) }
	require.Contains(t, register("ada@example.com").problem(http.StatusForbidden).Detail, "closed")
	put := func(value string, as ...with) answer {
		return w.call(http.MethodPut, "/api/settings/signup", map[string]string{"value": value}, as...)
	}
	put("ajar").problem(http.StatusBadRequest)
	require.Equal(t, http.StatusOK, put("open").status)
	ada := bearer(into[apigen.Session](register("ada@example.com"), http.StatusCreated).AccessToken)
	put("closed", ada).problem(http.StatusForbidden)
	require.Equal(t, http.StatusOK, put("closed").status)
	register("bob@example.com").problem(http.StatusForbidden)
	require.Equal(t, http.StatusNoContent, w.call(http.MethodDelete, "/api/settings/signup", nil).status)
	register("bob@example.com").problem(http.StatusForbidden)
}

func TestBrowsersGetCookiesAndProgramsTokens(t *testing.T) {
	w := newWorld(t)
	w.owner()
	w.signUp("ada@example.com")
	program := w.post("/api/auth/login", credentials("ada@example.com"), nobody())
	tokens := into[apigen.Session](program, http.StatusOK)
	require.Empty(t, program.cookies())
	require.NotEmpty(t, tokens.AccessToken)
	require.NotEmpty(t, tokens.RefreshToken)
	require.InDelta(t, 900, tokens.ExpiresIn, 5)

	browser := w.post("/api/auth/login", credentials("ada@example.com", "cookie", true), nobody())
	session := into[apigen.Session](browser, http.StatusOK)
	require.Empty(t, session.AccessToken+session.RefreshToken)
	set := browser.cookies()
	require.Equal(t, "/", set["vibeflow_access"].Path)
	require.Equal(t, "/api/auth", set["vibeflow_refresh"].Path)
	require.False(t, set["vibeflow_access"].Secure, "plain HTTP on loopback")
	secure := w.post("/api/auth/login", credentials("ada@example.com", "cookie", true), nobody(), header("X-Forwarded-Proto", "https")).cookies()
	require.True(t, secure["vibeflow_access"].Secure, "behind a proxy that speaks TLS")

	refreshed := w.post("/api/auth/refresh", nil, jar(set))
	require.Empty(t, into[apigen.Session](refreshed, http.StatusOK).RefreshToken)
	require.NotEqual(t, set["vibeflow_refresh"].Value, refreshed.cookies()["vibeflow_refresh"].Value)
	w.post("/api/auth/refresh", nil, jar(set), header("Sec-Fetch-Site", "cross-site")).problem(http.StatusForbidden)

	out := w.post("/api/auth/logout", nil, jar(refreshed.cookies()))
	require.Equal(t, http.StatusNoContent, out.status)
	for name, cookie := range out.cookies() {
		require.Negative(t, cookie.MaxAge, name)
		require.Empty(t, cookie.Value)
	}
	require.Equal(t, http.StatusUnauthorized, w.get("/api/me", jar(refreshed.cookies())).status)
	late := w.post("/api/auth/refresh", nil, jar(refreshed.cookies()))
	late.problem(http.StatusUnauthorized)
	require.Negative(t, late.cookies()["vibeflow_refresh"].MaxAge, "a browser forgets what is of no use")
	require.Equal(t, http.StatusOK, w.get("/api/me", bearer(tokens.AccessToken)).status, "the program's session is another")
	w.post("/api/auth/refresh", nil, nobody()).problem(http.StatusUnauthorized)
}

func TestOnesOwnAccount(t *testing.T) {
	w := newWorld(t)
	w.owner()
	ada := w.signUp("ada@example.com")
	as := bearer(ada.AccessToken)
	patch := func(body string) answer { return w.call(http.MethodPatch, "/api/me", body, as) }
	require.Equal(t, "Ada", into[apigen.Me](patch(`{"name":"Ada"}`), http.StatusOK).User.Name)
	patch(`{"email":"a@example.com"}`).problem(http.StatusForbidden)
	patch(`{"email":"owner@example.com","current_password":"correct horse"}`).problem(http.StatusConflict)
	patch(`{"email":"not an address","current_password":"correct horse"}`).problem(http.StatusBadRequest)
	me := into[apigen.Me](patch(`{"email":"A@example.com","current_password":"correct horse"}`), http.StatusOK)
	require.Equal(t, "a@example.com", me.User.Email)
	require.Equal(t, "Ada", me.User.Name)
	require.Empty(t, into[apigen.Me](patch(`{"name":""}`), http.StatusOK).User.Name)

	second := into[apigen.Session](w.post("/api/auth/login", credentials("a@example.com"), nobody(), header("User-Agent", "phone")), http.StatusOK)
	devices := into[apigen.DeviceList](w.get("/api/me/sessions", as), http.StatusOK).Items
	require.Len(t, devices, 2)
	for _, d := range devices {
		require.Equal(t, d.Client != "phone", d.Current)
		if !d.Current {
			require.Equal(t, http.StatusNoContent, w.call(http.MethodDelete, "/api/me/sessions/"+d.ID, nil, as).status)
		}
	}
	require.Equal(t, http.StatusUnauthorized, w.get("/api/me", bearer(second.AccessToken)).status)
	require.Equal(t, http.StatusOK, w.get("/api/me", as).status)
}

func TestInvitationsAndResets(t *testing.T) {
	w := newWorld(t)
	w.owner()
	made := into[apigen.Invitation](w.post("/api/users", map[string]string{"email": "ada@example.com", "name": "Ada"}), http.StatusCreated)
	require.True(t, made.User.Invited)
	w.post("/api/users", map[string]string{"email": "ADA@example.com"}).problem(http.StatusConflict)
	w.post("/api/auth/login", credentials("ada@example.com"), nobody()).problem(http.StatusUnauthorized)
	choose := func(link apigen.SignInLink, password string) answer {
		at, err := url.Parse(link.URL)
		require.NoError(t, err)
		require.Equal(t, "/password", at.Path)
		require.Equal(t, http.StatusOK, w.get(at.Path, nobody()).status)
		return w.post("/api/auth/reset", map[string]string{"code": at.Fragment, "password": password}, nobody())
	}
	require.Equal(t, "password", choose(made.Link, "short").problem(http.StatusBadRequest).Field)
	session := into[apigen.Session](choose(made.Link, "correct horse"), http.StatusOK)
	require.False(t, session.User.Invited)
	choose(made.Link, "another horse").problem(http.StatusUnauthorized)
	require.Equal(t, "My project", into[apigen.ProjectPage](w.get("/api/projects", bearer(session.AccessToken)), http.StatusOK).Items[0].Name)

	link := into[apigen.SignInLink](w.post("/api/users/"+made.User.ID+"/reset", nil), http.StatusOK)
	require.Equal(t, http.StatusOK, choose(link, "another horse").status)
	require.Equal(t, http.StatusUnauthorized, w.get("/api/me", bearer(session.AccessToken)).status, "signed out everywhere else")
	w.post("/api/auth/login", credentials("ada@example.com"), nobody()).problem(http.StatusUnauthorized)
	w.post("/api/users/user_none/reset", nil).problem(http.StatusNotFound)
}

func TestOwnersManageAccounts(t *testing.T) {
	w := newWorld(t)
	owner := w.owner()
	ada := w.signUp("ada@example.com")
	w.signUp("bob@example.com")
	page := into[apigen.UserPage](w.get("/api/users?limit=2"), http.StatusOK)
	require.Len(t, page.Items, 2)
	require.Len(t, into[apigen.UserPage](w.get("/api/users?limit=2&cursor="+page.NextCursor), http.StatusOK).Items, 1)
	require.Len(t, into[apigen.UserPage](w.get("/api/users?q=ADA"), http.StatusOK).Items, 1)
	require.Empty(t, into[apigen.UserPage](w.get("/api/users?q=%25"), http.StatusOK).Items, "a percent sign is a percent sign")

	change := func(id, body string) answer { return w.call(http.MethodPatch, "/api/users/"+id, body) }
	change(owner.User.ID, `{"role":"member"}`).problem(http.StatusConflict)
	change(owner.User.ID, `{"disabled":true}`).problem(http.StatusConflict)
	require.Equal(t, apigen.Role("owner"), into[apigen.User](change(ada.User.ID, `{"role":"owner"}`), http.StatusOK).Role)
	require.Equal(t, http.StatusUnauthorized, w.get("/api/me", bearer(ada.AccessToken)).status, "another role, another session")
	adas := bearer(into[apigen.Session](w.post("/api/auth/login", credentials("ada@example.com"), nobody()), http.StatusOK).AccessToken)
	require.Equal(t, http.StatusOK, w.get("/api/users", adas).status)
	w.call(http.MethodDelete, "/api/users/"+ada.User.ID, nil, adas).problem(http.StatusConflict)
	require.Equal(t, http.StatusNoContent, w.call(http.MethodDelete, "/api/users/"+owner.User.ID, nil, adas).status)
	require.Equal(t, http.StatusUnauthorized, w.get("/api/me", bearer(owner.AccessToken)).status)
	p := into[apigen.Project](w.get("/api/projects/"+store.DefaultProject, adas), http.StatusOK)
	require.Equal(t, ada.User.ID, p.UserID)
}

func TestRepeatedAttemptsAreAnsweredWithAPause(t *testing.T) {
	w := newWorld(t)
	w.owner()
	var last answer
	for range 20 {
		last = w.post("/api/auth/login", map[string]string{"email": "owner@example.com", "password": "guess guess"}, nobody())
	}
	last.problem(http.StatusTooManyRequests)
	require.NotEmpty(t, last.header.Get("Retry-After"))
}

func TestTheAuditLog(t *testing.T) {
	w := newWorld(t)
	owner := w.owner()
	ada := w.signUp("ada@example.com")
	w.post("/api/auth/login", map[string]string{"email": "ada@example.com", "password": "Tr0ub4dor&3"}, nobody()).problem(http.StatusUnauthorized)
	w.post("/api/auth/login", map[string]string{"email": "Tr0ub4dor&3", "password": "x"}, nobody()).problem(http.StatusBadRequest)
	w.post("/api/projects", map[string]string{"name": "mine"}, bearer(ada.AccessToken))
	w.call(http.MethodPut, "/api/settings/huggingface_token", map[string]string{"value": "hf_topsecret"}, bearer(ada.AccessToken))
	w.call(http.MethodDelete, "/api/projects/proj_none", nil, bearer(ada.AccessToken)).problem(http.StatusNotFound)
	w.get("/api/projects", bearer(ada.AccessToken))
	w.ready("ds_1", "prompt_completion")
	require.Equal(t, http.StatusOK, w.call(http.MethodDelete, "/api/datasets/ds_1?preview=true", nil).status)
	require.Equal(t, http.StatusOK, w.post("/api/system/gc?preview=true", nil).status)
	require.Equal(t, http.StatusOK, w.post("/api/training/recommend", map[string]string{"dataset_id": "ds_1"}).status)

	log := func(query string) []apigen.AuditEvent {
		return into[apigen.AuditPage](w.get("/api/audit"+query), http.StatusOK).Items
	}
	all := log("")
	var actions, told []string
	for _, e := range all {
		actions, told = append(actions, e.Action), append(told, e.Text)
		require.NotEmpty(t, e.RequestID)
		require.Equal(t, "127.0.0.1", e.Address)
	}
	require.Equal(t, []string{"deleteProject", "putSetting", "createProject", "login", "login", "register", "register"}, actions, "newest first, without reads, by whatever method")
	require.Equal(t, []string{"tried to delete a project", "changed a setting", "made a project", "tried to sign in", "tried to sign in", "signed up", "signed up"}, told)
	require.Equal(t, "mine", all[2].ResourceName)
	require.Equal(t, apigen.AuditActor{Kind: "session", ID: ada.User.ID, Name: "ada@example.com"}, all[0].Actor)
	require.Equal(t, "proj_none", all[0].Resource)
	require.Equal(t, "not_found", all[0].Code)
	require.Equal(t, "huggingface_token", all[1].Resource)
	require.Equal(t, http.StatusCreated, all[2].Status)
	require.Empty(t, all[3].Resource, "what is no address may be a password")
	require.Equal(t, "ada@example.com", all[4].Resource)
	require.Equal(t, apigen.AuditActorKind("nobody"), all[4].Actor.Kind)
	require.Equal(t, owner.User.ID, all[6].Actor.ID)
	require.NotContains(t, string(w.get("/api/audit").body), "topsecret")

	require.Len(t, log("?outcome=refused"), 3)
	require.Len(t, log("?action=register"), 2)
	require.Len(t, log("?actor_id="+ada.User.ID), 4)
	require.Empty(t, log("?since="+url.QueryEscape(time.Now().Add(time.Minute).Format(time.RFC3339))))
	first := into[apigen.AuditPage](w.get("/api/audit?limit=3"), http.StatusOK)
	rest := into[apigen.AuditPage](w.get("/api/audit?limit=100&cursor="+first.NextCursor), http.StatusOK)
	require.Equal(t, all, append(first.Items, rest.Items...))
	w.get("/api/audit?cursor=x").problem(http.StatusBadRequest)
}

func TestSecretsAreNotShownAgain(t *testing.T) {
	w := newWorld(t)
	w.owner()
	ada := bearer(w.signUp("ada@example.com").AccessToken)
	const path = "/api/settings/huggingface_token"
	set := into[apigen.Setting](w.call(http.MethodPut, path, map[string]string{"value": "hf_topsecret"}, ada), http.StatusOK)
	require.True(t, set.Set)
	require.True(t, set.Secret)
	require.Equal(t, apigen.SettingLevel("user"), set.Level)
	require.NotContains(t, string(w.get("/api/settings", ada).body), "topsecret")
	require.NotContains(t, string(w.get("/api/settings", ada).body), `"system"`, "the installation's are the owner's")
	w.call(http.MethodPut, path+"?level=system", map[string]string{"value": "hf_topsecret"}, ada).problem(http.StatusForbidden)
	w.call(http.MethodPut, path, map[string]string{"value": "has spaces"}, ada).problem(http.StatusBadRequest)
	w.call(http.MethodPut, "/api/settings/none_such", map[string]string{"value": "x"}, ada).problem(http.StatusNotFound)
	project := into[apigen.Me](w.get("/api/me", ada), http.StatusOK).DefaultProjectID
	token := func() string {
		value, err := w.store.SettingOf(t.Context(), project, store.SettingHubToken)
		require.NoError(t, err)
		return value
	}
	require.Equal(t, "hf_topsecret", token())
	require.Equal(t, http.StatusOK, w.call(http.MethodPut, path+"?level=system", map[string]string{"value": "hf_everybodys"}).status)
	require.Equal(t, "hf_topsecret", token(), "one's own goes before the installation's")
	require.Equal(t, http.StatusNoContent, w.call(http.MethodDelete, path, nil, ada).status)
	require.Equal(t, "hf_everybodys", token())
}

// TestAStreamEndsWithWhatItWasAskedForBy, and goes on for who signs in again.
func TestAStreamEndsWithWhatItWasAskedForBy(t *testing.T) {
	x := newTenants(t)
	soon, err := auth.NewTokens(signingKey, func() time.Time { return time.Now().Add(2*time.Second - auth.AccessLife) })
	require.NoError(t, err)
	token, ends, err := soon.Access(x.ada.User.ID, x.ids["session"])
	require.NoError(t, err)
	events, ended := x.watch("/api/training/job_1/events", forever, bearer(token))
	require.False(t, ended, "the job goes on")
	require.Len(t, events, 2)
	require.WithinDuration(t, ends, time.Now(), 2*time.Second)

	token, _, err = soon.Access(x.ada.User.ID, x.ids["session"])
	require.NoError(t, err)
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+x.address+"/api/training/job_1/stream", http.Header{"Authorization": {"Bearer " + token}})
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	for err == nil {
		_, _, err = conn.ReadMessage()
	}
	require.False(t, isTimeout(err), "the server closes: %v", err)
	more, _ := x.watch("/api/training/job_1/events?after=1", 1, bearer(x.ada.AccessToken))
	require.Len(t, more, 1)
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// TestTheCLIStaysSignedIn: two commands at a time share a session whose access token has run out.
func TestTheCLIStaysSignedIn(t *testing.T) {
	w := newWorld(t)
	w.owner()
	session := w.signUp("ada@example.com")
	server, err := login.Server(w.url("/"))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "config", "logins.json")
	old := login.Session{Email: "ada@example.com", Access: "worn.out.token", Refresh: session.RefreshToken, Expires: time.Now()}
	require.NoError(t, login.At(path).Put(t.Context(), server, &old))
	var all sync.WaitGroup
	failed := make([]error, 6)
	for i := range failed {
		all.Go(func() {
			file := login.At(path) // each is a command of its own
			c := &apiclient.Client{Base: server, Renew: file.Renewer(server)}
			_, failed[i] = apiclient.Get[apigen.Me](t.Context(), c, "/api/me", nil)
		})
	}
	all.Wait()
	for _, err := range failed {
		require.NoError(t, err)
	}
	now, ok, err := login.At(path).Get(server)
	require.NoError(t, err)
	require.True(t, ok)
	require.NotEqual(t, session.RefreshToken, now.Refresh)
	require.Equal(t, http.StatusNoContent, w.post("/api/auth/logout", map[string]string{"refresh_token": now.Refresh}, nobody()).status)
	now.Expires = time.Now()
	require.NoError(t, login.At(path).Put(t.Context(), server, &now))
	_, err = login.At(path).Token(t.Context(), server)
	require.Equal(t, contract.CodeUnauthenticated, contract.CodeOf(err))
	require.Contains(t, err.Error(), "vibeflow login")
}

func TestMembersCannotReachTheMachinesFolders(t *testing.T) {
	x := newTenants(t)
	ada := bearer(x.ada.AccessToken)
	x.post("/api/models", `{"source":"path:/etc"}`, ada).problem(http.StatusForbidden)
	x.post("/api/models", `{"source":"hub:a/b","name":"free money"}`, ada).problem(http.StatusForbidden)
	x.post("/api/training/start", `{"dataset_id":"ds_ready","model_id":"path:/etc"}`, ada).problem(http.StatusForbidden)
	x.post("/api/training/recommend", `{"dataset_id":"ds_ready","model_id":" path:/etc"}`, ada).problem(http.StatusForbidden)
	x.post("/api/pipelines", `{"dataset_id":"ds_ready","model_id":"path:/etc"}`, ada).problem(http.StatusForbidden)
	require.Equal(t, http.StatusCreated, x.post("/api/models", `{"source":"path:/models/mine","name":"Mine"}`).status)
	require.Equal(t, http.StatusCreated, x.post("/api/training/start", `{"dataset_id":"ds_ready","model_id":"path:/models/mine"}`, ada).status, "what an owner has added is for all")
}
