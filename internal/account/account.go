// Package account is how people sign up and in: accounts, sessions with rotating refresh tokens, one-time links. It says
// who somebody is; what they may do is the api package's to decide.
package account

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/limit"
	"github.com/vibeflow/vibeflow/internal/store"
)

// What bounds sessions and links.
const (
	// SessionIdle ends a session that is not refreshed.
	SessionIdle = 30 * 24 * time.Hour
	// RefreshGrace is for how long an exchange of a refresh token may be asked for again.
	RefreshGrace = 30 * time.Second
	// LinkLife is how long a sign-in link may wait to be opened.
	LinkLife = 15 * time.Minute
	// InviteLife is how long a link may wait by which somebody chooses a password.
	InviteLife = 72 * time.Hour
)

// Attempts at a password: 10 at once and then one in 12 seconds for an account from one address; for an account from
// anywhere, and for an address, more, so that one user's mistakes do not lock out another.
var (
	attemptsOfBoth    = limit.Rule{PerSecond: 1.0 / 12, Burst: 10}
	attemptsOfAccount = limit.Rule{PerSecond: 1.0 / 6, Burst: 50}
	attemptsOfAddress = limit.Rule{PerSecond: 1.0 / 3, Burst: 50}
)

// Options is what accounts are made of. BcryptCost 0 means auth.DefaultCost.
type Options struct {
	Store      *store.Store
	SigningKey []byte
	BcryptCost int
	Now        func() time.Time
	Logger     *slog.Logger
}

// Accounts serves people. It is safe for concurrent use.
type Accounts struct {
	store     *store.Store
	tokens    *auth.Tokens
	passwords *auth.Passwords
	now       func() time.Time
	log       *slog.Logger

	both, account, address *limit.Keyed

	sessions cache[signedSession]
	keys     cache[madeKey]
	owners   cache[*store.User]
}

// New makes the service.
func New(o Options) (*Accounts, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	tokens, err := auth.NewTokens(o.SigningKey, o.Now)
	if err != nil {
		return nil, err
	}
	return &Accounts{store: o.Store, tokens: tokens, passwords: auth.NewPasswords(o.BcryptCost), now: o.Now, log: o.Logger,
		both: limit.New(attemptsOfBoth), account: limit.New(attemptsOfAccount), address: limit.New(attemptsOfAddress)}, nil
}

// Device is where somebody signs in from: their User-Agent and address.
type Device struct{ Client, Address string }

// SignedIn is a session just opened or gone on with. User is nil for the machine's owner without an account.
type SignedIn struct {
	User            *store.User
	Principal       auth.Principal
	Access, Refresh string
	Expires         time.Time
}

// Registration is what somebody signs up with. First makes the owner's account, and must be the first.
type Registration struct {
	Email, Password, Name string
	First                 bool
	Device                Device
}

// Register makes an account and signs it in.
func (a *Accounts) Register(ctx context.Context, r Registration) (*SignedIn, error) {
	if err := a.attempt("", r.Device); err != nil {
		return nil, err
	}
	email, err := auth.NormalEmail(r.Email)
	if err != nil {
		return nil, err
	}
	if err := auth.CheckPassword(r.Password, email); err != nil {
		return nil, err
	}
	hash, err := a.passwords.Hash(ctx, r.Password)
	if err != nil {
		return nil, err
	}
	user := store.User{ID: contract.NewID(contract.PrefixUser), Email: email, Name: r.Name, PasswordHash: hash, Role: contract.RoleMember}
	if r.First {
		user.Role = contract.RoleOwner
	}
	made, err := a.store.CreateUser(ctx, user, r.First)
	if err != nil {
		return nil, err
	}
	return a.signIn(ctx, made, r.Device)
}

// Login signs an account in. Whether the account is unknown, disabled or has another password is not told apart, neither
// by the answer nor by the time it takes.
func (a *Accounts) Login(ctx context.Context, email, password string, from Device) (*SignedIn, error) {
	email, err := auth.NormalEmail(email)
	if err != nil {
		return nil, err
	}
	if err := a.attempt(email, from); err != nil {
		return nil, err
	}
	user, err := a.store.GetUserByEmail(ctx, email)
	if contract.CodeOf(err) == contract.CodeNotFound {
		user, err = &store.User{}, nil
	}
	if err != nil {
		return nil, err
	}
	right, err := a.passwords.Matches(ctx, user.PasswordHash, password)
	if err != nil {
		return nil, err
	}
	if !right || !user.Usable() {
		return nil, contract.Errorf(contract.CodeUnauthenticated, "the e-mail address or the password is not right").
			Mend("try again; an owner can have a password reset with `vibeflow users reset EMAIL`")
	}
	return a.signIn(ctx, user, from)
}

