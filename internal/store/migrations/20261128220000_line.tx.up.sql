-- The line before the slots (internal/line). A turn is a run's leave to take a slot; it answers the `queued` event of its
-- queued_at, and is void once the run queues anew. Neither table is a projection.

CREATE TABLE turns (
  run_id TEXT PRIMARY KEY,
  queued_at TEXT NOT NULL,
  told INTEGER NOT NULL DEFAULT 1,
  told_at TEXT NOT NULL
) WITHOUT ROWID;
--bun:split
-- When each project had its last turn.
CREATE TABLE turns_served (
  queue TEXT NOT NULL,
  project_id TEXT NOT NULL,
  at TEXT NOT NULL,
  PRIMARY KEY (queue, project_id)
) WITHOUT ROWID;
--bun:split
ALTER TABLE training_jobs ADD COLUMN urgency TEXT NOT NULL DEFAULT 'normal';
--bun:split
ALTER TABLE evaluations ADD COLUMN urgency TEXT NOT NULL DEFAULT 'normal';
--bun:split
ALTER TABLE exports ADD COLUMN urgency TEXT NOT NULL DEFAULT 'normal';
--bun:split
ALTER TABLE training_jobs ADD COLUMN predicted_low_seconds REAL NOT NULL DEFAULT 0;
--bun:split
ALTER TABLE training_jobs ADD COLUMN predicted_high_seconds REAL NOT NULL DEFAULT 0;
