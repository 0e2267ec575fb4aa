package gateway

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

// damagePatience bounds the look at checkpoints that are said to be damaged: a claim is answered within half a minute.
const damagePatience = 15 * time.Second

// damagedHere are those of a run's checkpoints that cannot be had whole from the stored files. Where these are whole, the damage
// is the worker's own (its disk, its memory, what stands between): that launch goes on from an earlier one, and what another
// machine can go on from is not thrown away. Nor is what could not be read through in time.
func (g *Gateway) damagedHere(ctx context.Context, runID string, names []string) (damaged []string, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	committed, err := g.store.Checkpoints(ctx, runID)
	if err != nil {
		return nil, err
	}
	patient, cancel := context.WithTimeout(ctx, damagePatience)
	defer cancel()
	for _, c := range committed {
		if !slices.Contains(names, c.Name) {
			continue
		}
		err := g.readThrough(patient, runID, c.Manifest)
		code := contract.CodeOf(err)
		switch {
		case code == contract.CodeBadData || code == contract.CodeNotFound:
			damaged = append(damaged, c.Name)
		case err != nil && (ctx.Err() != nil || !errors.Is(patient.Err(), context.DeadlineExceeded)):
			return nil, err
		default:
			g.log.Warn("a worker cannot have a checkpoint whole that is not known to be damaged here; it is kept", "run", runID, "checkpoint", c.Name)
		}
	}
	return damaged, nil
}

// readThrough reads every file of a checkpoint, which checks every byte of it.
func (g *Gateway) readThrough(ctx context.Context, runID string, m contract.Manifest) error {
	for _, file := range m.Files {
		o, err := g.store.RunObject(ctx, runID, file.SHA256)
		if err != nil {
			return err
		}
		r, err := g.artifacts.OpenObject(ctx, o, 0)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}