// attempt refuses (rate_limited) when there were too many attempts; email is empty where none is tried.
func (a *Accounts) attempt(email string, from Device) error {
	address := limit.Address(from.Address)
	taken := []limit.Decision{a.address.Take(address)}
	if email != "" {
		taken = append(taken, a.account.Take(email), a.both.Take(email+" "+address))
	}
	var wait time.Duration
	allowed := true
	for _, d := range taken {
		allowed, wait = allowed && d.Allowed, max(wait, d.Wait)
	}
	if allowed {
		return nil
	}
	return limit.Refuse(wait)
}

// signIn opens a session; user is nil for the machine's owner.
func (a *Accounts) signIn(ctx context.Context, user *store.User, from Device) (*SignedIn, error) {
	session := store.Session{ID: contract.NewID(contract.PrefixSession), Client: clip(from.Client), Address: from.Address, ExpiresAt: a.now().Add(SessionIdle)}
	if user != nil {
		session.UserID = user.ID
	}
	refresh := auth.NewRefresh()
	if err := a.store.CreateSession(ctx, session, auth.HashRefresh(refresh)); err != nil {
		return nil, err
	}
	return a.signed(user, session, refresh)
}

func (a *Accounts) signed(user *store.User, session store.Session, refresh string) (*SignedIn, error) {
	access, expires, err := a.tokens.Access(session.UserID, session.ID)
	return &SignedIn{User: user, Principal: principalOf(user, session.ID, expires), Access: access, Refresh: refresh, Expires: expires}, err
}

const maxClient = 200

func clip(client string) string {
	if len(client) > maxClient {
		return client[:maxClient]
	}
	return client
}

// Refresh exchanges a refresh token. The exchange may be asked for again within RefreshGrace, with the same answer; a
// token that was exchanged before that was stolen, or is a thief's: its session ends.
func (a *Accounts) Refresh(ctx context.Context, refresh string, from Device) (*SignedIn, error) {
	next := a.tokens.NextRefresh(refresh)
	session, err := a.store.Rotate(ctx, store.Rotation{Hash: auth.HashRefresh(refresh), Next: auth.HashRefresh(next),
		ExpiresAt: a.now().Add(SessionIdle), Grace: RefreshGrace})
	if errors.Is(err, store.ErrReused) {
		a.log.Warn("a refresh token was used twice: its session has ended", "session", session.ID, "user", session.UserID, "address", from.Address)
	}
	if err != nil {
		return nil, err
	}
	var user *store.User
	if session.UserID != "" {
		if user, err = a.store.GetUser(ctx, session.UserID); err != nil {
			return nil, err
		}
		if !user.Usable() {
			return nil, ended()
		}
	}
	return a.signed(user, *session, next)
}

// Logout ends the session of a refresh token; one that nobody knows is no error.
func (a *Accounts) Logout(ctx context.Context, refresh string) error {
	id, err := a.store.SessionOfRefresh(ctx, auth.HashRefresh(refresh))
	if contract.CodeOf(err) == contract.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return a.store.EndSession(ctx, id)
}

// Link returns the code of a link that signs a browser in as the owner: the oldest owner's account, or, before there is
// one, the machine's owner.
func (a *Accounts) Link(ctx context.Context) (code string, expires time.Time, err error) {
	owner, err := a.store.FirstOwner(ctx)
	if err != nil {
		return "", expires, err
	}
	var userID string
	if owner != nil {
		userID = owner.ID
	}
	return a.code(ctx, store.CodeSignIn, userID, LinkLife)
}

// PasswordLink returns the code of a link by which an account's holder chooses a password.
func (a *Accounts) PasswordLink(ctx context.Context, userID string) (code string, expires time.Time, err error) {
	return a.code(ctx, store.CodePassword, userID, InviteLife)
}

func (a *Accounts) code(ctx context.Context, purpose, userID string, life time.Duration) (code string, expires time.Time, err error) {
	code, expires = auth.NewCode(), a.now().Add(life)
	err = a.store.AddCode(ctx, store.Code{Hash: auth.HashCode(code), Purpose: purpose, UserID: userID, ExpiresAt: expires})
	return code, expires, err
}

