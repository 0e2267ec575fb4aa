package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// Filter narrows and orders a list. Cursor is the Next of the page before, of the same filter and order. Limit ≤ 0 means 50,
// and no page has more than 200 rows. What a table lacks is refused (invalid).
type Filter struct {
	ProjectID  string
	Status     []contract.Status
	DatasetID  string   // jobs, evaluations
	ModelID    string   // jobs, evaluations, deployments, exports; of models: what they were tuned from
	JobID      string   // evaluations, models
	PipelineID string   // jobs, evaluations, deployments
	Kind       string   // models: ModelBase, ModelTuned
	Tags       []string // datasets, jobs, models: those that have all of these
	Text       string   // a part of the name, in any case; where there is none, of the model's
	Sort       Sort
	Cursor     string `json:"-"`
	Limit      int    `json:"-"`

	// where narrows further, for lists with filters of their own; also says by what, so that cursors of others are known.
	where func(*bun.SelectQuery) *bun.SelectQuery
	also  []string
}

// Sort is the order of a list; empty means SortNewest.
type Sort string

// The orders; "-" goes from the last to the first.
const (
	SortOldest      Sort = "created"
	SortNewest      Sort = "-created"
	SortUpdated     Sort = "updated"
	SortUpdatedLast Sort = "-updated"
	SortName        Sort = "name"
	SortNameDown    Sort = "-name"
)

// The kinds of models.
const (
	ModelBase  = "base"
	ModelTuned = "tuned"
)

// Page is a part of a list. Next is the cursor of what follows, empty at the end.
type Page[R any] struct {
	Items []R    `json:"items"`
	Next  string `json:"next,omitempty"`
}

const (
	defaultPage = 50
	maxPage     = 200
)

// ListDatasets lists datasets, newest first unless the filter says otherwise, as all lists.
func (s *Store) ListDatasets(ctx context.Context, f Filter) (Page[Dataset], error) {
	return list(ctx, s.reader, f, columns{tags: true}, func(d Dataset) place { return place{d.ID, d.Name, d.CreatedAt, d.UpdatedAt} })
}

// ListJobs lists training jobs.
func (s *Store) ListJobs(ctx context.Context, f Filter) (Page[Job], error) {
	return list(ctx, s.reader, f, columns{tags: true, dataset: "dataset_id", model: "model_id", pipeline: "pipeline_id"},
		func(j Job) place { return place{j.ID, j.Name, j.CreatedAt, j.UpdatedAt} })
}

// ListEvaluations lists evaluations.
func (s *Store) ListEvaluations(ctx context.Context, f Filter) (Page[Evaluation], error) {
	return list(ctx, s.reader, f, columns{noName: true, dataset: "dataset_id", model: "model_id", job: "training_job_id", pipeline: "pipeline_id"},
		func(v Evaluation) place { return place{v.ID, "", v.CreatedAt, v.UpdatedAt} })
}

// ListDeployments lists deployments.
func (s *Store) ListDeployments(ctx context.Context, f Filter) (Page[Deployment], error) {
	return list(ctx, s.reader, f, columns{noName: true, model: "model_id", pipeline: "pipeline_id"},
		func(d Deployment) place { return place{d.ID, "", d.CreatedAt, d.UpdatedAt} })
}

// ListExports lists exports.
func (s *Store) ListExports(ctx context.Context, f Filter) (Page[Export], error) {
	return list(ctx, s.reader, f, columns{noName: true, model: "model_id"}, func(x Export) place { return place{x.ID, "", x.CreatedAt, x.UpdatedAt} })
}

// ListPipelines lists pipelines.
func (s *Store) ListPipelines(ctx context.Context, f Filter) (Page[Pipeline], error) {
	return list(ctx, s.reader, f, columns{}, func(p Pipeline) place { return place{p.ID, p.Name, p.CreatedAt, p.UpdatedAt} })
}

// ListModels lists the catalog, models that users brought, and tuned ones.
func (s *Store) ListModels(ctx context.Context, f Filter) (Page[Model], error) {
	return list(ctx, s.reader, f, columns{kinds: true, tags: true, model: "base_model_id", job: "job_id", noStatus: "models have no status"},
		func(m Model) place { return place{m.ID, m.Name, m.CreatedAt, m.UpdatedAt} })
}

// ListAPIKeys lists keys.
func (s *Store) ListAPIKeys(ctx context.Context, f Filter) (Page[APIKey], error) {
	return list(ctx, s.reader, f, columns{noUpdated: true, noStatus: "keys have no status"},
		func(k APIKey) place { return place{k.ID, k.Name, k.CreatedAt, time.Time{}} })
}

// columns names those columns of a table that a Filter can narrow by, beside project_id, status and name.
type columns struct {
	dataset, model, job, pipeline, noStatus string
	noName, noUpdated, kinds, tags          bool
}

// place is where a row stands in a list.
type place struct {
	id, name         string
	created, updated time.Time
}

