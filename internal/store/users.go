package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// User is an account. PasswordHash is empty until its holder has chosen a password.
type User struct {
	bun.BaseModel `bun:"table:users" json:"-"`

	ID           string    `bun:"id,pk" json:"id"`
	Email        string    `bun:"email" json:"email"` // lower case
	Name         string    `bun:"name" json:"name"`
	PasswordHash string    `bun:"password_hash" json:"-"`
	Role         string    `bun:"role" json:"role"` // contract.RoleOwner or RoleMember
	DisabledAt   time.Time `bun:"disabled_at,nullzero" json:"disabled_at,omitzero"`
	LastSeenAt   time.Time `bun:"last_seen_at,nullzero" json:"last_seen_at,omitzero"`
	CreatedAt    time.Time `bun:"created_at" json:"created_at"`
	UpdatedAt    time.Time `bun:"updated_at" json:"updated_at"`
}

// Owner reports whether the account may do everything.
func (u *User) Owner() bool { return u.Role == contract.RoleOwner }

// Usable reports whether somebody can sign in to the account.
func (u *User) Usable() bool { return u.DisabledAt.IsZero() && u.PasswordHash != "" }

// CreateUser adds an account; a conflict if its e-mail address has one, or, with first, if there is an owner already. An
// owner takes over what was made before there were accounts: projects and keys without a user; sessions without one end.
// A member gets a project of their own.
func (s *Store) CreateUser(ctx context.Context, u User, first bool) (*User, error) {
	err := s.write(ctx, func(ctx context.Context, tx *txn) error {
		tx.identity = true
		if first {
			if err := tx.noOwnerYet(ctx); err != nil {
				return err
			}
		}
		taken, err := tx.NewSelect().Model((*User)(nil)).Where("email = ?", u.Email).Exists(ctx)
		if err != nil {
			return err
		}
		if taken {
			return emailTaken(u.Email)
		}
		u.CreatedAt, u.UpdatedAt = tx.now, tx.now
		if _, err := tx.NewInsert().Model(&u).Exec(ctx); err != nil {
			return err
		}
		if u.Owner() && u.Usable() {
			return tx.adoptOwnerless(ctx, u.ID)
		}
		home := Project{ID: contract.NewID(contract.PrefixProject), UserID: u.ID, Name: "My project", Status: ProjectActive,
			Version: 1, CreatedAt: tx.now, UpdatedAt: tx.now}
		_, err = tx.NewInsert().Model(&home).Exec(ctx)
		return err
	})
	return &u, err
}

func (t *txn) noOwnerYet(ctx context.Context) error {
	there, err := t.NewSelect().Model((*User)(nil)).Where("role = ?", contract.RoleOwner).Where(usable).Exists(ctx)
	if err == nil && there {
		err = contract.Errorf(contract.CodeConflict, "there is an owner already").Mend("sign in")
	}
	return err
}

func emailTaken(email string) error {
	return contract.Errorf(contract.CodeConflict, "there is an account for %s already", email).On("email").Mend("sign in, or have its password reset")
}

func (t *txn) adoptOwnerless(ctx context.Context, owner string) error {
	for _, statement := range []string{`UPDATE projects SET user_id = ? WHERE user_id IS NULL`, `UPDATE api_keys SET user_id = ? WHERE user_id IS NULL AND revoked_at IS NULL`} {
		if _, err := t.ExecContext(ctx, statement, owner); err != nil {
			return err
		}
	}
	if _, err := t.ExecContext(ctx, `UPDATE sessions SET revoked_at = ? WHERE user_id IS NULL AND revoked_at IS NULL`, t.now); err != nil {
		return err
	}
	return t.dropDoubles(ctx)
}

// GetUser returns an account, or not_found.
func (s *Store) GetUser(ctx context.Context, id string) (*User, error) {
	return findByID[User](ctx, s.reader, "user", id)
}

// GetUserByEmail returns the account of a lower-case e-mail address, or not_found.
func (s *Store) GetUserByEmail(ctx context.Context, email string) (*User, error) {
	var u User
	err := s.reader.NewSelect().Model(&u).Where("email = ?", email).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, contract.Errorf(contract.CodeNotFound, "there is no account for %s", email).On("email")
	}
	return &u, err
}

