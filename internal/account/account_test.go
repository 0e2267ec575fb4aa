package account

import (
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/store"
)

var (
	quiet      = slog.New(slog.DiscardHandler)
	signingKey = []byte(strings.Repeat("k", 32))
	here       = Device{Client: "test", Address: "127.0.0.1"}
)

const password = "correct horse"

// world is the service over a real database, and a clock.
type world struct {
	t        testing.TB
	path     string
	mu       sync.Mutex
	clock    time.Time
	store    *store.Store
	accounts *Accounts
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "app.db"), clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	w.open()
	t.Cleanup(func() { require.NoError(t, w.store.Close()) })
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	w.store, err = store.Open(w.t.Context(), store.Options{Path: w.path, MasterKey: signingKey, Logger: quiet, Now: w.now})
	require.NoError(w.t, err)
	w.accounts, err = New(Options{Store: w.store, SigningKey: signingKey, BcryptCost: bcrypt.MinCost, Now: w.now, Logger: quiet})
	require.NoError(w.t, err)
}

// restart is a crash of the server, and its next start.
func (w *world) restart() {
	w.t.Helper()
	require.NoError(w.t, w.store.Close())
	w.open()
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func (w *world) register(email string, first bool) *SignedIn {
	w.t.Helper()
	signed, err := w.accounts.Register(w.t.Context(), Registration{Email: email, Password: password, First: first, Device: here})
	require.NoError(w.t, err)
	return signed
}

func (w *world) refresh(token string) *SignedIn {
	w.t.Helper()
	signed, err := w.accounts.Refresh(w.t.Context(), token, here)
	require.NoError(w.t, err)
	return signed
}

func (w *world) refused(token string) {
	w.t.Helper()
	_, err := w.accounts.Refresh(w.t.Context(), token, here)
	require.Equal(w.t, contract.CodeUnauthenticated, contract.CodeOf(err))
}

func (w *world) dead(s *SignedIn) {
	w.t.Helper()
	_, err := w.accounts.Principal(w.t.Context(), s.Access)
	require.Equal(w.t, contract.CodeUnauthenticated, contract.CodeOf(err))
}

func (w *world) alive(s *SignedIn) auth.Principal {
	w.t.Helper()
	p, err := w.accounts.Principal(w.t.Context(), s.Access)
	require.NoError(w.t, err)
	return p
}

func TestRefreshTokensRotate(t *testing.T) {
	w := newWorld(t)
	first := w.register("ada@example.com", false)
	second := w.refresh(first.Refresh)
	require.NotEqual(t, first.Refresh, second.Refresh)
	require.Equal(t, w.alive(first).SessionID, w.alive(second).SessionID)
	w.pass(time.Hour)
	third := w.refresh(second.Refresh)
	require.Equal(t, "ada@example.com", w.alive(third).Name)
	w.dead(first) // its access token has run out
}

// TestALostAnswerSignsNobodyOut: the exchange is made again, by one who did not get the answer.
func TestALostAnswerSignsNobodyOut(t *testing.T) {
	w := newWorld(t)
	first := w.register("ada@example.com", false)
	lost := w.refresh(first.Refresh)
	w.pass(RefreshGrace)
	w.restart() // which may be why the answer was lost
	again := w.refresh(first.Refresh)
	require.Equal(t, lost.Refresh, again.Refresh, "the same answer")
	w.alive(w.refresh(again.Refresh))
}

// TestTabsThatRefreshAtOnce all get the same next token, so that it does not matter whose answer comes last.
func TestTabsThatRefreshAtOnce(t *testing.T) {
	w := newWorld(t)
	first := w.register("ada@example.com", false)
	answers := make([]*SignedIn, 20)
	errs := make([]error, len(answers))
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i], errs[i] = w.accounts.Refresh(t.Context(), first.Refresh, here) })
	}
	all.Wait()
	for i, answer := range answers {
		require.NoError(t, errs[i])
		require.Equal(t, answers[0].Refresh, answer.Refresh)
	}
	w.alive(w.refresh(answers[7].Refresh))
}

