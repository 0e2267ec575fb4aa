-- The orders and filters of lists. A list of one project walks its own index; SQLite sorts nothing.

CREATE INDEX training_jobs_by_status ON training_jobs (status, created_at, id);
--bun:split
CREATE INDEX training_jobs_by_project_status ON training_jobs (project_id, status, created_at, id);
--bun:split
CREATE INDEX training_jobs_by_dataset ON training_jobs (dataset_id, created_at, id);
--bun:split
CREATE INDEX training_jobs_by_model ON training_jobs (model_id, created_at, id);
--bun:split
CREATE INDEX training_jobs_by_change ON training_jobs (updated_at, id);
--bun:split
CREATE INDEX training_jobs_by_project_change ON training_jobs (project_id, updated_at, id);
--bun:split
CREATE INDEX training_jobs_by_name ON training_jobs (name COLLATE NOCASE, id);
--bun:split
CREATE INDEX training_jobs_by_project_name ON training_jobs (project_id, name COLLATE NOCASE, id);
--bun:split
CREATE INDEX evaluations_by_model ON evaluations (model_id, created_at, id);
--bun:split
CREATE INDEX evaluations_by_dataset ON evaluations (dataset_id, created_at, id);
--bun:split
CREATE INDEX evaluations_by_job ON evaluations (training_job_id, created_at, id);
--bun:split
CREATE INDEX evaluations_by_status ON evaluations (status, created_at, id);
--bun:split
CREATE INDEX deployments_by_model ON deployments (model_id, created_at, id);
--bun:split
CREATE INDEX deployments_by_status ON deployments (status, created_at, id);
--bun:split
CREATE INDEX exports_by_model ON exports (model_id, created_at, id);
--bun:split
CREATE INDEX exports_by_status ON exports (status, created_at, id);
--bun:split
CREATE INDEX pipelines_by_status ON pipelines (status, created_at, id);
--bun:split
CREATE INDEX models_by_base ON models (base_model_id, created_at, id);
--bun:split
CREATE INDEX models_by_job ON models (job_id) WHERE job_id <> '';