// FirstOwner returns the oldest owner who can sign in; nil while there is none.
func (s *Store) FirstOwner(ctx context.Context) (*User, error) {
	var u User
	err := s.reader.NewSelect().Model(&u).Where("role = ?", contract.RoleOwner).Where(usable).Order("created_at", "id").Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &u, err
}

const usable = "disabled_at IS NULL AND password_hash <> ''"

// ListUsers lists accounts, newest first; text is a part of the name or the e-mail address.
func (s *Store) ListUsers(ctx context.Context, text string, f Filter) (Page[User], error) {
	if text != "" {
		f.also = []string{text}
		f.where = func(q *bun.SelectQuery) *bun.SelectQuery {
			return q.WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery { return containing(q, text, "email", "name") })
		}
	}
	return list(ctx, s.reader, f, columns{noStatus: "accounts have no status"}, func(u User) place { return place{u.ID, u.Name, u.CreatedAt, u.UpdatedAt} })
}

// ChangeUser applies a change to an account. The last owner who can sign in stays one (conflict). An account that cannot
// be used any more is signed out everywhere; one whose password or role changed, everywhere but in keepSession.
func (s *Store) ChangeUser(ctx context.Context, id, keepSession string, change func(*User) error) (*User, error) {
	var changed *User
	err := s.write(ctx, func(ctx context.Context, tx *txn) error {
		tx.identity = true
		u, err := findByID[User](ctx, tx, "user", id)
		if err != nil {
			return err
		}
		before := *u
		if err := change(u); err != nil {
			return err
		}
		u.UpdatedAt, changed = tx.now, u
		if _, err := tx.NewUpdate().Model(u).WherePK().Exec(ctx); err != nil {
			if strings.Contains(err.Error(), "UNIQUE constraint failed: users.email") {
				return emailTaken(u.Email)
			}
			return err
		}
		if err := tx.keepsAnOwner(ctx, before); err != nil {
			return err
		}
		if u.PasswordHash == before.PasswordHash && u.Role == before.Role && u.Usable() {
			return nil
		}
		return tx.endSessions(ctx, id, keepSession)
	})
	return changed, err
}

// keepsAnOwner refuses a change after which nobody could sign in as owner, unless that was so before.
func (t *txn) keepsAnOwner(ctx context.Context, before User) error {
	if !before.Owner() || !before.Usable() {
		return nil
	}
	left, err := t.NewSelect().Model((*User)(nil)).Where("role = ?", contract.RoleOwner).Where(usable).Exists(ctx)
	if err == nil && !left {
		err = contract.Errorf(contract.CodeConflict, "%s is the last owner who can sign in", before.Email).Mend("make somebody else an owner first")
	}
	return err
}

// DeleteUser erases an account: its sessions, codes and settings go with it, its keys are revoked, the audit log forgets
// its address, and its projects become those of the owners with whom they are shared, else heir's (empty: the machine's
// owner's).
func (s *Store) DeleteUser(ctx context.Context, id, heir string) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		tx.identity = true
		u, err := findByID[User](ctx, tx, "user", id)
		if err != nil {
			return err
		}
		for _, step := range []struct {
			statement string
			args      []any
		}{
			{`UPDATE projects SET version = version + 1, user_id = COALESCE((SELECT m.user_id FROM (` + firstOwner + `) AS m WHERE m.project_id = projects.id), NULLIF(?, '')) WHERE user_id = ?`, []any{heir, id}},
			{`UPDATE api_keys SET user_id = NULL, revoked_at = COALESCE(revoked_at, ?) WHERE user_id = ?`, []any{tx.now, id}},
			{`UPDATE audit_events SET actor = '', address = '' WHERE actor_id = ?`, []any{id}},
			{`UPDATE audit_events SET resource = '' WHERE resource = ?`, []any{u.Email}},
			{`UPDATE audit_events SET subject = '' WHERE subject = ?`, []any{u.Email}},
			{`DELETE FROM settings WHERE owner = ?`, []any{id}},
			{`DELETE FROM users WHERE id = ?`, []any{id}},
		} {
			if _, err := tx.ExecContext(ctx, step.statement, step.args...); err != nil {
				return err
			}
		}
		if err := tx.dropDoubles(ctx); err != nil {
			return err
		}
		return tx.keepsAnOwner(ctx, *u)
	})
}
