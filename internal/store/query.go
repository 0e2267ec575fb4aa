package store

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// Filter narrows a list. Lists go from the newest to the oldest; Cursor is the Next of the page before. Limit ≤ 0 means
// 50, and no page has more than 200 rows. Fields that a table lacks are refused (invalid).
type Filter struct {
	ProjectID  string
	Status     []contract.Status
	DatasetID  string // jobs, evaluations
	ModelID    string // jobs, evaluations, deployments, exports
	JobID      string // evaluations, models
	PipelineID string // jobs, evaluations, deployments
	Cursor     string
	Limit      int

	// where narrows further, for lists with filters of their own.
	where func(*bun.SelectQuery) *bun.SelectQuery
}

// Page is a part of a list. Next is the cursor of what follows, empty at the end.
type Page[R any] struct {
	Items []R    `json:"items"`
	Next  string `json:"next,omitempty"`
}

const (
	defaultPage = 50
	maxPage     = 200
)

// GetDataset returns a dataset, or not_found.
func (s *Store) GetDataset(ctx context.Context, id string) (*Dataset, error) {
	return findByID[Dataset](ctx, s.reader, contract.KindDataset, id)
}

// GetJob returns a training job, or not_found.
func (s *Store) GetJob(ctx context.Context, id string) (*Job, error) {
	return findByID[Job](ctx, s.reader, contract.KindJob, id)
}

// GetEvaluation returns an evaluation, or not_found.
func (s *Store) GetEvaluation(ctx context.Context, id string) (*Evaluation, error) {
	return findByID[Evaluation](ctx, s.reader, contract.KindEvaluation, id)
}

// GetDeployment returns a deployment, or not_found.
func (s *Store) GetDeployment(ctx context.Context, id string) (*Deployment, error) {
	return findByID[Deployment](ctx, s.reader, contract.KindDeployment, id)
}

// GetExport returns an export, or not_found.
func (s *Store) GetExport(ctx context.Context, id string) (*Export, error) {
	return findByID[Export](ctx, s.reader, contract.KindExport, id)
}

// GetPipeline returns a pipeline, or not_found.
func (s *Store) GetPipeline(ctx context.Context, id string) (*Pipeline, error) {
	return findByID[Pipeline](ctx, s.reader, contract.KindPipeline, id)
}

// ListDatasets lists datasets, newest first.
func (s *Store) ListDatasets(ctx context.Context, f Filter) (Page[Dataset], error) {
	return list(ctx, s.reader, f, columns{}, func(d Dataset) (time.Time, string) { return d.CreatedAt, d.ID })
}

// ListJobs lists training jobs, newest first.
func (s *Store) ListJobs(ctx context.Context, f Filter) (Page[Job], error) {
	return list(ctx, s.reader, f, columns{dataset: "dataset_id", model: "model_id", pipeline: "pipeline_id"},
		func(j Job) (time.Time, string) { return j.CreatedAt, j.ID })
}

// ListEvaluations lists evaluations, newest first.
func (s *Store) ListEvaluations(ctx context.Context, f Filter) (Page[Evaluation], error) {
	return list(ctx, s.reader, f, columns{dataset: "dataset_id", model: "model_id", job: "training_job_id", pipeline: "pipeline_id"},
		func(v Evaluation) (time.Time, string) { return v.CreatedAt, v.ID })
}

// ListDeployments lists deployments, newest first.
func (s *Store) ListDeployments(ctx context.Context, f Filter) (Page[Deployment], error) {
	return list(ctx, s.reader, f, columns{model: "model_id", pipeline: "pipeline_id"},
		func(d Deployment) (time.Time, string) { return d.CreatedAt, d.ID })
}

// ListExports lists exports, newest first.
func (s *Store) ListExports(ctx context.Context, f Filter) (Page[Export], error) {
	return list(ctx, s.reader, f, columns{model: "model_id"}, func(x Export) (time.Time, string) { return x.CreatedAt, x.ID })
}

// ListPipelines lists pipelines, newest first.
func (s *Store) ListPipelines(ctx context.Context, f Filter) (Page[Pipeline], error) {
	return list(ctx, s.reader, f, columns{}, func(p Pipeline) (time.Time, string) { return p.CreatedAt, p.ID })
}

// columns names those columns of a table that a Filter can narrow by, beside project_id and status.
type columns struct{ dataset, model, job, pipeline, noStatus string }