// Redeem signs in by the code of a link.
func (a *Accounts) Redeem(ctx context.Context, code string, from Device) (*SignedIn, error) {
	if err := a.attempt("", from); err != nil {
		return nil, err
	}
	taken, err := a.store.TakeCode(ctx, auth.HashCode(code), store.CodeSignIn)
	if err != nil {
		return nil, err
	}
	if taken.UserID == "" {
		return a.signIn(ctx, nil, from)
	}
	user, err := a.store.GetUser(ctx, taken.UserID)
	if err != nil {
		return nil, err
	}
	if !user.Usable() {
		return nil, ended()
	}
	return a.signIn(ctx, user, from)
}

// Reset sets the password of a code's account, ends its sessions and signs in.
func (a *Accounts) Reset(ctx context.Context, code, password string, from Device) (*SignedIn, error) {
	if err := a.attempt("", from); err != nil {
		return nil, err
	}
	// The code is used up only by a password that is taken.
	if _, err := a.store.FindCode(ctx, auth.HashCode(code), store.CodePassword); err != nil {
		return nil, err
	}
	if err := auth.CheckPassword(password, ""); err != nil {
		return nil, err
	}
	hash, err := a.passwords.Hash(ctx, password)
	if err != nil {
		return nil, err
	}
	taken, err := a.store.TakeCode(ctx, auth.HashCode(code), store.CodePassword)
	if err != nil {
		return nil, err
	}
	user, err := a.store.ChangeUser(ctx, taken.UserID, "", func(u *store.User) error {
		if !u.DisabledAt.IsZero() {
			return contract.Errorf(contract.CodeForbidden, "the account is disabled").Mend("ask an owner to enable it")
		}
		u.PasswordHash = hash
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a.signIn(ctx, user, from)
}

// ChangePassword sets a new password for who knows the present one, and ends the account's other sessions.
func (a *Accounts) ChangePassword(ctx context.Context, who auth.Principal, current, next string, from Device) error {
	user, err := a.confirm(ctx, who, current, from)
	if err != nil {
		return err
	}
	if err := auth.CheckPassword(next, user.Email); err != nil {
		return err
	}
	hash, err := a.passwords.Hash(ctx, next)
	if err != nil {
		return err
	}
	_, err = a.store.ChangeUser(ctx, user.ID, who.SessionID, func(u *store.User) error {
		u.PasswordHash = hash
		return nil
	})
	return err
}

// ChangeEmail sets another e-mail address for who knows the password.
func (a *Accounts) ChangeEmail(ctx context.Context, who auth.Principal, current, email string, from Device) error {
	email, err := auth.NormalEmail(email)
	if err != nil {
		return err
	}
	user, err := a.confirm(ctx, who, current, from)
	if err != nil {
		return err
	}
	_, err = a.store.ChangeUser(ctx, user.ID, who.SessionID, func(u *store.User) error {
		u.Email = email
		return nil
	})
	return err
}

// confirm checks the password of who is signed in already.
func (a *Accounts) confirm(ctx context.Context, who auth.Principal, password string, from Device) (*store.User, error) {
	if who.UserID == "" {
		return nil, NoAccount()
	}
	user, err := a.store.GetUser(ctx, who.UserID)
	if err != nil {
		return nil, err
	}
	if err := a.attempt(user.Email, from); err != nil {
		return nil, err
	}
	right, err := a.passwords.Matches(ctx, user.PasswordHash, password)
	if err == nil && !right {
		err = contract.Errorf(contract.CodeForbidden, "the present password is not right").On("current_password")
	}
	return user, err
}

// NoAccount is what the machine's owner is told who has no account yet.
func NoAccount() error {
	return contract.Errorf(contract.CodeConflict, "you have no account yet").Mend("make one: POST /api/auth/register, or sign up in the web app")
}

// Invite makes an account without a password for somebody, and the code of the link by which they choose one.
func (a *Accounts) Invite(ctx context.Context, email, name, role string) (user *store.User, code string, expires time.Time, err error) {
	if email, err = auth.NormalEmail(email); err != nil {
		return nil, "", expires, err
	}
	made, err := a.store.CreateUser(ctx, store.User{ID: contract.NewID(contract.PrefixUser), Email: email, Name: name, Role: role}, false)
	if err != nil {
		return nil, "", expires, err
	}
	code, expires, err = a.PasswordLink(ctx, made.ID)
	return made, code, expires, err
}
