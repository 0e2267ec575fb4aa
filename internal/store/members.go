package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// Member is somebody who has a part in a project: the user whose it is, and those with whom it is shared.
type Member struct {
	ProjectID string    `bun:"project_id"`
	UserID    string    `bun:"user_id"`
	Email     string    `bun:"email"`
	Name      string    `bun:"name"`
	Role      string    `bun:"role"` // contract.ProjectOwner, ProjectEditor or ProjectViewer
	Disabled  bool      `bun:"disabled"`
	AddedAt   time.Time `bun:"added_at"`
}

// membership is a row of those with whom a project is shared; the user whose it is has none.
type membership struct {
	bun.BaseModel `bun:"table:project_members"`

	ProjectID string    `bun:"project_id,pk"`
	UserID    string    `bun:"user_id,pk"`
	Role      string    `bun:"role"`
	AddedAt   time.Time `bun:"added_at"`
}

// atLeast lists the roles that may do what a role may.
func atLeast(role string) []string {
	switch role {
	case contract.ProjectOwner:
		return []string{contract.ProjectOwner}
	case contract.ProjectEditor:
		return []string{contract.ProjectOwner, contract.ProjectEditor}
	default:
		return []string{contract.ProjectOwner, contract.ProjectEditor, contract.ProjectViewer}
	}
}

const membersOf = `SELECT p.id AS project_id, u.id AS user_id, u.email, u.name, 'owner' AS role, u.disabled_at IS NOT NULL AS disabled, p.created_at AS added_at
  FROM projects AS p JOIN users AS u ON u.id = p.user_id WHERE p.id = ?0
UNION ALL SELECT m.project_id, u.id, u.email, u.name, m.role, u.disabled_at IS NOT NULL, m.added_at
  FROM project_members AS m JOIN users AS u ON u.id = m.user_id WHERE m.project_id = ?0`

// ListMembers lists who has a part in a project, owners first. not_found if ctx does not reach it.
func (s *Store) ListMembers(ctx context.Context, projectID string) ([]Member, error) {
	if _, err := s.GetProject(ctx, projectID); err != nil {
		return nil, err
	}
	members := []Member{}
	err := s.reader.NewRaw(`SELECT * FROM (`+membersOf+`) ORDER BY CASE role WHEN 'owner' THEN 0 WHEN 'editor' THEN 1 ELSE 2 END, added_at, user_id`, projectID).Scan(ctx, &members)
	return members, err
}

func (t *txn) member(ctx context.Context, projectID, userID string) (*Member, error) {
	var m Member
	err := t.NewRaw(`SELECT * FROM (`+membersOf+`) WHERE user_id = ?1`, projectID, userID).Scan(ctx, &m)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, contract.Errorf(contract.CodeNotFound, "the project has no member %q", userID).On("user_id")
	}
	return &m, err
}

// AddMember shares a project with an account; not_found if there is none of this (lower-case) address, a conflict if it has
// a part in the project already, or is disabled.
func (s *Store) AddMember(ctx context.Context, projectID, email, role string) (added *Member, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *txn) error {
		tx.identity = true
		if _, err := findByID[Project](ctx, tx, KindProject, projectID); err != nil {
			return err
		}
		var user User
		err := tx.NewSelect().Model(&user).Where("email = ?", email).Scan(ctx)
		if errors.Is(err, sql.ErrNoRows) {
			return contract.Errorf(contract.CodeNotFound, "there is no account for %s", email).On("email").Mend("have an owner make one: vibeflow users add %s", email)
		}
		if err != nil {
			return err
		}
		if !user.DisabledAt.IsZero() {
			return contract.Errorf(contract.CodeConflict, "the account of %s is disabled", email).On("email")
		}
		if there, err := tx.member(ctx, projectID, user.ID); err == nil {
			return contract.Errorf(contract.CodeConflict, "%s has a part in the project already, as %s", email, there.Role).On("email").Mend("change the role")
		} else if contract.CodeOf(err) != contract.CodeNotFound {
			return err
		}
		if _, err := tx.NewInsert().Model(&membership{ProjectID: projectID, UserID: user.ID, Role: role, AddedAt: tx.now}).Exec(ctx); err != nil {
			return err
		}
		added, err = tx.member(ctx, projectID, user.ID)
		return err
	})
	return added, err
}

