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

// Project owns datasets, runs, tuned models and keys.
type Project struct {
	bun.BaseModel `bun:"table:projects" json:"-"`

	ID          string    `bun:"id,pk" json:"id"`
	UserID      string    `bun:"user_id,nullzero" json:"user_id,omitempty"` // empty: the machine's owner, before there was an account
	Name        string    `bun:"name" json:"name"`
	Description string    `bun:"description" json:"description"`
	Goal        string    `bun:"goal" json:"goal"`
	Status      string    `bun:"status" json:"status"` // ProjectActive or ProjectArchived; DeletedAt stands over it
	Version     int64     `bun:"version" json:"version"`
	CreatedAt   time.Time `bun:"created_at" json:"created_at"`
	UpdatedAt   time.Time `bun:"updated_at" json:"updated_at"`
	DeletedAt   time.Time `bun:"deleted_at,nullzero" json:"deleted_at,omitzero"`
}

// What a project may be. A deleted one keeps the status that it goes back to.
const (
	ProjectActive   = "active"
	ProjectArchived = "archived"
	ProjectDeleted  = "deleted"
)

// DefaultProject is the project that exists from the first start, and cannot be deleted: the CLI's things go there.
const DefaultProject = contract.PrefixProject + "default"

func (s *Store) createDefaultProject(ctx context.Context) error {
	return s.CreateProject(ctx, Project{ID: DefaultProject, Name: "default"})
}

// CreateProject adds a project; one that exists stays as it is.
func (s *Store) CreateProject(ctx context.Context, p Project) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		p.CreatedAt, p.UpdatedAt, p.Version = tx.now, tx.now, 1
		setDefault(&p.Status, ProjectActive)
		_, err := tx.NewInsert().Model(&p).On("CONFLICT (id) DO NOTHING").Exec(ctx)
		return err
	})
}

// GetProject returns a project, deleted ones too, or not_found.
func (s *Store) GetProject(ctx context.Context, id string) (*Project, error) {
	return findByID[Project](ctx, s.reader, "project", id)
}

// ProjectFilter narrows a list of projects. Without a Status it has active and archived ones. Text is a part of the name,
// the description or the goal.
type ProjectFilter struct {
	Status string
	Text   string
	Cursor string
	Limit  int
}

// ListProjects lists projects, newest first.
func (s *Store) ListProjects(ctx context.Context, f ProjectFilter) (Page[Project], error) {
	page := Filter{Cursor: f.Cursor, Limit: f.Limit, also: []string{f.Status, f.Text}, where: func(q *bun.SelectQuery) *bun.SelectQuery {
		if f.Text != "" {
			q = q.WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery {
				return containing(q, f.Text, "name", "description", "goal")
			})
		}
		switch f.Status {
		case ProjectDeleted:
			return q.Where("deleted_at IS NOT NULL")
		case "":
			return q.Where("deleted_at IS NULL")
		default:
			return q.Where("deleted_at IS NULL").Where("status = ?", f.Status)
		}
	}}
	return list(ctx, s.reader, page, columns{noStatus: "see ProjectFilter"}, func(p Project) place { return place{p.ID, p.Name, p.CreatedAt, p.UpdatedAt} })
}

var likeEscape = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// containing narrows a query to rows in which one of the columns has the text, in any case.
func containing(q *bun.SelectQuery, text string, columns ...string) *bun.SelectQuery {
	for _, column := range columns {
		q = q.WhereOr(`? LIKE ? ESCAPE '\'`, bun.Ident(column), pattern(text))
	}
	return q
}

// ChangeProject applies a change to a project and makes a new version of it. With ifVersion other than 0 it fails with
// precondition if the project has another version by now.
func (s *Store) ChangeProject(ctx context.Context, id string, ifVersion int64, change func(*Project) error) (*Project, error) {
	var changed *Project
	err := s.write(ctx, func(ctx context.Context, tx *txn) error {
		p, err := findByID[Project](ctx, tx, "project", id)
		if err != nil {
			return err
		}
		if err := sameVersion("project", p.Version, ifVersion); err != nil {
			return err
		}
		if err := change(p); err != nil {
			return err
		}
		p.Version, p.UpdatedAt, changed = p.Version+1, tx.now, p
		_, err = tx.NewUpdate().Model(p).WherePK().Exec(ctx)
		return err
	})
	return changed, err
}

