package store

import (
	"context"
	"fmt"

	"github.com/vibeflow/vibeflow/contract"
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
		points, err := s.points(ctx, jobID, split)
		if err != nil {
			return Curves{}, fmt.Errorf("read metrics of %s: %w", jobID, err)
		}
		*to = downsample(points, maxPoints)
	}
	return curves, nil
}

// points reads a curve. It scans by hand: bun would take longer for the thousands of them than everything else.
func (s *Store) points(ctx context.Context, jobID, split string) (points []MetricPoint, err error) {
	rows, err := s.reader.QueryContext(ctx, `SELECT step, data_epoch, loss, learning_rate, grad_norm, tokens_per_second FROM metric_points WHERE job_id = ? AND split = ? ORDER BY step`, jobID, split)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		p := MetricPoint{JobID: jobID, Split: split}
		if err := rows.Scan(&p.Step, &p.DataEpoch, &p.Loss, &p.LearningRate, &p.GradNorm, &p.TokensPerSecond); err != nil {
			return nil, err
		}
		points = append(points, p)
	}
	return points, rows.Err()
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