// TestAStolenTokenEndsTheSession: whoever of thief and owner comes second with a token that was exchanged, neither goes on.
func TestAStolenTokenEndsTheSession(t *testing.T) {
	for name, reuse := range map[string]func(w *world, first, second *SignedIn) string{
		"too late":          func(w *world, first, _ *SignedIn) string { w.pass(RefreshGrace + time.Second); return first.Refresh },
		"the next was used": func(w *world, first, second *SignedIn) string { w.refresh(second.Refresh); return first.Refresh },
		"two steps back, at once": func(w *world, first, second *SignedIn) string {
			w.refresh(w.refresh(second.Refresh).Refresh)
			return first.Refresh
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			first := w.register("ada@example.com", false)
			elsewhere, err := w.accounts.Login(t.Context(), "ada@example.com", password, here)
			require.NoError(t, err)
			second := w.refresh(first.Refresh)
			w.refused(reuse(w, first, second))
			w.dead(second)
			w.refused(second.Refresh)
			w.alive(elsewhere) // the account's other sessions have nothing to do with it
		})
	}
}

func TestASessionThatRestsEnds(t *testing.T) {
	w := newWorld(t)
	signed := w.register("ada@example.com", false)
	w.pass(SessionIdle - time.Second)
	signed = w.refresh(signed.Refresh)
	w.pass(SessionIdle + time.Second)
	w.refused(signed.Refresh)
	require.NoError(t, w.store.Expire(t.Context()))
	w.refused(signed.Refresh)
	w.refused("made up")
	w.refused("")
}

func TestLogoutEndsTheSession(t *testing.T) {
	w := newWorld(t)
	signed := w.register("ada@example.com", false)
	next := w.refresh(signed.Refresh)
	require.NoError(t, w.accounts.Logout(t.Context(), signed.Refresh), "an older token of the family will do")
	w.dead(next)
	w.refused(next.Refresh)
	require.NoError(t, w.accounts.Logout(t.Context(), signed.Refresh))
	require.NoError(t, w.accounts.Logout(t.Context(), "made up"))
}

func TestLoginTellsNothing(t *testing.T) {
	w := newWorld(t)
	w.register("ada@example.com", false)
	w.register("gone@example.com", false)
	gone, err := w.store.GetUserByEmail(t.Context(), "gone@example.com")
	require.NoError(t, err)
	_, err = w.store.ChangeUser(t.Context(), gone.ID, "", func(u *store.User) error { u.DisabledAt = w.now(); return nil })
	require.NoError(t, err)
	_, _, _, err = w.accounts.Invite(t.Context(), "invited@example.com", "", contract.RoleMember)
	require.NoError(t, err)
	_, unknown := w.accounts.Login(t.Context(), "nobody@example.com", password, here)
	require.Equal(t, contract.CodeUnauthenticated, contract.CodeOf(unknown))
	for email, given := range map[string]string{"ada@example.com": "wrong horse", "gone@example.com": password, "invited@example.com": ""} {
		_, err := w.accounts.Login(t.Context(), email, given, here)
		require.Equal(t, unknown, err, email)
	}
	_, err = w.accounts.Login(t.Context(), " ADA@example.com", password, here)
	require.NoError(t, err)
}

// TestAttemptsAreLimited for an account and an address, and not for others.
func TestAttemptsAreLimited(t *testing.T) {
	w := newWorld(t)
	w.register("ada@example.com", false)
	w.register("bob@example.com", false)
	thief := Device{Address: "6.6.6.6"}
	for _, email := range []string{"ada@example.com", "nobody@example.com"} {
		refusedAt := 0
		for i := range 30 {
			if _, err := w.accounts.Login(t.Context(), email, "guess guess", thief); contract.CodeOf(err) == contract.CodeRateLimited {
				refusedAt = i
				break
			}
		}
		require.Equal(t, attemptsOfBoth.Burst, refusedAt, "%s: an account that is not there is no different", email)
	}
	_, err := w.accounts.Login(t.Context(), "ada@example.com", password, thief)
	require.Equal(t, contract.CodeRateLimited, contract.CodeOf(err), "the right password comes too late")
	_, err = w.accounts.Login(t.Context(), "ada@example.com", password, here)
	require.NoError(t, err, "whose password is guessed elsewhere is not locked out")
	_, err = w.accounts.Login(t.Context(), "bob@example.com", password, thief)
	require.NoError(t, err)
	for range 2 * attemptsOfAddress.Burst {
		_, err = w.accounts.Redeem(t.Context(), "guess", thief)
	}
	require.Equal(t, contract.CodeRateLimited, contract.CodeOf(err), "an address that tries everything")
}

