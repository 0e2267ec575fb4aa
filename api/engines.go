package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// engines finds out which engines answer. The log tells where one was put up last; whether it is still there, after its
// death or that of the whole machine, can only be asked.
type engines struct {
	mu     sync.Mutex
	seen   map[engineAt]engineSeen
	asking singleflight.Group
}

type engineAt struct{ url, token string }

// engineSeen is what an engine has told: the names of what it serves.
type engineSeen struct {
	names map[string]bool
	at    time.Time
}

const (
	// engineTrust is how long an answer is believed, so that a page of deployments asks an engine once. That one does not
	// answer is not believed for any time: its return is told at once.
	engineTrust    = time.Second
	enginePatience = 3 * time.Second
	askedAtOnce    = 16
	maxEngineList  = 1 << 20
)

func newEngines() *engines { return &engines{seen: map[engineAt]engineSeen{}} }

// answers tells whether an engine serves what a deployment is, now.
func (e *engines) answers(ctx context.Context, s *contract.Serving) bool {
	if s == nil {
		return false
	}
	at := engineAt{s.URL, s.Token}
	e.mu.Lock()
	seen := e.seen[at]
	e.mu.Unlock()
	if time.Since(seen.at) < engineTrust && seen.names[s.Name] {
		return true
	}
	names, _, _ := e.asking.Do(at.url+" "+at.token, func() (any, error) { return e.ask(context.WithoutCancel(ctx), at), nil })
	return names.(map[string]bool)[s.Name]
}

func (e *engines) ask(ctx context.Context, at engineAt) map[string]bool {
	names := at.served(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	for old, seen := range e.seen {
		if time.Since(seen.at) >= engineTrust {
			delete(e.seen, old)
		}
	}
	e.seen[at] = engineSeen{names, time.Now()}
	return names
}

// served lists what the engine at an address has loaded; nothing if it is not there, or is another one.
func (at engineAt) served(ctx context.Context) map[string]bool {
	ctx, cancel := context.WithTimeout(ctx, enginePatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.url+"/v1/models", nil)
	if err != nil {
		return nil
	}
	req.Header.Set("Authorization", "Bearer "+at.token)
	res, err := engineClient.Do(req)
	if err != nil {
		return nil
	}
	defer func() { _ = res.Body.Close() }()
	var list struct{ Data []struct{ ID string } }
	if res.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(res.Body, maxEngineList)).Decode(&list) != nil {
		return nil
	}
	names := map[string]bool{}
	for _, model := range list.Data {
		names[model.ID] = true
	}
	return names
}

// truly corrects the statuses of deployments by what their engines say.
func (e *engines) truly(ctx context.Context, deployments []store.Deployment) {
	var group errgroup.Group
	group.SetLimit(askedAtOnce)
	for i := range deployments {
		if d := &deployments[i]; d.Status == contract.StatusServing {
			group.Go(func() error {
				if !e.answers(ctx, d.Serving) {
					d.Status = contract.StatusRestarting
				}
				return nil
			})
		}
	}
	_ = group.Wait() // nothing in it fails
}
