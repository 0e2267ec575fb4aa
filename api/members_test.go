package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/internal/store"
)

const sharedMembers = "/api/projects/" + store.DefaultProject + "/members"

// share gives Bob a part in Ada's project.
func (x *tenants) share(role string) with {
	x.t.Helper()
	into[apigen.Member](x.post(sharedMembers, map[string]string{"email": "Bob@example.com", "role": role}, bearer(x.ada.AccessToken)), http.StatusCreated)
	return bearer(x.bob.AccessToken)
}

// TestMembersReachWhatTheirRoleSays asks for every operation as a viewer, as an editor and as an owner of Ada's project, and
// with their keys: what a role is not enough for is forbidden, what it is enough for is not refused.
func TestMembersReachWhatTheirRoleSays(t *testing.T) {
	ranks := map[string]int{"viewer": 0, "editor": 1, "owner": 2}
	for role, rank := range ranks {
		x := newTenants(t)
		bob := x.share("owner")
		key := bearer(x.key(bob, store.DefaultProject, "read", "write", "inference").Secret) // from better days
		into[apigen.Member](x.call(http.MethodPatch, sharedMembers+"/"+x.bob.User.ID, map[string]string{"role": role}, bearer(x.ada.AccessToken)), http.StatusOK)
		for _, op := range x.check.operations() {
			e, ok := matrix[op.id]
			if !ok || op.public || e.about != "" || op.access == "owner" || strings.HasPrefix(op.id, "stream") || op.id == "endSession" || (op.id == "removeMember" && role == "owner") {
				continue
			}
			callers := map[string]with{"they": bob}
			if op.access == "read" || op.access == "write" {
				callers["their key"] = key
			}
			for who, caller := range callers {
				a := x.ask(op, e, caller)
				if op.id == "removeMember" {
					require.Equal(t, http.StatusForbidden, a.status, "%s may leave, and take nobody else out", role)
					continue
				}
				if rank < ranks[op.role] {
					require.Equal(t, http.StatusForbidden, a.status, "%s by %s of a %s: %s", op.id, who, role, a.body)
					continue
				}
				require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}, a.status, "%s by %s of a %s: %s", op.id, who, role, a.body)
				x.post("/api/projects/"+store.DefaultProject+"/unarchive", nil)
				x.post("/api/projects/"+store.DefaultProject+"/restore", nil)
			}
		}
	}
}

