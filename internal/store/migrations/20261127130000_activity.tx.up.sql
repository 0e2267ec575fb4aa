-- What a project's activity is read from (activity.go): events say who asked for them and to which project they belong, those
-- alone that somebody would want to read; audit events say what the thing was called.

ALTER TABLE events ADD COLUMN actor TEXT NOT NULL DEFAULT '';
--bun:split
ALTER TABLE events ADD COLUMN project_id TEXT NOT NULL DEFAULT '';
--bun:split
CREATE INDEX events_by_project ON events (project_id, at, stream, seq) WHERE project_id <> '';
--bun:split
ALTER TABLE audit_events ADD COLUMN subject TEXT NOT NULL DEFAULT '';
--bun:split
UPDATE events SET project_id = COALESCE((SELECT project_id FROM datasets WHERE id = substr(stream, 9)), '')
WHERE type IN ('dataset.created', 'dataset.completed', 'dataset.failed', 'dataset.cancelled');
--bun:split
UPDATE events SET project_id = COALESCE((SELECT project_id FROM training_jobs WHERE id = substr(stream, 5)), '')
WHERE type IN ('job.created', 'job.pause_requested', 'job.paused', 'job.resume_requested', 'job.cancel_requested', 'job.cancelled', 'job.failed', 'job.completed', 'job.stopped');
--bun:split
UPDATE events SET project_id = COALESCE((SELECT project_id FROM evaluations WHERE id = substr(stream, 12)), '')
WHERE type IN ('evaluation.created', 'evaluation.completed', 'evaluation.failed', 'evaluation.cancelled');
--bun:split
UPDATE events SET project_id = COALESCE((SELECT project_id FROM deployments WHERE id = substr(stream, 12)), '')
WHERE type IN ('deployment.created', 'deployment.serving', 'deployment.stop_requested', 'deployment.stopped', 'deployment.failed');
--bun:split
UPDATE events SET project_id = COALESCE((SELECT project_id FROM exports WHERE id = substr(stream, 8)), '')
WHERE type IN ('export.created', 'export.completed', 'export.failed', 'export.cancelled');
--bun:split
UPDATE events SET project_id = COALESCE((SELECT project_id FROM pipelines WHERE id = substr(stream, 10)), '')
WHERE type IN ('pipeline.created', 'pipeline.confirmed', 'pipeline.retry_requested', 'pipeline.completed', 'pipeline.failed', 'pipeline.cancelled');