func TestAPasswordThatChangesEndsOtherSessions(t *testing.T) {
	w := newWorld(t)
	mine := w.register("ada@example.com", false)
	other, err := w.accounts.Login(t.Context(), "ada@example.com", password, here)
	require.NoError(t, err)
	who := w.alive(mine)
	err = w.accounts.ChangePassword(t.Context(), who, "wrong horse", "another horse", here)
	require.Equal(t, contract.CodeForbidden, contract.CodeOf(err))
	err = w.accounts.ChangePassword(t.Context(), who, password, "short", here)
	require.Equal(t, contract.CodeInvalid, contract.CodeOf(err))
	w.alive(other)
	require.NoError(t, w.accounts.ChangePassword(t.Context(), who, password, "another horse", here))
	w.alive(mine)
	w.dead(other)
	w.refused(other.Refresh)
	_, err = w.accounts.Login(t.Context(), "ada@example.com", password, here)
	require.Error(t, err)
	_, err = w.accounts.Login(t.Context(), "ada@example.com", "another horse", here)
	require.NoError(t, err)
}

func TestAResetLink(t *testing.T) {
	w := newWorld(t)
	before := w.register("ada@example.com", false)
	earlier, _, err := w.accounts.PasswordLink(t.Context(), before.User.ID)
	require.NoError(t, err)
	code, expires, err := w.accounts.PasswordLink(t.Context(), before.User.ID)
	require.NoError(t, err)
	require.Equal(t, w.now().Add(InviteLife), expires)
	reset := func(code, password string) (*SignedIn, error) {
		return w.accounts.Reset(t.Context(), code, password, here)
	}
	_, err = reset(earlier, "another horse")
	require.Equal(t, contract.CodeUnauthenticated, contract.CodeOf(err), "a new link voids the one before")
	_, err = reset(code, "short")
	require.Equal(t, contract.CodeInvalid, contract.CodeOf(err))
	_, err = w.accounts.Redeem(t.Context(), code, here)
	require.Error(t, err, "it is no link to sign in by")
	w.restart()
	signed, err := reset(code, "another horse")
	require.NoError(t, err, "a password that was refused has not used it up")
	w.alive(signed)
	w.dead(before)
	_, err = reset(code, "a third horse")
	require.Error(t, err, "once")
	late, _, err := w.accounts.PasswordLink(t.Context(), before.User.ID)
	require.NoError(t, err)
	w.pass(InviteLife + time.Second)
	_, err = reset(late, "a third horse")
	require.Error(t, err)
}

func TestTheFirstOwner(t *testing.T) {
	w := newWorld(t)
	code, _, err := w.accounts.Link(t.Context())
	require.NoError(t, err)
	machine, err := w.accounts.Redeem(t.Context(), code, here)
	require.NoError(t, err)
	require.Nil(t, machine.User)
	require.True(t, w.alive(machine).Owner())
	require.NoError(t, w.store.CreateProject(t.Context(), store.Project{ID: "proj_1", Name: "before"}))

	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			_, errs[i] = w.accounts.Register(t.Context(), Registration{Email: string(rune('a'+i)) + "@example.com", Password: password, First: true, Device: here})
		})
	}
	all.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
		} else {
			require.Equal(t, contract.CodeConflict, contract.CodeOf(err))
		}
	}
	require.Equal(t, 1, made, "of any number who register at once, one is the owner")
	owner, err := w.store.FirstOwner(t.Context())
	require.NoError(t, err)
	for _, id := range []string{store.DefaultProject, "proj_1"} {
		p, err := w.store.GetProject(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, owner.ID, p.UserID)
	}
	w.dead(machine) // it had no account; now there is one

	code, _, err = w.accounts.Link(t.Context())
	require.NoError(t, err)
	w.pass(LinkLife - time.Second)
	signed, err := w.accounts.Redeem(t.Context(), code, here)
	require.NoError(t, err)
	require.Equal(t, owner.ID, signed.User.ID)
	code, _, err = w.accounts.Link(t.Context())
	require.NoError(t, err)
	w.pass(LinkLife + time.Second)
	_, err = w.accounts.Redeem(t.Context(), code, here)
	require.Equal(t, contract.CodeUnauthenticated, contract.CodeOf(err))
}

