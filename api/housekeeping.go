package api

import (
	"context"
	"errors"
	"time"
)

// housekeepingEvery is how often what is over is removed: projects that were deleted long enough ago, ended sessions, old
// audit events.
const housekeepingEvery = time.Hour

// housekeeping runs at the start and then hourly. What it does can be interrupted anywhere, and is done again.
func (s *Server) housekeeping(ctx context.Context) {
	ticker := time.NewTicker(housekeepingEvery)
	defer ticker.Stop()
	for {
		if err := errors.Join(s.Store.Expire(ctx), s.purgeDue(ctx)); err != nil && ctx.Err() == nil {
			s.Logger.Warn("housekeeping did not finish; it is tried again in an hour", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *Server) purgeDue(ctx context.Context) error {
	due, err := s.Store.ProjectsToPurge(ctx)
	if err != nil {
		return err
	}
	for _, id := range due {
		if err := s.purge(ctx, id); err != nil {
			return err
		}
		s.Logger.Info("a project that was deleted is gone for good", "project", id)
	}
	return nil
}

// purge removes a deleted project and its stored files.
func (s *Server) purge(ctx context.Context, projectID string) error {
	freed, err := s.Store.PurgeProject(ctx, projectID)
	for _, object := range freed {
		err = errors.Join(err, s.Artifacts.Delete(ctx, object))
	}
	return err
}