func TestAProjectIsShared(t *testing.T) {
	x := newTenants(t)
	ada, bob := bearer(x.ada.AccessToken), bearer(x.bob.AccessToken)
	require.NotContains(t, string(x.get("/api/projects", bob).body), store.DefaultProject)
	x.share("viewer")
	shown := into[apigen.Project](x.get("/api/projects/"+store.DefaultProject, bob), http.StatusOK)
	require.Equal(t, apigen.ProjectRole("viewer"), shown.Role)
	require.Equal(t, apigen.ProjectRole("owner"), into[apigen.Project](x.get("/api/projects/"+store.DefaultProject, ada), http.StatusOK).Role)
	require.Len(t, into[apigen.JobPage](x.get("/api/training", bob), http.StatusOK).Items, 1)
	p := x.post("/api/training/job_1/pause", nil, bob).problem(http.StatusForbidden)
	require.Contains(t, p.Remedy, "editor")
	require.Equal(t, x.home(bob), into[apigen.Me](x.get("/api/me", bob), http.StatusOK).DefaultProjectID, "what names no project goes to their own")

	members := into[apigen.MemberList](x.get(sharedMembers, bob), http.StatusOK).Items
	require.Equal(t, []string{"ada@example.com", "owner", "bob@example.com", "viewer"},
		[]string{members[0].Email, string(members[0].Role), members[1].Email, string(members[1].Role)})
	add := func(email, role string) answer {
		return x.post(sharedMembers, map[string]string{"email": email, "role": role}, ada)
	}
	add("bob@example.com", "editor").problem(http.StatusConflict)
	add("ada@example.com", "editor").problem(http.StatusConflict)
	require.Equal(t, "email", add("nobody@example.com", "viewer").problem(http.StatusNotFound).Field)
	add("no address", "viewer").problem(http.StatusBadRequest)
	add("bob@example.com", "king").problem(http.StatusBadRequest)
	x.signUp("carl@example.com")
	x.call(http.MethodDelete, sharedMembers+"/user_none", nil, ada).problem(http.StatusNotFound)

	into[apigen.Member](x.call(http.MethodPatch, sharedMembers+"/"+x.bob.User.ID, `{"role":"editor"}`, ada), http.StatusOK)
	require.Equal(t, http.StatusAccepted, x.post("/api/training/job_1/pause", nil, bob).status)
	key := x.key(bob, store.DefaultProject, "read", "write")
	require.Equal(t, http.StatusOK, x.get("/api/training/job_1", bearer(key.Secret)).status)
	add("carl@example.com", "viewer")
	x.post(sharedMembers, `{"email":"carl@example.com","role":"viewer"}`, bob).problem(http.StatusForbidden)

	require.Equal(t, http.StatusNoContent, x.call(http.MethodDelete, sharedMembers+"/"+x.bob.User.ID, nil, ada).status)
	x.get("/api/training/job_1", bob).problem(http.StatusNotFound)
	require.Equal(t, http.StatusUnauthorized, x.get("/api/training/job_1", bearer(key.Secret)).status, "their keys went with them")
	require.Contains(t, texts(x.activity(ada, store.DefaultProject, 50)), "ada@example.com removed the member “bob@example.com”")
}

// TestAProjectKeepsAnOwner: whose it is hands it on, or stays.
func TestAProjectKeepsAnOwner(t *testing.T) {
	x := newTenants(t)
	ada, bob := bearer(x.ada.AccessToken), bearer(x.bob.AccessToken)
	leave := func(who apigen.Session) answer {
		return x.call(http.MethodDelete, sharedMembers+"/"+who.User.ID, nil, bearer(who.AccessToken))
	}
	require.Contains(t, leave(x.ada).problem(http.StatusConflict).Detail, "last owner")
	x.share("editor")
	leave(x.ada).problem(http.StatusConflict)
	x.call(http.MethodPatch, sharedMembers+"/"+x.ada.User.ID, `{"role":"viewer"}`, ada).problem(http.StatusConflict)
	into[apigen.Member](x.call(http.MethodPatch, sharedMembers+"/"+x.bob.User.ID, `{"role":"owner"}`, ada), http.StatusOK)
	require.Equal(t, apigen.ProjectRole("viewer"), into[apigen.Member](x.call(http.MethodPatch, sharedMembers+"/"+x.ada.User.ID, `{"role":"viewer"}`, ada), http.StatusOK).Role)
	require.Equal(t, x.bob.User.ID, into[apigen.Project](x.get("/api/projects/"+store.DefaultProject, ada), http.StatusOK).UserID)
	leave(x.bob).problem(http.StatusConflict)
	require.Equal(t, http.StatusNoContent, leave(x.ada).status, "a viewer may leave")
	x.get("/api/projects/"+store.DefaultProject, ada).problem(http.StatusNotFound)

	// A deleted account's project goes to the owner with whom it is shared.
	into[apigen.Member](x.post(sharedMembers, `{"email":"ada@example.com","role":"owner"}`, bob), http.StatusCreated)
	require.Equal(t, http.StatusNoContent, x.call(http.MethodDelete, "/api/users/"+x.bob.User.ID, nil).status)
	members := into[apigen.MemberList](x.get(sharedMembers, ada), http.StatusOK).Items
	require.Len(t, members, 1)
	require.Equal(t, []string{"ada@example.com", "owner"}, []string{members[0].Email, string(members[0].Role)})
}
