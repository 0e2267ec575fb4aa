package contract

// The roles of users: an owner reaches everything, a member the projects in which they have a part.
const (
	RoleOwner  = "owner"
	RoleMember = "member"
)

// The roles in a project: a viewer sees what is there and asks its models, an editor also starts and changes things, an owner
// also changes the project and decides who has a part in it.
const (
	ProjectOwner  = "owner"
	ProjectEditor = "editor"
	ProjectViewer = "viewer"
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
