package contract

// The roles of users: an owner reaches everything, a member the projects of their own.
const (
	RoleOwner  = "owner"
	RoleMember = "member"
)

// Scope is what a credential may be used for within a project: reading what is there, starting and changing things,
// asking deployed models. A person has all of them; an API key has those that it was made with.
type Scope string

// The scopes.
const (
	ScopeRead      Scope = "read"
	ScopeWrite     Scope = "write"
	ScopeInference Scope = "inference"
)