// TestTheLastOwnerStays, whatever is tried, also at once.
func TestTheLastOwnerStays(t *testing.T) {
	w := newWorld(t)
	first := w.register("one@example.com", true).User
	demote := func(u *store.User) error { u.Role = contract.RoleMember; return nil }
	for name, try := range map[string]func() error{
		"demote": func() error { _, err := w.store.ChangeUser(t.Context(), first.ID, "", demote); return err },
		"disable": func() error {
			_, err := w.store.ChangeUser(t.Context(), first.ID, "", func(u *store.User) error { u.DisabledAt = w.now(); return nil })
			return err
		},
		"delete": func() error { return w.store.DeleteUser(t.Context(), first.ID, "") },
	} {
		require.Equal(t, contract.CodeConflict, contract.CodeOf(try()), name)
	}
	_, _, _, err := w.accounts.Invite(t.Context(), "invited@example.com", "", contract.RoleOwner)
	require.NoError(t, err)
	_, err = w.store.ChangeUser(t.Context(), first.ID, "", demote)
	require.Equal(t, contract.CodeConflict, contract.CodeOf(err), "who has no password yet cannot sign in")

	second := w.register("two@example.com", false).User
	_, err = w.store.ChangeUser(t.Context(), second.ID, "", func(u *store.User) error { u.Role = contract.RoleOwner; return nil })
	require.NoError(t, err)
	errs := make([]error, 2)
	var both sync.WaitGroup
	for i, id := range []string{first.ID, second.ID} {
		both.Go(func() { _, errs[i] = w.store.ChangeUser(t.Context(), id, "", demote) })
	}
	both.Wait()
	require.True(t, (errs[0] == nil) != (errs[1] == nil), "one of the two: %v", errs)
}

func TestADeletedAccountLeavesNothingOfItself(t *testing.T) {
	w := newWorld(t)
	owner := w.register("owner@example.com", true).User
	ada := w.register("ada@example.com", false)
	who := w.alive(ada)
	projects, err := w.store.ListProjects(store.WithAccess(t.Context(), store.Access{UserID: who.UserID}), store.ProjectFilter{})
	require.NoError(t, err)
	require.Len(t, projects.Items, 1)
	require.NoError(t, w.store.CreateAPIKey(t.Context(), store.APIKey{ID: "key_1", UserID: who.UserID, ProjectID: projects.Items[0].ID, KeyHash: "h"}))
	require.NoError(t, w.store.PutSetting(t.Context(), store.Setting{Owner: who.UserID, Name: "x", Value: []byte("x")}))
	require.NoError(t, w.store.AddAudit(t.Context(), store.AuditEvent{ActorKind: "session", ActorID: who.UserID, Actor: "ada@example.com", Action: "x"}))
	require.NoError(t, w.store.DeleteUser(t.Context(), who.UserID, owner.ID))
	w.dead(ada)
	w.refused(ada.Refresh)
	key, err := w.store.GetAPIKey(t.Context(), "key_1")
	require.NoError(t, err)
	require.False(t, key.Valid(w.now()))
	project, err := w.store.GetProject(t.Context(), projects.Items[0].ID)
	require.NoError(t, err)
	require.Equal(t, owner.ID, project.UserID)
	audit, err := w.store.ListAudit(t.Context(), store.AuditFilter{ActorID: who.UserID})
	require.NoError(t, err)
	require.Empty(t, audit.Items[0].Actor)
	set, err := w.store.GetSetting(t.Context(), who.UserID, "x")
	require.NoError(t, err)
	require.Nil(t, set)
	w.register("ada@example.com", false) // the address is free again
}