func list[R any](ctx context.Context, db database, f Filter, cols columns, at func(R) place) (Page[R], error) {
	limit := f.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, maxPage)
	items := make([]R, 0, limit)
	q := within[R](ctx, db, db.NewSelect().Model(&items).Limit(int64(limit)+1))
	q, err := f.narrow(q, cols)
	if err != nil {
		return Page[R]{}, err
	}
	if q, err = f.order(q, cols); err != nil {
		return Page[R]{}, err
	}
	if err := q.Scan(ctx); err != nil {
		return Page[R]{}, err
	}
	for i := range items {
		if err := db.openRow(&items[i]); err != nil {
			return Page[R]{}, err
		}
	}
	page := Page[R]{Items: items}
	if len(items) > limit {
		page.Items = items[:limit]
		page.Next = f.cursor(at(items[limit-1]))
	}
	return page, nil
}

func (f Filter) narrow(q *bun.SelectQuery, cols columns) (*bun.SelectQuery, error) {
	if f.where != nil {
		q = f.where(q)
	}
	if f.ProjectID != "" {
		q = q.Where("project_id = ?", f.ProjectID)
	}
	if len(f.Status) > 0 && cols.noStatus == "" {
		q = q.Where("status IN (?)", bun.List(f.Status))
	}
	if len(f.Tags) > 0 && !cols.tags {
		return q, contract.Errorf(contract.CodeInvalid, "this list cannot be narrowed by tag").On("tag")
	}
	q = tagged(q, f.Tags)
	if cols.kinds && f.Kind != "" {
		q = q.Where("(base_model_id <> '') = ?", f.Kind == ModelTuned)
	}
	for _, n := range []struct{ name, column, value string }{{"dataset_id", cols.dataset, f.DatasetID},
		{"model_id", cols.model, f.ModelID}, {"job_id", cols.job, f.JobID}, {"pipeline_id", cols.pipeline, f.PipelineID}} {
		if n.value == "" {
			continue
		}
		if n.column == "" {
			return q, contract.Errorf(contract.CodeInvalid, "this list cannot be narrowed by %s", n.name).On(n.name)
		}
		q = q.Where("? = ?", bun.Ident(n.column), n.value)
	}
	switch {
	case f.Text == "":
	case cols.noName:
		q = q.Where(`model_id IN (SELECT id FROM models WHERE name LIKE ? ESCAPE '\')`, pattern(f.Text))
	default:
		q = q.Where(`name LIKE ? ESCAPE '\'`, pattern(f.Text))
	}
	return q, nil
}

func pattern(text string) string { return "%" + likeEscape.Replace(text) + "%" }

// order sorts a list, and leaves out what comes before the cursor. The id decides between equals, so that every row has one
// place; a row that moves while somebody pages (its name or time of change did) may be seen twice or not at all.
func (f Filter) order(q *bun.SelectQuery, cols columns) (*bun.SelectQuery, error) {
	by, down := f.sort()
	column := map[string]string{"created": "created_at", "updated": "updated_at", "name": "name COLLATE NOCASE"}[by]
	if column == "" || (by == "name" && cols.noName) || (by == "updated" && cols.noUpdated) {
		return q, contract.Errorf(contract.CodeInvalid, "this list cannot be sorted by %q", string(f.Sort)).On("sort")
	}
	direction, after := "ASC", ">"
	if down {
		direction, after = "DESC", "<"
	}
	q = q.OrderExpr(column + " " + direction + ", id " + direction)
	if f.Cursor == "" {
		return q, nil
	}
	c, err := f.parseCursor()
	if err != nil {
		return q, err
	}
	if by == "name" { // SQLite searches no index for a pair of which one has a collation
		return q.Where(column+" "+after+"= ?", c.Name).Where("("+column+", id) "+after+" (?, ?)", c.Name, c.ID), nil
	}
	return q.Where("("+column+", id) "+after+" (?, ?)", stamp(c.At), c.ID), nil
}

func (f Filter) sort() (by string, down bool) {
	if f.Sort == "" {
		return "created", true
	}
	by, down = strings.CutPrefix(string(f.Sort), "-")
	return by, down
}

// listCursor is what a cursor says: the last row of its page, and a digest of the filter and the order that it goes on with.
type listCursor struct {
	Of   string    `json:"f"`
	ID   string    `json:"i"`
	Name string    `json:"n,omitempty"`
	At   time.Time `json:"t,omitzero"`
}

// digest stands for the filter and the order.
func (f Filter) digest() string {
	by, down := f.sort()
	text, _ := json.Marshal([]any{f, f.also, by, down}) // strings: cannot fail
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

func (f Filter) cursor(last place) string {
	c := listCursor{Of: f.digest(), ID: last.id}
	switch by, _ := f.sort(); by {
	case "name":
		c.Name = last.name
	case "updated":
		c.At = last.updated.UTC()
	default:
		c.At = last.created.UTC()
	}
	text, _ := json.Marshal(c) // strings and a time that the database gave: cannot fail
	return base64.RawURLEncoding.EncodeToString(text)
}

func (f Filter) parseCursor() (listCursor, error) {
	var c listCursor
	raw, err := base64.RawURLEncoding.DecodeString(f.Cursor)
	if err != nil || json.Unmarshal(raw, &c) != nil || c.ID == "" {
		return c, badCursor()
	}
	if c.Of != f.digest() {
		return c, contract.Errorf(contract.CodeInvalid, "the cursor belongs to another filter or order").On("cursor").
			Mend("repeat the filter and the order of the page that gave it, or start again without a cursor")
	}
	return c, nil
}
