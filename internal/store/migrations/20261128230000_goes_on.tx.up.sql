-- A job that paused by itself and goes on by itself: a pause of the user's makes it stay. What paused before this is known to
-- be so with its next event.
ALTER TABLE training_jobs ADD COLUMN goes_on INTEGER NOT NULL DEFAULT 0;
