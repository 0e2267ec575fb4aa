//go:build unix

package benchmark

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/platform"
)

// Job is a training job that has completed.
type Job struct {
	ID        string
	Requested time.Time // just before the request that started it
	Events    []contract.Event
}

// Train starts a job and follows it to its end; see, which may be nil, is told of each event as it arrives.
func Train(ctx context.Context, p *platform.Platform, request apigen.StartTraining, see func(contract.Event) error) (Job, error) {
	job := Job{Requested: time.Now()}
	started, err := apiclient.Start[apigen.Job](ctx, p.Client, "/api/training/start", request)
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
