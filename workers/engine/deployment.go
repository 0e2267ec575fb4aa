package engine

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient"
	"github.com/vibeflow/vibeflow/workers/runner"
)

const (
	// baseName is the engine's name of the base model itself.
	baseName = "base"
	// unloadPatience bounds the farewell of a deployment.
	unloadPatience = 10 * time.Second
	// restartPause keeps an engine that dies at once from taking the machine's cores; it doubles up to restartLongest,
	// and is forgotten after an engine has lived for steadyAfter.
	restartPause   = 500 * time.Millisecond
	restartLongest = 30 * time.Second
	steadyAfter    = time.Minute
	// startsAllowed is how many engines in a row may die young before the attempt is given up, with the reason.
	startsAllowed = 5
)

// deployment is one call of Serve.
type deployment struct {
	m    *Manager
	e    *engine
	id   string
	name string // the engine's name of what is served
	spec contract.DeploymentSpec
	log  *slog.Logger
	path string // of the fetched weights
}

// run keeps the deployment answering: each time the engine dies it is started again, loaded again and told anew.
func (d *deployment) run(ctx context.Context) error {
	if err := d.fetch(ctx); err != nil {
		return err
	}
	pause := restartPause
	for young := 0; ; {
		engine, err := d.e.up(ctx)
		if err != nil {
			return err
		}
		began := time.Now()
		if err := d.load(ctx, engine); err != nil {
			return err
		}
		select {
		case <-engine.gone:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if time.Since(began) > steadyAfter {
			young, pause = 0, restartPause
		}
		if young++; young == startsAllowed {
			return d.e.crashed("the engine died again and again")
		}
		d.log.Warn("the engine died and is started again", "lived", time.Since(began).Round(time.Second))
		if err := d.m.Gateway.DeleteServing(ctx, d.id); err != nil { // it is shown all the same, to whoever asks
			d.log.Warn("nobody is told that the engine is started again", "error", err)
		}
		if !sleep(ctx, pause) {
			return context.Cause(ctx)
		}
		pause = min(2*pause, restartLongest)
	}
}

// patient makes want of memory or disk, where the deployment has answered before, a failure that passes: a training that takes
// what is free for a while must not end for good what was to come back by itself. One that never answered is refused, with
// the reason.
func (d *deployment) patient(err error) error {
	code := contract.CodeOf(err)
	if !d.spec.Served || (code != contract.CodeOutOfMemory && code != contract.CodeDiskFull) {
		return err
	}
	d.log.Warn("there is no room to serve again yet, it is tried again", "error", err)
	return contract.Errorf(contract.CodeUnavailable, "there is no room to serve again yet: %w", err)
}

// fetch brings the tuned weights, and a base that was uploaded, to this machine.
func (d *deployment) fetch(ctx context.Context) error {
	if err := d.e.fetchBase(ctx, d.m.Gateway.DeploymentBlobs(d.id)); err != nil {
		return err
	}
	if d.spec.Weights == nil {
		return nil
	}
	path, err := runner.FetchInput(ctx, d.log, d.m.Gateway.DeploymentBlobs(d.id), *d.spec.Weights, filepath.Join(d.e.folder, adaptersFolder, d.id))
	if err != nil {
		return err
	}
	if path == "" {
		return contract.Errorf(contract.CodeInternal, "the weights of deployment %s are not named", d.id)
	}
	d.path = path
	return nil
}

// load puts the weights into the engine and tells the gateway where it answers.
func (d *deployment) load(ctx context.Context, engine *instance) error {
	if d.spec.Weights != nil {
		err := engine.add(ctx, d.name, d.path, d.spec.Weights.Method)
		if err != nil && !engine.alive() {
			return nil // run sees that it is gone, and starts another
		}
		if err != nil {
			return err
		}
	}
	serving := contract.Serving{Worker: d.m.Worker, URL: engine.url, Token: engine.token, Name: d.name, Device: engine.device}
	err := gatewayclient.Patiently(ctx, d.log, "report deployment", func(ctx context.Context) error {
		return d.m.Gateway.PutServing(ctx, d.id, serving)
	})
	if err == nil {
		d.spec.Served = true
		d.log.Info("deployment answers", "url", engine.url, "name", d.name)
	}
	return err
}

// leave gives the engine back. A deployment that was taken down is unloaded; one that is let go of stays loaded for the
// next worker.
func (d *deployment) leave(ctx context.Context) {
	last := d.e.release(d.name)
	if !last || d.spec.Weights == nil || !errors.Is(context.Cause(ctx), errStopped) {
		return
	}
	farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), unloadPatience)
	defer cancel()
	if engine := d.e.running(); engine != nil {
		if err := engine.remove(farewell, d.name); err != nil {
			d.log.Warn("adapter not unloaded", "error", err)
		}
	}
	if err := os.RemoveAll(filepath.Join(d.e.folder, adaptersFolder, d.id)); err != nil {
		d.log.Warn("weights not wiped", "error", err)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