// takesNew refuses what was just created unless its project is within reach and active. VibeFlow's own contexts finish
// what they have begun, wherever it belongs.
func (t *txn) takesNew(ctx context.Context, kind contract.Kind, id string) error {
	if _, limited := AccessOf(ctx); !limited {
		return nil
	}
	var projectID string
	if err := t.NewSelect().Table(projectionTables[kind]).Column("project_id").Where("id = ?", id).Scan(ctx, &projectID); err != nil {
		return err
	}
	return t.projectTakesNew(ctx, projectID)
}

// projectTakesNew refuses a project that is not within reach, or takes nothing new.
func (t *txn) projectTakesNew(ctx context.Context, id string) error {
	p, err := findByID[Project](ctx, t, "project", id)
	if err != nil {
		return err
	}
	return p.takesNew()
}

func (p *Project) takesNew() error {
	switch {
	case !p.DeletedAt.IsZero():
		return contract.Errorf(contract.CodeConflict, "the project %q is deleted", p.Name).On("project_id").Mend("restore it first")
	case p.Status == ProjectArchived:
		return contract.Errorf(contract.CodeConflict, "the project %q is archived", p.Name).On("project_id").Mend("take it out of the archive first")
	default:
		return nil
	}
}

// ProjectTakingNew returns a project in which something new may start, or not_found, or a conflict that says what to do.
func (s *Store) ProjectTakingNew(ctx context.Context, id string) (*Project, error) {
	p, err := s.GetProject(ctx, id)
	if err == nil {
		err = p.takesNew()
	}
	return p, err
}

// OldestProject returns the oldest active project within reach, the caller's own before those that others share, or
// not_found: where a caller's things go that name no project.
func (s *Store) OldestProject(ctx context.Context) (*Project, error) {
	var p Project
	access, _ := AccessOf(ctx)
	q := s.reader.NewSelect().Model(&p).Where("status = ?", ProjectActive).Where("deleted_at IS NULL").
		OrderExpr("user_id IS ? DESC, created_at, id", access.UserID).Limit(1)
	err := within[Project](ctx, s.reader, q).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, contract.Errorf(contract.CodeNotFound, "there is no active project").On("project_id").Mend("make one: POST /api/projects")
	}
	return &p, err
}

// Contents is what a project holds. Bytes are of stored objects; Active counts runs under way and models served.
type Contents struct {
	Datasets, Models, Jobs, Evaluations, Deployments, Exports, Pipelines, Keys int
	Bytes                                                                      int64
	Active                                                                     int
}

// ProjectUndo is for how long a deleted project can be restored.
const ProjectUndo = 14 * 24 * time.Hour

// under selects the statuses in which a run holds a machine or waits for one.
const under = `('queued', 'running', 'pausing', 'paused', 'cancelling', 'stopping', 'serving', 'awaiting_confirmation')`

// ProjectContents counts what a project holds.
func (s *Store) ProjectContents(ctx context.Context, id string) (Contents, error) {
	return contentsOf(ctx, s.reader, id)
}

