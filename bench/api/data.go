//go:build unix

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/sqlite"
	"github.com/vibeflow/vibeflow/internal/store"
)

const (
	watchedJob  = "job_00000042"
	curvePoints = 5000
	datasets    = 500
)

// fill makes a database with a number of jobs, and returns an API key. The rows are written past the event log, which no
// call that is measured reads: writing a hundred thousand histories would take the better part of an hour.
func fill(ctx context.Context, dir *datadir.Dir, jobs int) (key string, err error) {
	if key, err = prepare(ctx, dir); err != nil {
		return "", err
	}
	db, err := sqlite.Open(dir.AppDB(), 1, "_pragma=synchronous(OFF)")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = tx.Rollback() }()
	if err := insertRows(ctx, tx, jobs); err != nil {
		return "", err
	}
	if err := tx.Commit(); err != nil {
		return "", err
	}
	_, err = db.ExecContext(ctx, `ANALYZE`)
	return key, err
}

// prepare makes the tables, the catalog and a key.
func prepare(ctx context.Context, dir *datadir.Dir) (key string, err error) {
	master, err := dir.MasterKey()
	if err != nil {
		return "", err
	}
	pepper, err := dir.Key(datadir.SecretJWTKey)
	if err != nil {
		return "", err
	}
	s, err := store.Open(ctx, store.Options{Path: dir.AppDB(), MasterKey: master})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.UpsertCatalog(ctx, catalog.Rows()); err != nil {
		return "", err
	}
	key = auth.NewKey()
	return key, s.CreateAPIKey(ctx, store.APIKey{ID: "key_bench", ProjectID: store.DefaultProject, Name: "bench", KeyHash: auth.HashKey(pepper, key),
		Scopes: []contract.Scope{contract.ScopeInference}})
}

const config = `{"method":"lora","epochs":3,"max_steps":0,"learning_rate":0.0002,"scheduler":"cosine","warmup_ratio":0.1,"weight_decay":0,"max_grad_norm":1,
"batch_size":4,"gradient_accumulation_steps":2,"max_length":512,"completion_only":true,"gradient_checkpointing":false,"precision":"auto","seed":42,
"lora":{"r":16,"alpha":16,"dropout":0,"target_modules":"all-linear"},"checkpoint":{"every_steps":100,"every_seconds":60},"eval_every_steps":0}`

func insertRows(ctx context.Context, tx *sql.Tx, jobs int) error {
	at := func(n int) string {
		return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Minute).Format("2006-01-02 15:04:05.999999-07:00")
	}
	for n := range datasets {
		_, err := tx.ExecContext(ctx, `INSERT INTO datasets (id, project_id, name, file_name, object_id, sha256, size, format, canonical, rows, train_rows, eval_rows, status, seq, created_at, updated_at)
VALUES (?, ?, ?, 'rows.jsonl', ?, ?, 100000, 'openai', 'chat', 1000, 900, 100, 'ready', 9, ?, ?)`,
			fmt.Sprintf("ds_%08d", n), store.DefaultProject, fmt.Sprintf("questions %d", n), fmt.Sprintf("obj_%d", n), fmt.Sprintf("%064d", n), at(n), at(n))
		if err != nil {
			return err
		}
	}
	insert, err := tx.PrepareContext(ctx, `INSERT INTO training_jobs (id, project_id, name, dataset_id, model_id, queue, config, status, epoch, worker, step, total_steps, data_epoch, loss, learning_rate,
tokens_per_second, eval_loss, best_eval_loss, device, precision, seq, created_at, queued_at, started_at, completed_at, updated_at)
VALUES (?, ?, ?, ?, 'smollm2-135m-instruct', 'cpu', ?, ?, 1, 'host/main/boot', 84, 84, 3, 1.2, 0.0001, 240, 1.3, 1.3, 'cpu', 'bf16', 120, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	defer func() { _ = insert.Close() }()
	for n := range jobs {
		_, err := insert.ExecContext(ctx, fmt.Sprintf("job_%08d", n), store.DefaultProject, fmt.Sprintf("run %d of %d", n*7919%jobs, n%37), fmt.Sprintf("ds_%08d", n%datasets),
			config, status(n), at(n), at(n), at(n), at(n+5), at(n+5))
		if err != nil {
			return err
		}
	}
	for step := range curvePoints {
		_, err := tx.ExecContext(ctx, `INSERT INTO metric_points (job_id, split, step, data_epoch, loss, learning_rate, grad_norm, tokens_per_second) VALUES (?, 'train', ?, ?, ?, 0.0001, 1, 240)`,
			watchedJob, step+1, float64(step)/1000, 3/(1+float64(step)/500))
		if err != nil {
			return err
		}
	}
	return nil
}

// status is that of most jobs completed; a few fail, wait or run.
func status(n int) string {
	switch {
	case n%50 == 7:
		return "failed"
	case n%1000 == 3:
		return "queued"
	case n%2000 == 5:
		return "running"
	default:
		return "completed"
	}
}
