-- What users uploaded and wrote is sealed (content.go): `sealed` stands for the columns that go. Rows of earlier builds are
-- made anew from the log, whose payloads are sealed in place (seal_earlier.go).

CREATE TABLE content_keys (
  name TEXT PRIMARY KEY,
  wrapped_key BLOB NOT NULL,
  state TEXT NOT NULL
);
--bun:split
ALTER TABLE datasets ADD COLUMN sealed BLOB;
--bun:split
ALTER TABLE datasets DROP COLUMN columns;
--bun:split
ALTER TABLE datasets DROP COLUMN profile;
--bun:split
ALTER TABLE datasets DROP COLUMN options;
--bun:split
ALTER TABLE datasets DROP COLUMN progress;
--bun:split
ALTER TABLE datasets DROP COLUMN error;
--bun:split
ALTER TABLE training_jobs ADD COLUMN sealed BLOB;
--bun:split
ALTER TABLE training_jobs DROP COLUMN model;
--bun:split
ALTER TABLE training_jobs DROP COLUMN progress;
--bun:split
ALTER TABLE training_jobs DROP COLUMN metrics;
--bun:split
ALTER TABLE training_jobs DROP COLUMN error;
--bun:split
ALTER TABLE evaluations ADD COLUMN sealed BLOB;
--bun:split
ALTER TABLE evaluations DROP COLUMN progress;
--bun:split
ALTER TABLE evaluations DROP COLUMN metrics;
--bun:split
ALTER TABLE evaluations DROP COLUMN error;
--bun:split
ALTER TABLE deployments ADD COLUMN sealed BLOB;
--bun:split
ALTER TABLE deployments DROP COLUMN serving;
--bun:split
ALTER TABLE deployments DROP COLUMN progress;
--bun:split
ALTER TABLE deployments DROP COLUMN error;
--bun:split
ALTER TABLE exports ADD COLUMN sealed BLOB;
--bun:split
ALTER TABLE exports DROP COLUMN progress;
--bun:split
ALTER TABLE exports DROP COLUMN error;
--bun:split
ALTER TABLE pipelines ADD COLUMN sealed BLOB;
--bun:split
ALTER TABLE pipelines DROP COLUMN request;
--bun:split
ALTER TABLE pipelines DROP COLUMN stages;
--bun:split
ALTER TABLE pipelines DROP COLUMN recommendation;
--bun:split
ALTER TABLE pipelines DROP COLUMN confirmed;
--bun:split
ALTER TABLE pipelines DROP COLUMN progress;
--bun:split
ALTER TABLE pipelines DROP COLUMN error;
