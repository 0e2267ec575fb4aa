package account

import (
	"context"
	"sync"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/store"
)

// Principal returns who an access token speaks for; unauthenticated if it is not good, its session has ended, or its
// account cannot be used.
func (a *Accounts) Principal(ctx context.Context, access string) (auth.Principal, error) {
	claims, err := a.tokens.Check(access)
	if err != nil {
		return auth.Principal{}, err
	}
	known, err := a.sessions.get(a.store.IdentityVersion(), claims.Session, func() (v signedSession, err error) {
		v.session, v.user, err = a.store.GetSession(ctx, claims.Session)
		return v, err
	})
	if contract.CodeOf(err) == contract.CodeNotFound {
		return auth.Principal{}, ended()
	}
	if err != nil {
		return auth.Principal{}, err
	}
	session, user := known.session, known.user
	if !session.Live(a.now()) || session.UserID != claims.Subject || (user != nil && !user.Usable()) {
		return auth.Principal{}, ended()
	}
	return principalOf(user, session.ID, claims.ExpiresAt.Time), nil
}

// principalOf is who is signed in; without a user, the machine's owner.
func principalOf(user *store.User, sessionID string, until time.Time) auth.Principal {
	p := auth.Principal{By: auth.BySession, Role: contract.RoleOwner, SessionID: sessionID, Until: until}
	if user != nil {
		p.Role, p.UserID, p.Name = user.Role, user.ID, user.Email
	}
	return p
}

func ended() error {
	return contract.Errorf(contract.CodeUnauthenticated, "the session has ended").Mend("sign in again")
}

// MachineOwner is who holds the data folder's token: the oldest owner, once there is one.
func (a *Accounts) MachineOwner(ctx context.Context) (auth.Principal, error) {
	owner, err := a.owners.get(a.store.IdentityVersion(), "", func() (*store.User, error) { return a.store.FirstOwner(ctx) })
	p := auth.Principal{By: auth.ByToken, Role: contract.RoleOwner}
	if owner != nil {
		p.UserID, p.Name = owner.ID, owner.Email
	}
	return p, err
}

// KeyHolder is who holds an API key, by its hash; unauthenticated for one that is unknown, revoked or expired, or whose
// maker's account is disabled.
func (a *Accounts) KeyHolder(ctx context.Context, hash string) (auth.Principal, error) {
	known, err := a.keys.get(a.store.IdentityVersion(), hash, func() (v madeKey, err error) {
		if v.key, err = a.store.GetAPIKeyByHash(ctx, hash); err == nil && v.key.UserID != "" {
			v.maker, err = a.store.GetUser(ctx, v.key.UserID)
		}
		return v, err
	})
	if err != nil && contract.CodeOf(err) != contract.CodeNotFound {
		return auth.Principal{}, err
	}
	if err != nil || !known.key.Valid(a.now()) || (known.maker != nil && !known.maker.DisabledAt.IsZero()) {
		return auth.Principal{}, contract.Errorf(contract.CodeUnauthenticated, "this API key is unknown, revoked or expired").Mend("make another one")
	}
	key := known.key
	role := ""
	if known.maker != nil {
		role = known.maker.Role
	}
	return auth.Principal{By: auth.ByKey, Role: role, KeyID: key.ID, UserID: key.UserID, ProjectID: key.ProjectID, Name: key.Name, Scopes: key.Grants(), Until: key.ExpiresAt}, nil
}

type signedSession struct {
	session *store.Session
	user    *store.User
}

type madeKey struct {
	key   *store.APIKey
	maker *store.User
}

// maxCached bounds a cache: a few megabytes.
const maxCached = 10_000

// cache keeps what was read of callers under one version of the store's identities; what fails is not kept.
type cache[V any] struct {
	mu      sync.RWMutex
	version int64
	values  map[string]V
}

// get returns a value that was read under the version, or reads it. The version is taken before the reading, so that what
// changes meanwhile is read again by the next.
func (c *cache[V]) get(version int64, key string, read func() (V, error)) (V, error) {
	c.mu.RLock()
	v, ok := c.values[key]
	ok = ok && c.version == version
	c.mu.RUnlock()
	if ok {
		return v, nil
	}
	v, err := read()
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if version < c.version {
		return v, nil
	}
	if version > c.version || len(c.values) >= maxCached || c.values == nil {
		c.version, c.values = version, map[string]V{}
	}
	c.values[key] = v
	return v, nil
}
