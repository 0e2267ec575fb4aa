//go:build unix

package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

// Job is a training job that has completed.
type Job struct {
	ID        string
	Requested time.Time // just before the request that started it
	Events    []contract.Event
}

// Upload ingests a file's content and returns the dataset once it is ready.
func (p *Platform) Upload(ctx context.Context, name string, content []byte) (apigen.Dataset, error) {
	ds, err := p.Client.UploadDatasetFrom(ctx, bytes.NewReader(content), name, apiclient.Upload{})
	if err != nil {
		return ds, err
	}
	path := "/api/datasets/" + ds.ID
	if err := p.Client.Follow(ctx, path+"/events", 0, func(contract.Event) error { return nil }, nil); err != nil {
		return ds, err
	}
	if ds, err = apiclient.Get[apigen.Dataset](ctx, p.Client, path, nil); err != nil {
		return ds, err
	}
	if contract.Status(ds.Status) != contract.StatusReady {
		return ds, fmt.Errorf("%s was not read: %s", name, ds.Error.Message)
	}
	return ds, nil
}

// Train starts a job and follows it to its end; see, which may be nil, is told of each event as it arrives.
func (p *Platform) Train(ctx context.Context, request apigen.StartTraining, see func(contract.Event) error) (Job, error) {
	job := Job{Requested: time.Now()}
	started, err := apiclient.Post[apigen.Job](ctx, p.Client, "/api/training/start", request)
	if err != nil {
		return job, err
	}
	job.ID = started.ID
	path := "/api/training/" + job.ID
	err = p.Client.Follow(ctx, path+"/events", 0, func(e contract.Event) error {
		job.Events = append(job.Events, e)
		if see != nil {
			return see(e)
		}
		return nil
	}, nil)
	if err != nil {
		return job, p.Explain(err)
	}
	ended, err := apiclient.Get[apigen.Job](ctx, p.Client, path, nil)
	if err == nil && contract.Status(ended.Status) != contract.StatusCompleted {
		err = p.Explain(fmt.Errorf("the job is %s: %s", ended.Status, ended.Error.Message))
	}
	return job, err
}

// Find returns the first event of a type.
func (j Job) Find(kind string) (contract.Event, error) {
	for _, e := range j.Events {
		if e.Type == kind {
			return e, nil
		}
	}
	return contract.Event{}, errors.New("the job told nothing of " + kind)
}

// All decodes the payloads of every event of a type.
func All[T any](j Job, kind string) (payloads []T, err error) {
	for _, e := range j.Events {
		if e.Type != kind {
			continue
		}
		var payload T
		if err := json.Unmarshal(e.Payload, &payload); err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		payloads = append(payloads, payload)
	}
	return payloads, nil
}
