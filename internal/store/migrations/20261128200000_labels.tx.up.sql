-- What people say of datasets, jobs and models. Notes are sealed; tags are searched. `version` counts the edits.

ALTER TABLE datasets ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
--bun:split
ALTER TABLE datasets ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
--bun:split
ALTER TABLE training_jobs ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
--bun:split
ALTER TABLE training_jobs ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
--bun:split
ALTER TABLE models ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
--bun:split
ALTER TABLE models ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
--bun:split
ALTER TABLE models ADD COLUMN sealed BLOB;
--bun:split
CREATE INDEX datasets_tagged ON datasets (project_id, created_at, id) WHERE tags <> '[]';
--bun:split
CREATE INDEX training_jobs_tagged ON training_jobs (project_id, created_at, id) WHERE tags <> '[]';
--bun:split
CREATE INDEX models_tagged ON models (project_id, created_at, id) WHERE tags <> '[]';