func contentsOf(ctx context.Context, db bun.IDB, id string) (Contents, error) {
	var c Contents
	for table, to := range map[string]*int{"datasets": &c.Datasets, "models": &c.Models, "training_jobs": &c.Jobs, "evaluations": &c.Evaluations,
		"deployments": &c.Deployments, "exports": &c.Exports, "pipelines": &c.Pipelines} {
		active := `0`
		if table != "models" {
			active = `COALESCE(SUM(status IN ` + under + `), 0)`
		}
		var busy int
		row := db.QueryRowContext(ctx, `SELECT COUNT(*), `+active+` FROM `+table+` WHERE project_id = ?`, id)
		if err := row.Scan(to, &busy); err != nil {
			return c, err
		}
		c.Active += busy
	}
	if err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM api_keys WHERE project_id = ? AND revoked_at IS NULL`, id).Scan(&c.Keys); err != nil {
		return c, err
	}
	err := db.QueryRowContext(ctx, `SELECT COALESCE(SUM(size), 0) FROM objects WHERE id IN (`+objectsOfProject+`)`, id, id, id, id, id, id).Scan(&c.Bytes)
	return c, err
}

// objectsOfProject selects the objects that a project's datasets, runs and models keep.
const objectsOfProject = `SELECT object_id FROM datasets WHERE project_id = ?
  UNION SELECT json_extract(train, '$.object_id') FROM datasets WHERE project_id = ? AND train IS NOT NULL
  UNION SELECT json_extract(eval, '$.object_id') FROM datasets WHERE project_id = ? AND eval IS NOT NULL
  UNION SELECT b.object_id FROM run_blobs AS b JOIN training_jobs AS j ON j.id = b.run_id WHERE j.project_id = ?
  UNION SELECT b.object_id FROM run_blobs AS b JOIN exports AS x ON x.id = b.run_id WHERE x.project_id = ?
  UNION SELECT r.object_id FROM object_refs AS r JOIN models AS m ON r.owner = 'model/' || m.id WHERE m.project_id = ?`

// DeleteProject marks a project as deleted: with all that it holds it is out of everybody's reach, until it is restored or
// ProjectUndo has passed. A conflict while something in it is under way. With
// ifVersion other than 0 it fails with precondition if the project has another version by now.
func (s *Store) DeleteProject(ctx context.Context, id string, ifVersion int64) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		p, err := findByID[Project](ctx, tx, "project", id)
		if err == nil {
			err = sameVersion("project", p.Version, ifVersion)
		}
		if err != nil || !p.DeletedAt.IsZero() {
			return err
		}
		if id == DefaultProject {
			return contract.Errorf(contract.CodeConflict, "the default project stays").On("id").Mend("archive it, or delete what is in it")
		}
		held, err := contentsOf(ctx, tx, id)
		if err != nil {
			return err
		}
		if held.Active > 0 {
			return contract.Errorf(contract.CodeConflict, "%d runs or deployments of the project are under way", held.Active).On("status").
				Mend("cancel or stop them first")
		}
		p.DeletedAt, p.UpdatedAt, p.Version = tx.now, tx.now, p.Version+1
		_, err = tx.NewUpdate().Model(p).WherePK().Exec(ctx)
		return err
	})
}

// ProjectsToPurge lists deleted projects whose time for a restoration is over.
func (s *Store) ProjectsToPurge(ctx context.Context) (ids []string, err error) {
	err = s.reader.NewSelect().Table("projects").Column("id").Where("deleted_at <= ?", stamp(s.now().Add(-ProjectUndo))).Scan(ctx, &ids)
	return ids, err
}

// PurgeProject removes a deleted project with all that it holds, a resource a transaction, so that others get their turn;
// what a crash leaves, the next call removes. It returns the objects that nothing needs any more, for the caller to discard.
func (s *Store) PurgeProject(ctx context.Context, id string) (freed []string, err error) {
	held := map[contract.Kind][]string{}
	for kind, table := range projectionTables {
		var ids []string
		if err := s.reader.NewSelect().Table(table).Column("id").Where("project_id = ?", id).Scan(ctx, &ids); err != nil {
			return nil, err
		}
		held[kind] = ids
	}
	for kind, ids := range held {
		for _, resource := range ids {
			gone, err := s.purgeResource(ctx, kind, resource)
			if err != nil {
				return freed, err
			}
			freed = append(freed, gone...)
		}
	}
	gone, err := s.eraseProject(ctx, id)
	return append(freed, gone...), err
}

func (s *Store) purgeResource(ctx context.Context, kind contract.Kind, id string) (freed []string, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *txn) error {
		objects, err := tx.eraseResource(ctx, kind, id)
		if err != nil {
			return err
		}
		freed, _, err = tx.free(ctx, objects)
		return err
	})
	return freed, err
}
