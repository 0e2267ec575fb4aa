package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

func setDefault(to *string, value string) {
	if *to == "" {
		*to = value
	}
}

// Model is a base model of the catalog or one that a job made. A base has a Ref; a tuned model has Files, a Method
// ("lora" or "full"), and in BaseModelID the model that its training began with: a base, or another tuned model.
type Model struct {
	bun.BaseModel `bun:"table:models" json:"-"`

	ID            string             `bun:"id,pk" json:"id"`
	ProjectID     string             `bun:"project_id" json:"project_id,omitempty"` // empty: the catalog's
	Name          string             `bun:"name" json:"name"`
	Source        string             `bun:"source" json:"source"` // contract.ModelRef.Source of a base, "job" of a tuned model
	Ref           contract.ModelRef  `bun:"ref,type:json" json:"-"`
	BaseModelID   string             `bun:"base_model_id" json:"base_model_id,omitempty"`
	JobID         string             `bun:"job_id" json:"job_id,omitempty"`
	Method        string             `bun:"method" json:"method,omitempty"`
	Config        *contract.Training `bun:"config,type:json,nullzero" json:"config,omitempty"` // what a tuned model was trained with
	Files         []ModelFile        `bun:"files,type:json" json:"files,omitempty"`
	Dims          json.RawMessage    `bun:"dims,nullzero" json:"dims,omitempty"` // what the memory estimator needs
	TaskTypes     []string           `bun:"task_types,type:json" json:"task_types"`
	Requirements  json.RawMessage    `bun:"requirements,nullzero" json:"requirements,omitempty"`
	Description   string             `bun:"description" json:"description"`
	License       string             `bun:"license" json:"license,omitempty"`
	ContextLength int                `bun:"context_length" json:"context_length,omitempty"` // tokens
	Parameters    int64              `bun:"parameters" json:"parameters,omitempty"`
	Size          int64              `bun:"size" json:"size"` // bytes of weights
	CreatedAt     time.Time          `bun:"created_at" json:"created_at"`
	UpdatedAt     time.Time          `bun:"updated_at" json:"updated_at"`
	Labels

	Sealed []byte `bun:"sealed,nullzero" json:"-"` // stands in the database for the notes; see content.go
}

// ModelFile is one stored file of a tuned model.
type ModelFile struct {
	contract.FileInfo
	ObjectID string `json:"object_id"`
}

// Tuned reports whether the model has weights of its own beside its base.
func (m *Model) Tuned() bool { return m.BaseModelID != "" }

// UpsertCatalog writes the catalog's models: new ones are added, known ones brought up to date.
func (s *Store) UpsertCatalog(ctx context.Context, models []Model) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		for _, m := range models {
			m.CreatedAt, m.UpdatedAt = tx.now, tx.now
			m.fill()
			_, err := tx.NewInsert().Model(&m).On("CONFLICT (id) DO UPDATE").
				Set("name = EXCLUDED.name, source = EXCLUDED.source, ref = EXCLUDED.ref, dims = EXCLUDED.dims").
				Set("task_types = EXCLUDED.task_types, requirements = EXCLUDED.requirements, description = EXCLUDED.description").
				Set("license = EXCLUDED.license, context_length = EXCLUDED.context_length, parameters = EXCLUDED.parameters").
				Set("size = EXCLUDED.size, updated_at = EXCLUDED.updated_at").Exec(ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (m *Model) fill() {
	if m.Version == 0 {
		m.Labels = newLabels()
	}
	if m.Files == nil {
		m.Files = []ModelFile{}
	}
	if m.TaskTypes == nil {
		m.TaskTypes = []string{}
	}
}

// CreateModel registers a model and holds on to its objects; one with this ID stays as it is (false, nil). A caller's project
// that takes nothing new is a conflict.
func (s *Store) CreateModel(ctx context.Context, m Model) (created bool, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *txn) error {
		if _, limited := AccessOf(ctx); limited && m.ProjectID != "" {
			if err := tx.projectTakesNew(ctx, m.ProjectID); err != nil {
				return err
			}
		}
		m.CreatedAt, m.UpdatedAt = tx.now, tx.now
		m.fill()
		res, err := tx.NewInsert().Model(&m).On("CONFLICT (id) DO NOTHING").Exec(ctx)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil || n == 0 {
			return err
		}
		created = true
		for _, f := range m.Files {
			if err := tx.hold(ctx, "model/"+m.ID, f.ObjectID); err != nil {
				return err
			}
		}
		return tx.remember(ctx, KindModel, m.ID, http.StatusCreated)
	})
	return created && err == nil, err
}

// GetModel returns a model, or not_found.
func (s *Store) GetModel(ctx context.Context, id string) (*Model, error) {
	return findByID[Model](ctx, s.reader, "model", id)
}

// ModelOfJob returns the model that a job made, or not_found.
func (s *Store) ModelOfJob(ctx context.Context, jobID string) (*Model, error) {
	var m Model
	err := s.reader.NewSelect().Model(&m).Where("job_id = ?", jobID).Order("created_at").Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, contract.Errorf(contract.CodeNotFound, "job %q has made no model", jobID)
	}
	return &m, err
}

// BaseOf returns the catalog's model that m was made from, through any number of tunings; m itself if it is a base.
func (s *Store) BaseOf(ctx context.Context, m *Model) (*Model, error) {
	return baseOf(ctx, s.reader, m)
}

// rootOf finds the end of a chain of tunings. UNION leaves out what was met before, so that it ends whatever the rows say.
const rootOf = `WITH RECURSIVE chain (id, base) AS (
  SELECT id, base_model_id FROM models WHERE id = ?
  UNION SELECT m.id, m.base_model_id FROM models AS m JOIN chain ON m.id = chain.base)
SELECT id FROM chain WHERE base = ''`

