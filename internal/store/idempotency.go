package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// IdempotencyKeyLife is for how long a key stands for what it has started.
const IdempotencyKeyLife = 24 * time.Hour

// IdempotencyKey is a caller's name for one request. Owner is the caller's, Request a digest of what was asked.
type IdempotencyKey struct{ Owner, Key, Request string }

// Started is what a request with a key has made, and the status that it was answered with.
type Started struct {
	bun.BaseModel `bun:"table:idempotency_keys"`

	Owner     string        `bun:"owner,pk"`
	Key       string        `bun:"key,pk"`
	Request   string        `bun:"request"`
	Kind      contract.Kind `bun:"kind"`
	ID        string        `bun:"resource_id"`
	Status    int           `bun:"status"`
	CreatedAt time.Time     `bun:"created_at"`
}

// RepeatedError says that a request with this key was first: nothing was made.
type RepeatedError struct{ Started Started }

// Error implements error.
func (e *RepeatedError) Error() string {
	return fmt.Sprintf("the request was made before: it started %s %s", e.Started.Kind, e.Started.ID)
}

type idempotencyKey struct{}

// WithIdempotencyKey makes what is created on ctx known under a key, in the same transaction. A key that is taken fails
// with *RepeatedError.
func WithIdempotencyKey(ctx context.Context, k IdempotencyKey) context.Context {
	return context.WithValue(ctx, idempotencyKey{}, k)
}

// IdempotencyKeyOf returns the key of ctx, if it has one.
func IdempotencyKeyOf(ctx context.Context) (k IdempotencyKey, ok bool) {
	k, ok = ctx.Value(idempotencyKey{}).(IdempotencyKey)
	return k, ok
}

// StartedBy returns what a request with this key has made; nil if there was none.
func (s *Store) StartedBy(ctx context.Context, k IdempotencyKey) (*Started, error) {
	return startedBy(ctx, s.reader, k, s.now())
}

func startedBy(ctx context.Context, db bun.IDB, k IdempotencyKey, now time.Time) (*Started, error) {
	var found Started
	err := db.NewSelect().Model(&found).Where("owner = ?", k.Owner).Where("key = ?", k.Key).
		Where("created_at > ?", stamp(now.Add(-IdempotencyKeyLife))).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &found, err
}

// RememberStarted notes that the request of ctx found what it asked for already made.
func (s *Store) RememberStarted(ctx context.Context, kind contract.Kind, id string) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error { return tx.remember(ctx, kind, id, http.StatusOK) })
}

// remember writes down what the request of ctx has made, if it has a key.
func (t *txn) remember(ctx context.Context, kind contract.Kind, id string, status int) error {
	k, ok := IdempotencyKeyOf(ctx)
	if !ok {
		return nil
	}
	earlier, err := startedBy(ctx, t, k, t.now)
	if err != nil {
		return err
	}
	if earlier != nil {
		return &RepeatedError{*earlier}
	}
	row := Started{Owner: k.Owner, Key: k.Key, Request: k.Request, Kind: kind, ID: id, Status: status, CreatedAt: t.now}
	_, err = t.NewInsert().Model(&row).On("CONFLICT (owner, key) DO UPDATE"). // one that has expired
											Set("request = EXCLUDED.request, kind = EXCLUDED.kind, resource_id = EXCLUDED.resource_id").
											Set("status = EXCLUDED.status, created_at = EXCLUDED.created_at").Exec(ctx)
	return err
}
