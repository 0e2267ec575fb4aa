//go:build unix

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

// stream is one resource's events as a client saw them, live, across whatever happened.
type stream struct {
	mu   sync.Mutex
	seqs []int64
	// changed has room for one: somebody may wait for what an event brings.
	changed chan struct{}
	take    func(contract.Event)
}

func newStream(take func(contract.Event)) *stream {
	return &stream{changed: make(chan struct{}, 1), take: take}
}

// follow watches to the resource's end.
func (s *stream) follow(ctx context.Context, c *apiclient.Client, path string) error {
	return c.Follow(ctx, path+"/events", 0, func(e contract.Event) error {
		s.mu.Lock()
		s.seqs = append(s.seqs, e.Seq)
		if s.take != nil {
			s.take(e)
		}
		s.mu.Unlock()
		select {
		case s.changed <- struct{}{}:
		default:
		}
		return nil
	}, nil)
}

// await waits until there says so, which is asked after every event.
func (s *stream) await(ctx context.Context, there func() bool) error {
	for {
		s.mu.Lock()
		done := there()
		s.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// count tells how many of the events 1 to the last are missing, and how many came more than once.
func (s *stream) count() (missing, twice int) {
	seen, last := map[int64]bool{}, int64(0)
	for _, seq := range s.seqs {
		if seen[seq] {
			twice++
		}
		seen[seq] = true
		last = max(last, seq)
	}
	return int(last) - len(seen), twice
}

// training is a job's story: what must be the same whatever happens.
type training struct {
	*stream
	id      string
	losses  map[int]string // by step, as the runner printed them
	samples map[int]string
	adapter string // digest
	// last is the last step told, lost how many were told again, differs why a repetition was none.
	last, lost int
	differs    error
	killed     time.Time
	before     int           // the last step before the kill
	recovery   time.Duration // until a client saw a later step, trained after it
}

func (c *chaos) startTraining(ctx context.Context, config apigen.TrainingOverrides) (*training, error) {
	job, err := apiclient.Start[apigen.Job](ctx, c.Client, "/api/training/start", apigen.StartTraining{DatasetID: c.dataset.ID, ModelID: tinyModel, Config: config})
	t := &training{id: job.ID, losses: map[int]string{}, samples: map[int]string{}}
	t.stream = newStream(t.note)
	return t, err
}

func (t *training) path() string { return "/api/training/" + t.id }

// note takes an event; one step trained again must bring what it brought before.
func (t *training) note(e contract.Event) {
	if e.Type != contract.RunnerMetrics {
		return
	}
	var m struct {
		Step    int         `json:"step"`
		Loss    json.Number `json:"loss"`
		Samples string      `json:"samples"`
	}
	if err := json.Unmarshal(e.Payload, &m); err != nil {
		t.differs = err
		return
	}
	if before, again := t.losses[m.Step]; again {
		t.lost++
		if before != m.Loss.String() {
			t.differs = fmt.Errorf("step %d was trained again and brought the loss %s, not %s", m.Step, m.Loss, before)
		}
	}
	t.losses[m.Step], t.samples[m.Step] = m.Loss.String(), m.Samples
	t.last = max(t.last, m.Step)
	// What was trained before the kill may arrive after it.
	if !t.killed.IsZero() && t.recovery == 0 && m.Step > t.before && e.At.After(t.killed) {
		t.recovery = time.Since(t.killed)
	}
}

// mark notes that the target is dead.
func (t *training) mark() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.killed, t.before = time.Now(), t.last
}

// finish reads what the job made, once its stream has ended.
func (t *training) finish(ctx context.Context, c *apiclient.Client) (apigen.Job, error) {
	var job apigen.Job
	var model apigen.Model
	err := untilAnswered(ctx, func() (err error) {
		job, err = apiclient.Get[apigen.Job](ctx, c, t.path(), nil)
		if err != nil || contract.Status(job.Status) != contract.StatusCompleted {
			return unfinished(string(job.Status), job.Error.Message, err)
		}
		model, err = apiclient.Get[apigen.Model](ctx, c, "/api/models/"+job.TunedModelID, nil)
		return err
	})
	for _, file := range model.Files {
		if file.Path == "adapter_model.safetensors" {
			t.adapter = file.SHA256
		}
	}
	return job, err
}

// sameAs compares with the undisturbed run.
func (t *training) sameAs(reference *training) error {
	if t.differs != nil {
		return t.differs
	}
	if len(t.losses) != len(reference.losses) {
		return fmt.Errorf("%d steps were told, not %d", len(t.losses), len(reference.losses))
	}
	for step, loss := range reference.losses {
		if t.losses[step] != loss || t.samples[step] != reference.samples[step] {
			return fmt.Errorf("step %d had the loss %s on samples %s, not %s on %s", step, t.losses[step], t.samples[step], loss, reference.samples[step])
		}
	}
	if t.adapter != reference.adapter {
		return fmt.Errorf("the adapter is %s, not %s", t.adapter, reference.adapter)
	}
	return nil
}