func baseOf(ctx context.Context, db database, m *Model) (*Model, error) {
	if !m.Tuned() {
		return m, nil
	}
	var root string
	err := db.NewRaw(rootOf, m.BaseModelID).Scan(ctx, &root)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound(KindModel, m.BaseModelID)
	}
	if err != nil {
		return nil, err
	}
	return findByID[Model](ctx, db, KindModel, root)
}

// APIKey is a key of the OpenAI surface. Only its hash is kept.
type APIKey struct {
	bun.BaseModel `bun:"table:api_keys" json:"-"`

	ID         string           `bun:"id,pk" json:"id"`
	UserID     string           `bun:"user_id,nullzero" json:"user_id,omitempty"`
	ProjectID  string           `bun:"project_id" json:"project_id"`
	Name       string           `bun:"name" json:"name"`
	KeyHash    string           `bun:"key_hash" json:"-"`
	Prefix     string           `bun:"prefix" json:"prefix"`
	Scopes     []contract.Scope `bun:"scopes,type:json" json:"scopes"`
	UsageCount int64            `bun:"usage_count" json:"usage_count"`
	CreatedAt  time.Time        `bun:"created_at" json:"created_at"`
	LastUsedAt time.Time        `bun:"last_used_at,nullzero" json:"last_used_at,omitzero"`
	RevokedAt  time.Time        `bun:"revoked_at,nullzero" json:"revoked_at,omitzero"`
	ExpiresAt  time.Time        `bun:"expires_at,nullzero" json:"expires_at,omitzero"`
}

// Valid reports whether the key may be used at a time.
func (k *APIKey) Valid(at time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || at.Before(k.ExpiresAt))
}

// Grants are the key's scopes; a key from before there were any asks models.
func (k *APIKey) Grants() []contract.Scope {
	if len(k.Scopes) == 0 {
		return []contract.Scope{contract.ScopeInference}
	}
	return k.Scopes
}

// CreateAPIKey adds a key.
func (s *Store) CreateAPIKey(ctx context.Context, k APIKey) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		k.CreatedAt = tx.now
		if k.Scopes == nil {
			k.Scopes = []contract.Scope{}
		}
		_, err := tx.NewInsert().Model(&k).Exec(ctx)
		return err
	})
}

// GetAPIKeyByHash returns the key with this hash, revoked and expired ones too (see Valid), or not_found.
func (s *Store) GetAPIKeyByHash(ctx context.Context, hash string) (*APIKey, error) {
	var k APIKey
	err := s.reader.NewSelect().Model(&k).Where("key_hash = ?", hash).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, contract.Errorf(contract.CodeNotFound, "there is no such API key")
	}
	return &k, err
}

// GetAPIKey returns a key, or not_found.
func (s *Store) GetAPIKey(ctx context.Context, id string) (*APIKey, error) {
	return findByID[APIKey](ctx, s.reader, "API key", id)
}

// RevokeAPIKey ends a key for good; one that is revoked stays as it is. not_found if there is none.
func (s *Store) RevokeAPIKey(ctx context.Context, id string) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		tx.identity = true
		if _, err := findByID[APIKey](ctx, tx, "API key", id); err != nil {
			return err
		}
		_, err := tx.NewUpdate().Model((*APIKey)(nil)).Set("revoked_at = ?", tx.now).
			Where("id = ?", id).Where("revoked_at IS NULL").Exec(ctx)
		return err
	})
}

// Worker is what a worker last told of itself.
type Worker struct {
	bun.BaseModel `bun:"table:workers" json:"-"`

	ID          string          `bun:"id,pk" json:"id"` // host/instance
	Boot        string          `bun:"boot" json:"boot"`
	State       string          `bun:"state" json:"state"` // contract.WorkerPreparing or WorkerReady
	Queue       string          `bun:"queue" json:"queue"`
	Slots       int             `bun:"slots" json:"slots"`
	Version     string          `bun:"version" json:"version"`
	Hardware    json.RawMessage `bun:"hardware,nullzero" json:"hardware,omitempty"`
	FirstSeenAt time.Time       `bun:"first_seen_at" json:"first_seen_at"`
	LastSeenAt  time.Time       `bun:"last_seen_at" json:"last_seen_at"`
}

// SaveWorkerReport notes what a worker tells of itself, and when.
func (s *Store) SaveWorkerReport(ctx context.Context, r contract.WorkerReport) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		setDefault(&r.State, contract.WorkerReady)
		w := Worker{ID: r.ID, Boot: r.Boot, State: r.State, Queue: r.Queue, Slots: r.Slots, Version: r.Version, Hardware: r.Hardware,
			FirstSeenAt: tx.now, LastSeenAt: tx.now}
		_, err := tx.NewInsert().Model(&w).On("CONFLICT (id) DO UPDATE").
			Set("boot = EXCLUDED.boot, state = EXCLUDED.state, queue = EXCLUDED.queue, slots = EXCLUDED.slots, version = EXCLUDED.version").
			Set("hardware = EXCLUDED.hardware, last_seen_at = EXCLUDED.last_seen_at").Exec(ctx)
		tx.line = true // it may bring slots
		return err
	})
}

// ListWorkers lists workers, the one seen last first. A worker reports every 30 s: one silent for much longer is gone.
func (s *Store) ListWorkers(ctx context.Context) ([]Worker, error) {
	var ws []Worker
	err := s.reader.NewSelect().Model(&ws).Order("last_seen_at DESC", "id").Scan(ctx)
	return ws, err
}
