package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// Session is where somebody is signed in: a family of refresh tokens, of which the newest is good. Without a UserID it is
// the machine's owner, who has no account yet.
type Session struct {
	bun.BaseModel `bun:"table:sessions" json:"-"`

	ID         string    `bun:"id,pk"`
	UserID     string    `bun:"user_id,nullzero"`
	Client     string    `bun:"client"` // User-Agent
	Address    string    `bun:"address"`
	CreatedAt  time.Time `bun:"created_at"`
	LastUsedAt time.Time `bun:"last_used_at"`
	ExpiresAt  time.Time `bun:"expires_at"`
	RevokedAt  time.Time `bun:"revoked_at,nullzero"`
}

// Live reports whether the session is good at a time.
func (s *Session) Live(at time.Time) bool { return s.RevokedAt.IsZero() && at.Before(s.ExpiresAt) }

// refreshToken is kept by its hash, used ones too: that one comes again is how a stolen one shows.
type refreshToken struct {
	bun.BaseModel `bun:"table:refresh_tokens"`

	Hash      string    `bun:"hash,pk"`
	SessionID string    `bun:"session_id"`
	CreatedAt time.Time `bun:"created_at"`
	UsedAt    time.Time `bun:"used_at,nullzero"`
}

// CreateSession signs somebody in; refreshHash is the hash of the family's first token.
func (s *Store) CreateSession(ctx context.Context, session Session, refreshHash string) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		session.CreatedAt, session.LastUsedAt, session.ExpiresAt = tx.now, tx.now, stamp(session.ExpiresAt)
		if _, err := tx.NewInsert().Model(&session).Exec(ctx); err != nil {
			return err
		}
		if err := tx.seen(ctx, session.UserID); err != nil {
			return err
		}
		return tx.addRefresh(ctx, session.ID, refreshHash)
	})
}

func (t *txn) seen(ctx context.Context, userID string) error {
	_, err := t.ExecContext(ctx, `UPDATE users SET last_seen_at = ? WHERE id = ?`, t.now, userID)
	return err
}

func (t *txn) addRefresh(ctx context.Context, sessionID, hash string) error {
	_, err := t.NewInsert().Model(&refreshToken{Hash: hash, SessionID: sessionID, CreatedAt: t.now}).Exec(ctx)
	return err
}

// Rotation exchanges a refresh token, by its hash, for the next. Grace is for how long the same exchange may be asked for
// again, as long as the next token has not been used.
type Rotation struct {
	Hash, Next string
	ExpiresAt  time.Time
	Grace      time.Duration
}

// ErrReused is what Rotate's refusal wraps when a token comes again that was exchanged before: its session has ended.
var ErrReused = errors.New("the refresh token was used before")

// Rotate exchanges a refresh token and returns its session. It fails with unauthenticated for a token that is unknown or
// whose session has ended, and ends the session if the token was used before.
func (s *Store) Rotate(ctx context.Context, r Rotation) (*Session, error) {
	var session *Session
	var refused error
	err := s.write(ctx, func(ctx context.Context, tx *txn) (err error) {
		tx.identity = true
		var token *refreshToken
		if token, session, err = tx.findRefresh(ctx, r.Hash); err != nil {
			return err
		}
		if !token.UsedAt.IsZero() {
			if refused, err = tx.repeated(ctx, token, r); refused != nil {
				return tx.revoke(ctx, session.ID) // to be committed: not an error of the transaction
			}
			return err
		}
		token.UsedAt = tx.now
		if _, err := tx.NewUpdate().Model(token).WherePK().Exec(ctx); err != nil {
			return err
		}
		session.LastUsedAt, session.ExpiresAt = tx.now, stamp(r.ExpiresAt)
		if _, err := tx.NewUpdate().Model(session).WherePK().Exec(ctx); err != nil {
			return err
		}
		if err := tx.seen(ctx, session.UserID); err != nil {
			return err
		}
		return tx.addRefresh(ctx, session.ID, r.Next)
	})
	if refused != nil {
		err = errors.Join(refused, err)
	}
	return session, err
}

func (t *txn) findRefresh(ctx context.Context, hash string) (*refreshToken, *Session, error) {
	var token refreshToken
	err := t.NewSelect().Model(&token).Where("hash = ?", hash).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, sessionEnded(nil)
	}
	if err != nil {
		return nil, nil, err
	}
	session, err := findByID[Session](ctx, t, "session", token.SessionID)
	if err == nil && !session.Live(t.now) {
		err = sessionEnded(nil)
	}
	return &token, session, err
}

// repeated allows an exchange that was made already to be made again: its answer may have been lost. The next token
// follows from this one, so that it is the same answer.
func (t *txn) repeated(ctx context.Context, token *refreshToken, r Rotation) (refused, err error) {
	var next refreshToken
	err = t.NewSelect().Model(&next).Where("hash = ?", r.Next).Scan(ctx)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	if err == nil && next.UsedAt.IsZero() && t.now.Sub(token.UsedAt) <= r.Grace {
		return nil, nil
	}
	return sessionEnded(ErrReused), nil
}

