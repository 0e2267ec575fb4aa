package store

import (
	"cmp"
	"context"
	"reflect"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// Access is what a context's reads and commands reach. It is the one place where access to projects is enforced: every
// read by id and every list of rows that belong to a project goes through within, so that what a caller may not see does
// not exist for them.
//
// A context without an Access is VibeFlow's own (workflows, the gateway) and reaches everything. The API gives every
// request one before anything else; the zero value reaches nothing.
type Access struct {
	// Everything reaches the projects of all users.
	Everything bool
	// UserID reaches this user's projects, and those that are shared with them.
	UserID string
	// Role is what a request asks for in a project; empty means contract.ProjectViewer. What its caller reaches, but with
	// less, is forbidden rather than not found.
	Role string
	// ProjectID narrows to one project; alone, it reaches that project.
	ProjectID string
	// Actor is who asks, as events remember it.
	Actor string
}

type accessKey struct{}

// WithAccess limits what ctx reaches.
func WithAccess(ctx context.Context, a Access) context.Context {
	return context.WithValue(ctx, accessKey{}, a)
}

// WithoutAccess lifts the limit: for what VibeFlow does itself on a caller's behalf, after the caller's own request was
// checked.
func WithoutAccess(ctx context.Context) context.Context {
	return context.WithValue(ctx, accessKey{}, nil)
}

// AccessOf returns the limit of ctx; ok is false for VibeFlow's own contexts.
func AccessOf(ctx context.Context) (a Access, ok bool) {
	a, ok = ctx.Value(accessKey{}).(Access)
	return a, ok
}

// rows narrows a query of rows that belong to projects. A deleted project's are out of everybody's reach.
func (a Access) rows(db bun.IDB, q *bun.SelectQuery) *bun.SelectQuery {
	if a.Everything && a.ProjectID == "" {
		deleted := db.NewSelect().Table("projects").Column("id").Where("deleted_at IS NOT NULL")
		return q.Where("project_id NOT IN (?)", deleted)
	}
	reached := a.limit(db.NewSelect().Table("projects").Column("id").Where("deleted_at IS NULL"), "id")
	if a.ProjectID != "" { // one project: an index then also gives the order of a list
		return q.Where("project_id = ?", a.ProjectID).Where("EXISTS (?)", reached)
	}
	return q.Where("project_id IN (?)", reached)
}

// limit narrows a query of projects.
func (a Access) limit(q *bun.SelectQuery, id string) *bun.SelectQuery {
	switch {
	case a.Everything:
	case a.UserID != "":
		q = q.WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery {
			shared := q.NewSelect().Table("project_members").Column("project_id").Where("user_id = ?", a.UserID).Where("role IN (?)", bun.List(atLeast(a.Role)))
			return q.Where("user_id = ?", a.UserID).WhereOr("id IN (?)", shared)
		})
	case a.ProjectID == "":
		return q.Where("FALSE")
	}
	if a.ProjectID != "" {
		q = q.Where("? = ?", bun.Ident(id), a.ProjectID)
	}
	return q
}

// unreached says of what a query did not find whether there is none for the caller, or whether their role is not enough;
// found repeats the query.
func unreached(ctx context.Context, missing error, found func(context.Context) (bool, error)) error {
	access, limited := AccessOf(ctx)
	if !limited || len(atLeast(access.Role)) == len(atLeast(contract.ProjectViewer)) {
		return missing
	}
	access.Role = contract.ProjectViewer
	there, err := found(WithAccess(ctx, access))
	if err != nil || !there {
		return cmp.Or(err, missing)
	}
	return lacksRole(ctx)
}

func lacksRole(ctx context.Context) error {
	if access, _ := AccessOf(ctx); access.Role == contract.ProjectOwner {
		return contract.Errorf(contract.CodeForbidden, "only an owner of the project can do this").Mend("ask one: GET /api/projects/{id}/members lists them")
	}
	return contract.Errorf(contract.CodeForbidden, "you may look at this project, and not change it").Mend("ask an owner of it to make you an editor")
}

// InRole is ctx for a part of a request that asks for another role in a project.
func InRole(ctx context.Context, role string) context.Context {
	access, limited := AccessOf(ctx)
	if !limited {
		return ctx
	}
	access.Role = role
	return WithAccess(ctx, access)
}

// shared marks rows that may belong to no project, and are then everybody's.
type shared interface{ sharedWithoutProject() }

func (Model) sharedWithoutProject() {}

// within narrows a query of rows R to what ctx reaches. Rows that have no project are not narrowed.
func within[R any](ctx context.Context, db bun.IDB, q *bun.SelectQuery) *bun.SelectQuery {
	access, limited := AccessOf(ctx)
	if !limited {
		return q
	}
	if _, project := any(new(R)).(*Project); project {
		return access.limit(q, "id")
	}
	if !belongs[R](db) {
		return q
	}
	if _, ok := any(*new(R)).(shared); !ok {
		return access.rows(db, q)
	}
	return q.WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("project_id = ''").WhereGroup(" OR ", func(q *bun.SelectQuery) *bun.SelectQuery { return access.rows(db, q) })
	})
}

// belongs reports whether rows R have a project.
func belongs[R any](db bun.IDB) bool {
	return db.Dialect().Tables().Get(reflect.TypeFor[*R]()).HasField("project_id")
}

// Reaches returns not_found unless there is a resource of this kind and id within the reach of ctx.
func (s *Store) Reaches(ctx context.Context, kind contract.Kind, id string) error {
	return reaches(ctx, s.reader, kind, id)
}

func reaches(ctx context.Context, db bun.IDB, kind contract.Kind, id string) error {
	table, ok := projectionTables[kind]
	if !ok {
		return notFound(kind, id)
	}
	found := func(ctx context.Context) (bool, error) {
		q := db.NewSelect().Table(table).Column("project_id").Where("id = ?", id)
		if access, limited := AccessOf(ctx); limited {
			q = access.rows(db, q)
		}
		return q.Exists(ctx)
	}
	there, err := found(ctx)
	if err != nil || there {
		return err
	}
	return unreached(ctx, notFound(kind, id), found)
}
