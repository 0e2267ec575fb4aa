package auth

import (
	"context"
	"slices"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

// Means is what somebody has signed in with.
type Means string

// The means.
const (
	ByNobody  Means = "nobody"
	ByToken   Means = "cli_token" // the data folder's: the machine's owner
	BySession Means = "session"   // an access token, of a browser's cookie or a program's
	ByKey     Means = "api_key"
)

// Principal says who asks. The zero value is nobody.
type Principal struct {
	By   Means
	Role string // contract.RoleOwner or RoleMember; of a key, its maker's, empty if that is the machine's owner
	// UserID is empty for the machine's owner without an account.
	UserID string
	Name   string // e-mail address or key's name, for the audit log
	// SessionID is set for sessions, KeyID, ProjectID and Scopes for keys.
	SessionID, KeyID, ProjectID string
	Scopes                      []contract.Scope
	// Until is when the credential ends by itself; zero: not.
	Until time.Time
}

// Person reports whether it is a person who asks, rather than a key.
func (p Principal) Person() bool { return p.By == ByToken || p.By == BySession }

// Owner reports whether everything is theirs.
func (p Principal) Owner() bool { return p.Person() && p.Role == contract.RoleOwner }

// Has reports whether the credential may be used for something within a project.
func (p Principal) Has(scope contract.Scope) bool {
	return p.Person() || (p.By == ByKey && slices.Contains(p.Scopes, scope))
}

// ID names the principal: the user's or key's id, or what it signed in with.
func (p Principal) ID() string {
	switch {
	case p.KeyID != "":
		return p.KeyID
	case p.UserID != "":
		return p.UserID
	case p.By == "":
		return string(ByNobody)
	default:
		return string(p.By)
	}
}

type principalKey struct{}

// WithPrincipal puts the principal into a request's context.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalOf returns the principal of a request; nobody if there is none.
func PrincipalOf(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}
