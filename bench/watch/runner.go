//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/bench/internal/benchmark"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/gatewayclient"
	"github.com/vibeflow/vibeflow/internal/store"
)

const (
	jobID  = "job_watched"
	worker = "bench/main/1"
)

// fill makes a dataset that can be trained on, and a job that waits for a worker.
func fill(dir *datadir.Dir) (err error) {
	ctx := context.Background()
	key, err := dir.MasterKey()
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Options{Path: dir.AppDB(), MasterKey: key})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	blobs, err := artifact.Open(ctx, artifact.Options{BucketURL: artifact.FolderURL(dir.Blobs()), MasterKey: key, Index: s, SpoolDir: dir.Spool()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blobs.Close()) }()
	if err := s.UpsertCatalog(ctx, catalog.Rows()); err != nil {
		return err
	}
	rows, err := blobs.Put(ctx, artifact.PutInput{Reader: strings.NewReader(`{"prompt":"q","completion":"a"}` + "\n")})
	if err != nil {
		return err
	}
	ref := contract.ObjectRef{ObjectID: rows.ID, SHA256: rows.SHA256, Size: rows.Size}
	if err := create(ctx, s, contract.KindDataset, "ds_watched", contract.DatasetCreated{ProjectID: store.DefaultProject, Name: "rows", FileName: "rows.jsonl",
		ObjectID: rows.ID, SHA256: rows.SHA256, Size: rows.Size}); err != nil {
		return err
	}
	processed, err := json.Marshal(contract.DatasetProcessed{Format: "prompt_completion", Canonical: "prompt_completion", Rows: 1, TrainRows: 1, Train: &ref})
	if err != nil {
		return err
	}
	if _, err := s.Append(ctx, contract.Stream(contract.KindDataset, "ds_watched"),
		contract.NewEvent{Type: contract.EventType(contract.KindDataset, contract.EventCompleted), Payload: processed}); err != nil {
		return err
	}
	return create(ctx, s, contract.KindJob, jobID, contract.JobCreated{ProjectID: store.DefaultProject, Name: "watched", DatasetID: "ds_watched",
		ModelID: catalog.Rows()[0].ID, Queue: "cpu"})
}

func create(ctx context.Context, s *store.Store, kind contract.Kind, id string, payload any) error {
	_, err := s.Create(ctx, store.Creation{Kind: kind, ID: id, Payload: payload})
	return err
}

// runner plays a worker with a run; sent is the number of its events.
type runner struct {
	door  *gatewayclient.Run
	epoch int64
	sent  int
}

func claim(ctx context.Context, s *benchmark.Server) (*runner, error) {
	token, err := s.Dir.Token(datadir.SecretWorkerToken)
	if err != nil {
		return nil, err
	}
	client, err := gatewayclient.New("http://"+s.Address, token)
	if err != nil {
		return nil, err
	}
	claimed, err := client.Claim(ctx, jobID, contract.ClaimRequest{Worker: worker})
	if err != nil {
		return nil, err
	}
	return &runner{door: client.Run(jobID, worker, claimed), epoch: claimed.Epoch}, nil
}

// send sends events at a steady rate, one at a time, as a worker does that follows a fast run.
func (r *runner) send(ctx context.Context, perSecond, events int) error {
	ticker := time.NewTicker(time.Second / time.Duration(perSecond))
	defer ticker.Stop()
	for range events {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		r.sent++
		now := time.Now()
		line := fmt.Sprintf(`{"n":%d,"type":"metrics","at":%q,"step":%d,"epoch":0.5,"loss":1.5,"learning_rate":0.0002,"grad_norm":0.9,"tokens_per_second":240,"sent":%d}`,
			r.sent, now.UTC().Format(time.RFC3339Nano), r.sent, now.UnixMicro())
		if _, err := r.door.SendEvents(ctx, contract.EventBatch{Epoch: r.epoch, First: int64(r.sent), Lines: []json.RawMessage{json.RawMessage(line)}}); err != nil {
			return err
		}
	}
	return nil
}