func sessionEnded(cause error) error {
	if cause == nil {
		return contract.Errorf(contract.CodeUnauthenticated, "the session has ended").Mend("sign in again")
	}
	return contract.Errorf(contract.CodeUnauthenticated, "the session has ended: %w", cause).Mend("sign in again")
}

// GetSession returns a session, live or not, and its user (nil for the machine's owner); not_found if there is none.
func (s *Store) GetSession(ctx context.Context, id string) (*Session, *User, error) {
	session, err := findByID[Session](ctx, s.reader, "session", id)
	if err != nil || session.UserID == "" {
		return session, nil, err
	}
	user, err := s.GetUser(ctx, session.UserID)
	return session, user, err
}

// SessionOfRefresh returns the id of a refresh token's session, or not_found.
func (s *Store) SessionOfRefresh(ctx context.Context, hash string) (string, error) {
	var id string
	err := s.reader.NewSelect().Model((*refreshToken)(nil)).Column("session_id").Where("hash = ?", hash).Scan(ctx, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", contract.Errorf(contract.CodeNotFound, "there is no such session")
	}
	return id, err
}

// ListSessions lists a user's live sessions, the one used last first.
func (s *Store) ListSessions(ctx context.Context, userID string) ([]Session, error) {
	sessions := []Session{}
	err := s.reader.NewSelect().Model(&sessions).Where("user_id = ?", userID).Where("revoked_at IS NULL").
		Where("expires_at > ?", stamp(s.now())).Order("last_used_at DESC", "id").Limit(maxPage).Scan(ctx)
	return sessions, err
}

// EndSession ends a session at once; one that has ended, or is not there, is no error.
func (s *Store) EndSession(ctx context.Context, id string) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		tx.identity = true
		return tx.revoke(ctx, id)
	})
}

func (t *txn) revoke(ctx context.Context, id string) error {
	_, err := t.ExecContext(ctx, `UPDATE sessions SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL`, t.now, id)
	return err
}

func (t *txn) endSessions(ctx context.Context, userID, but string) error {
	_, err := t.ExecContext(ctx, `UPDATE sessions SET revoked_at = ? WHERE user_id = ? AND id <> ? AND revoked_at IS NULL`, t.now, userID, but)
	return err
}

// Code is a one-time code, kept by its hash: what it is for, and whose. Without a UserID it is the machine's owner's.
type Code struct {
	bun.BaseModel `bun:"table:one_time_codes" json:"-"`

	Hash      string    `bun:"hash,pk"`
	Purpose   string    `bun:"purpose"`
	UserID    string    `bun:"user_id,nullzero"`
	ExpiresAt time.Time `bun:"expires_at"`
}

// What codes are for.
const (
	CodeSignIn   = "sign_in"
	CodePassword = "password"
)

// AddCode keeps a code. A new one for a password voids the user's earlier ones.
func (s *Store) AddCode(ctx context.Context, c Code) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		if c.Purpose == CodePassword {
			if _, err := tx.ExecContext(ctx, `DELETE FROM one_time_codes WHERE purpose = ? AND user_id = ?`, c.Purpose, c.UserID); err != nil {
				return err
			}
		}
		c.ExpiresAt = stamp(c.ExpiresAt)
		_, err := tx.NewInsert().Model(&c).Exec(ctx)
		return err
	})
}

// FindCode returns a code that is still good; unauthenticated for one that is unknown, used, too old or for something else.
func (s *Store) FindCode(ctx context.Context, hash, purpose string) (*Code, error) {
	return findCode(ctx, s.reader, hash, purpose, stamp(s.now()))
}

func findCode(ctx context.Context, db bun.IDB, hash, purpose string, now time.Time) (*Code, error) {
	var c Code
	err := db.NewSelect().Model(&c).Where("hash = ?", hash).Where("purpose = ?", purpose).Where("expires_at > ?", now).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, contract.Errorf(contract.CodeUnauthenticated, "this link was used already or is too old").On("code").
			Mend("have a new one made: `vibeflow open` to sign in, `vibeflow users reset EMAIL` for a password")
	}
	return &c, err
}

// TakeCode uses a code up; it fails as FindCode does.
func (s *Store) TakeCode(ctx context.Context, hash, purpose string) (*Code, error) {
	var taken *Code
	err := s.write(ctx, func(ctx context.Context, tx *txn) (err error) {
		if taken, err = findCode(ctx, tx, hash, purpose, tx.now); err != nil {
			return err
		}
		_, err = tx.NewDelete().Model(taken).WherePK().Exec(ctx)
		return err
	})
	return taken, err
}