func list[R any](ctx context.Context, db database, f Filter, cols columns, key func(R) (time.Time, string)) (Page[R], error) {
	limit := f.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, maxPage)
	items := make([]R, 0, limit)
	q := within[R](ctx, db, db.NewSelect().Model(&items).OrderExpr("created_at DESC, id DESC").Limit(int64(limit)+1))
	if f.where != nil {
		q = f.where(q)
	}
	if f.ProjectID != "" {
		q = q.Where("project_id = ?", f.ProjectID)
	}
	if len(f.Status) > 0 && cols.noStatus == "" {
		q = q.Where("status IN (?)", bun.List(f.Status))
	}
	for _, n := range []struct{ name, column, value string }{{"dataset_id", cols.dataset, f.DatasetID},
		{"model_id", cols.model, f.ModelID}, {"job_id", cols.job, f.JobID}, {"pipeline_id", cols.pipeline, f.PipelineID}} {
		if n.value == "" {
			continue
		}
		if n.column == "" {
			return Page[R]{}, contract.Errorf(contract.CodeInvalid, "this list cannot be narrowed by %s", n.name).On(n.name)
		}
		q = q.Where("? = ?", bun.Ident(n.column), n.value)
	}
	if f.Cursor != "" {
		at, id, err := parseCursor(f.Cursor)
		if err != nil {
			return Page[R]{}, err
		}
		q = q.Where("(created_at, id) < (?, ?)", at, id)
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
		page.Next = cursor(key(items[limit-1]))
	}
	return page, nil
}

func cursor(at time.Time, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(at.UTC().Format(time.RFC3339Nano) + " " + id))
}

func parseCursor(c string) (time.Time, string, error) {
	bad := badCursor()
	raw, err := base64.RawURLEncoding.DecodeString(c)
	if err != nil {
		return time.Time{}, "", bad
	}
	stamp, id, ok := strings.Cut(string(raw), " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if !ok || err != nil {
		return time.Time{}, "", bad
	}
	return at.UTC(), id, nil
}

// QueuePosition tells how many runs of the same queue go before this one, plus one; 0 for a run that is not waiting.
// Training, evaluations and exports share a queue's slots; a resumed run goes first.
func (s *Store) QueuePosition(ctx context.Context, runID string) (int, error) {
	const waiting = `WITH waiting AS (
  SELECT id, queue, priority, queued_at FROM training_jobs WHERE status = 'queued' AND queued_at IS NOT NULL
  UNION ALL SELECT id, queue, priority, queued_at FROM evaluations WHERE status = 'queued' AND queued_at IS NOT NULL
  UNION ALL SELECT id, queue, priority, queued_at FROM exports WHERE status = 'queued' AND queued_at IS NOT NULL)
SELECT COUNT(*) FROM waiting AS me JOIN waiting AS other ON other.queue = me.queue
  AND (-other.priority, other.queued_at, other.id) <= (-me.priority, me.queued_at, me.id) WHERE me.id = ?`
	var n int
	err := s.reader.QueryRowContext(ctx, waiting, runID).Scan(&n)
	return n, err
}

// MetricBucket is one bucket of a downsampled curve: its last point, and the range of the loss within it. Where nothing
// was left out, Points is 1 and both ends of the range are the point's own loss.
type MetricBucket struct {
	MetricPoint
	LossMin *float64 `json:"loss_min"`
	LossMax *float64 `json:"loss_max"`
	Points  int      `json:"points"`
}

// Curves are a job's metrics by step, each step once with its newest value.
type Curves struct {
	Train []MetricBucket `json:"train"`
	Eval  []MetricBucket `json:"eval"`
}

// Metrics returns a job's curves with at most maxPoints buckets each (≤ 0: 1000).
func (s *Store) Metrics(ctx context.Context, jobID string, maxPoints int) (Curves, error) {
	if maxPoints <= 0 {
		maxPoints = 1000
	}
	if _, err := s.GetJob(ctx, jobID); err != nil {
		return Curves{}, err
	}
	var curves Curves
	for split, to := range map[string]*[]MetricBucket{SplitTrain: &curves.Train, SplitEval: &curves.Eval} {
		var points []MetricPoint
		err := s.reader.NewSelect().Model(&points).Where("job_id = ?", jobID).Where("split = ?", split).Order("step").Scan(ctx)
		if err != nil {
			return Curves{}, fmt.Errorf("read metrics of %s: %w", jobID, err)
		}
		*to = downsample(points, maxPoints)
	}
	return curves, nil
}

// downsample cuts points into at most n runs of equal count, and keeps each run's last point and its loss's range, so
// that a spike never disappears.
func downsample(points []MetricPoint, n int) []MetricBucket {
	buckets := make([]MetricBucket, 0, min(len(points), n))
	count := min(len(points), n)
	for i := range count {
		run := points[i*len(points)/count : (i+1)*len(points)/count]
		b := MetricBucket{MetricPoint: run[len(run)-1], Points: len(run)}
		for _, p := range run {
			b.LossMin, b.LossMax = extreme(b.LossMin, p.Loss, -1), extreme(b.LossMax, p.Loss, 1)
		}
		buckets = append(buckets, b)
	}
	return buckets
}

// extreme returns the larger (sign 1) or smaller (sign -1) of two values, of which either may be missing.
func extreme(have, v *float64, sign float64) *float64 {
	if have == nil || (v != nil && sign**v > sign**have) {
		return v
	}
	return have
}