// ChangeMember gives a member another role; a conflict if nobody would be left as owner.
func (s *Store) ChangeMember(ctx context.Context, projectID, userID, role string) (changed *Member, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *txn) error {
		tx.identity = true
		m, err := tx.memberOf(ctx, projectID, userID)
		if err != nil || m.Role == role {
			changed = m
			return err
		}
		if err := tx.handOver(ctx, m, "make somebody else an owner of it first"); err != nil {
			return err
		}
		row := membership{ProjectID: projectID, UserID: userID, Role: role, AddedAt: m.AddedAt}
		if _, err := tx.NewInsert().Model(&row).On("CONFLICT (project_id, user_id) DO UPDATE").Set("role = EXCLUDED.role").Exec(ctx); err != nil {
			return err
		}
		changed, err = tx.member(ctx, projectID, userID)
		return err
	})
	return changed, err
}

// RemoveMember ends somebody's part in a project, and the keys that they made for it; a conflict if nobody would be left as
// owner. It returns who it was.
func (s *Store) RemoveMember(ctx context.Context, projectID, userID string) (gone *Member, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *txn) error {
		tx.identity = true
		if gone, err = tx.memberOf(ctx, projectID, userID); err != nil {
			return err
		}
		if err := tx.handOver(ctx, gone, "make somebody else an owner of it first, or delete the project"); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE api_keys SET revoked_at = ? WHERE project_id = ? AND user_id = ? AND revoked_at IS NULL`, tx.now, projectID, userID); err != nil {
			return err
		}
		_, err := tx.NewDelete().Model(&membership{ProjectID: projectID, UserID: userID}).WherePK().Exec(ctx)
		return err
	})
	return gone, err
}

// memberOf is member, of a project that ctx reaches.
func (t *txn) memberOf(ctx context.Context, projectID, userID string) (*Member, error) {
	if _, err := findByID[Project](ctx, t, KindProject, projectID); err != nil {
		return nil, err
	}
	return t.member(ctx, projectID, userID)
}

// handOver makes another owner the one whose the project is, if it is m's; a conflict, with the remedy, if there is none. An
// owner with whom it is shared needs no successor: whose it is stays.
func (t *txn) handOver(ctx context.Context, m *Member, remedy string) error {
	var whose string
	if err := t.NewSelect().Table("projects").ColumnExpr("COALESCE(user_id, '')").Where("id = ?", m.ProjectID).Scan(ctx, &whose); err != nil || whose != m.UserID {
		return err
	}
	res, err := t.ExecContext(ctx, `UPDATE projects SET version = version + 1, user_id = m.user_id
  FROM (`+firstOwner+`) AS m WHERE projects.id = m.project_id AND projects.id = ?`, m.ProjectID)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil {
		return err
	} else if n == 0 {
		return contract.Errorf(contract.CodeConflict, "%s is the project's last owner", cmp.Or(m.Email, m.UserID)).On("user_id").Mend("%s", remedy)
	}
	return t.dropDoubles(ctx)
}

// firstOwner selects, of each project, the owner with whom it has been shared longest.
const firstOwner = `SELECT project_id, user_id, MIN(added_at) FROM project_members WHERE role = 'owner' GROUP BY project_id`

// dropDoubles removes the rows of those whose a project has become.
func (t *txn) dropDoubles(ctx context.Context) error {
	_, err := t.ExecContext(ctx, `DELETE FROM project_members WHERE user_id = (SELECT p.user_id FROM projects AS p WHERE p.id = project_id)`)
	return err
}

// RolesOf returns what a user may do in the projects that others share with them.
func (s *Store) RolesOf(ctx context.Context, userID string) (map[string]string, error) {
	var rows []membership
	if err := s.reader.NewSelect().Model(&rows).Where("user_id = ?", userID).Scan(ctx); err != nil {
		return nil, err
	}
	roles := map[string]string{}
	for _, r := range rows {
		roles[r.ProjectID] = r.Role
	}
	return roles, nil
}
