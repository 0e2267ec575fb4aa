-- Times are UTC text as bun writes it; JSON is text. Tables marked (projection) can be dropped and rebuilt from events.

CREATE TABLE users (
  id TEXT PRIMARY KEY,
  email TEXT NOT NULL UNIQUE,
  password_hash TEXT NOT NULL,
  role TEXT NOT NULL DEFAULT 'member',
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
);
--bun:split
CREATE TABLE projects (
  id TEXT PRIMARY KEY,
  user_id TEXT REFERENCES users(id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  goal TEXT NOT NULL DEFAULT '',
  status TEXT NOT NULL DEFAULT 'active',
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
);
--bun:split
CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  user_id TEXT REFERENCES users(id) ON DELETE CASCADE,
  project_id TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  key_hash TEXT NOT NULL UNIQUE,
  prefix TEXT NOT NULL,
  scopes TEXT NOT NULL DEFAULT '[]',
  usage_count INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL,
  last_used_at TEXT,
  revoked_at TEXT,
  expires_at TEXT
);
--bun:split
CREATE INDEX api_keys_by_project ON api_keys (project_id, created_at, id);
--bun:split
CREATE TABLE models (
  id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL DEFAULT '',
  name TEXT NOT NULL,
  source TEXT NOT NULL DEFAULT '',
  ref TEXT NOT NULL DEFAULT '{}',
  base_model_id TEXT NOT NULL DEFAULT '',
  job_id TEXT NOT NULL DEFAULT '',
  method TEXT NOT NULL DEFAULT '',
  files TEXT NOT NULL DEFAULT '[]',
  dims TEXT,
  task_types TEXT NOT NULL DEFAULT '[]',
  requirements TEXT,
  description TEXT NOT NULL DEFAULT '',
  license TEXT NOT NULL DEFAULT '',
  context_length INTEGER NOT NULL DEFAULT 0,
  parameters INTEGER NOT NULL DEFAULT 0,
  size INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
);
--bun:split
CREATE INDEX models_by_age ON models (created_at, id);
--bun:split
CREATE TABLE workers (
  id TEXT PRIMARY KEY,
  boot TEXT NOT NULL,
  state TEXT NOT NULL,
  queue TEXT NOT NULL,
  slots INTEGER NOT NULL,
  version TEXT NOT NULL,
  hardware TEXT,
  first_seen_at TEXT NOT NULL,
  last_seen_at TEXT NOT NULL
);
--bun:split
CREATE TABLE events (
  stream TEXT NOT NULL,
  seq INTEGER NOT NULL,
  type TEXT NOT NULL,
  payload TEXT NOT NULL,
  source TEXT NOT NULL DEFAULT '',
  source_seq INTEGER NOT NULL DEFAULT 0,
  at TEXT NOT NULL,
  PRIMARY KEY (stream, seq)
) WITHOUT ROWID;
--bun:split
CREATE UNIQUE INDEX events_once ON events (stream, source, source_seq) WHERE source <> '';
--bun:split
CREATE INDEX events_checkpoints ON events (stream, json_extract(payload, '$.name')) WHERE type = 'runner.checkpoint';
--bun:split
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  workflow_id TEXT NOT NULL,
  start TEXT,
  signal TEXT,
  attempts INTEGER NOT NULL DEFAULT 0,
  last_error TEXT NOT NULL DEFAULT '',
  created_at TEXT NOT NULL,
  next_at TEXT NOT NULL
);
--bun:split
CREATE INDEX outbox_by_workflow ON outbox (workflow_id, id);
--bun:split
CREATE TABLE objects (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  content_type TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  size INTEGER NOT NULL,
  wrapped_key BLOB NOT NULL,
  created_at TEXT NOT NULL
);
--bun:split
CREATE INDEX objects_by_digest ON objects (sha256);
--bun:split
CREATE TABLE object_refs (
  owner TEXT NOT NULL,
  object_id TEXT NOT NULL REFERENCES objects(id),
  PRIMARY KEY (owner, object_id)
) WITHOUT ROWID;
--bun:split
CREATE INDEX object_refs_by_object ON object_refs (object_id);
--bun:split
CREATE TABLE runs (
  run_id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  worker TEXT NOT NULL,
  nonce TEXT NOT NULL,
  acked INTEGER NOT NULL DEFAULT 0,
  dataset TEXT,
  result TEXT,
  claimed_at TEXT NOT NULL
);
--bun:split
CREATE TABLE run_inputs (
  run_id TEXT NOT NULL REFERENCES runs(run_id) ON DELETE CASCADE,
  sha256 TEXT NOT NULL,
  object_id TEXT NOT NULL,
  PRIMARY KEY (run_id, sha256)
) WITHOUT ROWID;
--bun:split
CREATE TABLE run_blobs (
  run_id TEXT NOT NULL REFERENCES runs(run_id) ON DELETE CASCADE,
  sha256 TEXT NOT NULL,
  size INTEGER NOT NULL,
  object_id TEXT NOT NULL REFERENCES objects(id),
  PRIMARY KEY (run_id, sha256)
) WITHOUT ROWID;
--bun:split
CREATE INDEX run_blobs_by_object ON run_blobs (object_id);
--bun:split
CREATE TABLE checkpoints (
  ord INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id TEXT NOT NULL REFERENCES runs(run_id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  step INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  best INTEGER NOT NULL,
  final INTEGER NOT NULL,
  manifest TEXT NOT NULL,
  committed_at TEXT NOT NULL,
  UNIQUE (run_id, name)
);
--bun:split
CREATE TABLE run_artifacts (
  run_id TEXT NOT NULL REFERENCES runs(run_id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  manifest TEXT NOT NULL,
  committed_at TEXT NOT NULL,
  PRIMARY KEY (run_id, name)
) WITHOUT ROWID;
--bun:split
-- (projection)
CREATE TABLE datasets (
  id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL,
  name TEXT NOT NULL,
  file_name TEXT NOT NULL,
  object_id TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  size INTEGER NOT NULL,
  format TEXT NOT NULL DEFAULT '',
  canonical TEXT NOT NULL DEFAULT '',
  rows INTEGER NOT NULL DEFAULT 0,
  train_rows INTEGER NOT NULL DEFAULT 0,
  eval_rows INTEGER NOT NULL DEFAULT 0,
  columns TEXT,
  train TEXT,
  eval TEXT,
  profile TEXT,
  progress TEXT,
  status TEXT NOT NULL,
  error TEXT,
  seq INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  completed_at TEXT
);
--bun:split
CREATE INDEX datasets_by_age ON datasets (created_at, id);
--bun:split
-- (projection)
CREATE TABLE training_jobs (
  id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL,
  name TEXT NOT NULL,
  dataset_id TEXT NOT NULL,
  model_id TEXT NOT NULL,
  model TEXT NOT NULL,
  tuned_model_id TEXT NOT NULL DEFAULT '',
  pipeline_id TEXT NOT NULL DEFAULT '',
  queue TEXT NOT NULL,
  priority INTEGER NOT NULL DEFAULT 0,
  config TEXT NOT NULL,
  status TEXT NOT NULL,
  keep INTEGER NOT NULL DEFAULT 0,
  epoch INTEGER NOT NULL DEFAULT 0,
  worker TEXT NOT NULL DEFAULT '',
  step INTEGER NOT NULL DEFAULT 0,
  total_steps INTEGER NOT NULL DEFAULT 0,
  data_epoch REAL NOT NULL DEFAULT 0,
  loss REAL,
  learning_rate REAL,
  grad_norm REAL,
  tokens_per_second REAL,
  eta_seconds REAL,
  memory_bytes INTEGER,
  eval_loss REAL,
  best_eval_loss REAL,
  checkpoint TEXT NOT NULL DEFAULT '',
  checkpoint_step INTEGER NOT NULL DEFAULT 0,
  device TEXT NOT NULL DEFAULT '',
  precision TEXT NOT NULL DEFAULT '',
  loss_path TEXT NOT NULL DEFAULT '',
  progress TEXT,
  metrics TEXT,
  error TEXT,
  seq INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  queued_at TEXT,
  started_at TEXT,
  completed_at TEXT,
  updated_at TEXT NOT NULL
);
--bun:split
CREATE INDEX training_jobs_by_age ON training_jobs (created_at, id);
--bun:split
CREATE INDEX training_jobs_by_queue ON training_jobs (queue, status);
--bun:split
-- (projection) the newest value of each step
CREATE TABLE metric_points (
  job_id TEXT NOT NULL,
  step INTEGER NOT NULL,
  split TEXT NOT NULL,
  data_epoch REAL NOT NULL,
  loss REAL,
  learning_rate REAL,
  grad_norm REAL,
  tokens_per_second REAL,
  PRIMARY KEY (job_id, split, step)
) WITHOUT ROWID;
--bun:split
-- (projection)
CREATE TABLE evaluations (
  id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL,
  training_job_id TEXT NOT NULL DEFAULT '',
  model_id TEXT NOT NULL,
  dataset_id TEXT NOT NULL,
  pipeline_id TEXT NOT NULL DEFAULT '',
  queue TEXT NOT NULL,
  priority INTEGER NOT NULL DEFAULT 0,
  config TEXT NOT NULL,
  status TEXT NOT NULL,
  epoch INTEGER NOT NULL DEFAULT 0,
  worker TEXT NOT NULL DEFAULT '',
  progress TEXT,
  metrics TEXT,
  error TEXT,
  seq INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  queued_at TEXT,
  started_at TEXT,
  completed_at TEXT,
  updated_at TEXT NOT NULL
);
--bun:split
CREATE INDEX evaluations_by_age ON evaluations (created_at, id);
--bun:split
-- (projection)
CREATE TABLE deployments (
  id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL,
  model_id TEXT NOT NULL,
  pipeline_id TEXT NOT NULL DEFAULT '',
  queue TEXT NOT NULL,
  status TEXT NOT NULL,
  serving TEXT,
  progress TEXT,
  error TEXT,
  seq INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  started_at TEXT,
  completed_at TEXT,
  updated_at TEXT NOT NULL
);
--bun:split
CREATE INDEX deployments_by_age ON deployments (created_at, id);
--bun:split
-- (projection)
CREATE TABLE exports (
  id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL,
  model_id TEXT NOT NULL,
  format TEXT NOT NULL,
  queue TEXT NOT NULL,
  priority INTEGER NOT NULL DEFAULT 0,
  status TEXT NOT NULL,
  epoch INTEGER NOT NULL DEFAULT 0,
  worker TEXT NOT NULL DEFAULT '',
  files INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  progress TEXT,
  error TEXT,
  seq INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  queued_at TEXT,
  started_at TEXT,
  completed_at TEXT,
  updated_at TEXT NOT NULL
);
--bun:split
CREATE INDEX exports_by_age ON exports (created_at, id);
--bun:split
-- (projection)
CREATE TABLE pipelines (
  id TEXT PRIMARY KEY,
  project_id TEXT NOT NULL,
  name TEXT NOT NULL,
  request TEXT NOT NULL,
  status TEXT NOT NULL,
  stages TEXT NOT NULL,
  recommendation TEXT,
  confirmed TEXT,
  progress TEXT,
  error TEXT,
  seq INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  started_at TEXT,
  completed_at TEXT,
  updated_at TEXT NOT NULL
);
--bun:split
CREATE INDEX pipelines_by_age ON pipelines (created_at, id);
