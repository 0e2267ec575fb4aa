-- A database as VibeFlow wrote it before it sealed anything: tellEverything (content_test.go), dumped.
BEGIN TRANSACTION;
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
CREATE TABLE bun_migration_locks ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "table_name" VARCHAR, UNIQUE ("table_name"));
CREATE TABLE bun_migrations ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "name" VARCHAR, "group_id" INTEGER, "migrated_at" TIMESTAMP NOT NULL DEFAULT current_timestamp);
INSERT INTO "bun_migrations" VALUES(1,'20261123000001',1,'2026-11-24 15:17:39');
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
INSERT INTO "datasets" VALUES('ds_1','','d','','o','',9,'alpaca','chat',12,10,2,'["they said zebra-marmalade"]','{"object_id":"t","sha256":"","size":0}',NULL,'{"columns":["they said zebra-marmalade"],"format":"alpaca","preview":[{"raw":"they said zebra-marmalade"}],"rows":12}',NULL,'ready',NULL,6,'2026-11-23 10:00:02+00:00','2026-11-23 10:00:03+00:00','2026-11-23 10:00:03+00:00');
INSERT INTO "datasets" VALUES('ds_2','','e','','p','',9,'','',0,0,0,NULL,NULL,NULL,NULL,NULL,'failed','{"code":"bad_data","message":"they said zebra-marmalade","field":"they said zebra-marmalade","remedy":"they said zebra-marmalade","detail":"they said zebra-marmalade"}',2,'2026-11-23 10:00:04+00:00','2026-11-23 10:00:05+00:00','2026-11-23 10:00:05+00:00');
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
INSERT INTO "deployments" VALUES('dep_1','','m','','serve.cpu','serving','{"worker":"w","url":"http://127.0.0.1:1","token":"they said zebra-marmalade","name":"a","device":""}',NULL,NULL,2,'2026-11-23 10:00:16+00:00','2026-11-23 10:00:17+00:00',NULL,'2026-11-23 10:00:17+00:00');
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
INSERT INTO "evaluations" VALUES('eval_1','','job_2','m','','','',0,'{"max_rows":0,"max_generations":0,"max_new_tokens":0,"max_length":0,"batch_size":0,"seed":0,"precision":""}','running',1,'w',NULL,'{"rows":2,"tokens":0,"loss_base":0,"loss_tuned":0,"loss_delta":0,"loss_delta_ci":[0,0],"perplexity_base":0,"perplexity_tuned":0,"rows_improved":0,"generations":0,"exact_match_base":0,"exact_match_tuned":0,"rouge_l_base":0,"rouge_l_tuned":0,"verdict":"","verdict_text":"they said zebra-marmalade","precision":"","seconds":0,"samples":[{"row":0,"prompt":"they said zebra-marmalade","reference":"they said zebra-marmalade","answer_base":"they said zebra-marmalade","answer_tuned":"they said zebra-marmalade","loss_base":0,"loss_tuned":0}]}',NULL,3,'2026-11-23 10:00:13+00:00',NULL,'2026-11-23 10:00:14+00:00',NULL,'2026-11-23 10:00:15+00:00');
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
INSERT INTO "events" VALUES('dataset/ds_1',1,'dataset.created','{"project_id":"","name":"d","file_name":"","object_id":"o","sha256":"","size":9}','create',1,'2026-11-23 10:00:02+00:00');
INSERT INTO "events" VALUES('dataset/ds_1',2,'dataset.started','{}','',0,'2026-11-23 10:00:03+00:00');
INSERT INTO "events" VALUES('dataset/ds_1',3,'dataset.progress','{"phase":"read","done":0,"total":0,"note":"they said zebra-marmalade"}','',0,'2026-11-23 10:00:03+00:00');
INSERT INTO "events" VALUES('dataset/ds_1',4,'dataset.profiled','{"columns":["they said zebra-marmalade"],"format":"alpaca","preview":[{"raw":"they said zebra-marmalade"}],"rows":12}','',0,'2026-11-23 10:00:03+00:00');
INSERT INTO "events" VALUES('dataset/ds_1',5,'dataset.processed','{"canonical":"chat","train_rows":10,"eval_rows":2,"train":{"object_id":"t","sha256":"","size":0}}','',0,'2026-11-23 10:00:03+00:00');
INSERT INTO "events" VALUES('dataset/ds_1',6,'dataset.completed','{"format":"alpaca","rows":12,"train_rows":10,"eval_rows":2}','',0,'2026-11-23 10:00:03+00:00');
INSERT INTO "events" VALUES('dataset/ds_2',1,'dataset.created','{"project_id":"","name":"e","file_name":"","object_id":"p","sha256":"","size":9}','create',1,'2026-11-23 10:00:04+00:00');
INSERT INTO "events" VALUES('dataset/ds_2',2,'dataset.failed','{"code":"bad_data","message":"they said zebra-marmalade","field":"they said zebra-marmalade","remedy":"they said zebra-marmalade","detail":"they said zebra-marmalade"}','',0,'2026-11-23 10:00:05+00:00');
INSERT INTO "events" VALUES('deployment/dep_1',1,'deployment.created','{"project_id":"","model_id":"m","queue":"serve.cpu"}','create',1,'2026-11-23 10:00:16+00:00');
INSERT INTO "events" VALUES('deployment/dep_1',2,'deployment.serving','{"worker":"w","url":"http://127.0.0.1:1","token":"they said zebra-marmalade","name":"a","device":""}','',0,'2026-11-23 10:00:17+00:00');
INSERT INTO "events" VALUES('evaluation/eval_1',1,'evaluation.created','{"project_id":"","training_job_id":"job_2","model_id":"m","dataset_id":"","queue":"","config":{"max_rows":0,"max_generations":0,"max_new_tokens":0,"max_length":0,"batch_size":0,"seed":0,"precision":""}}','create',1,'2026-11-23 10:00:13+00:00');
INSERT INTO "events" VALUES('evaluation/eval_1',2,'evaluation.started','{"epoch":1,"worker":"w","step":0}','gateway/1',2,'2026-11-23 10:00:14+00:00');
INSERT INTO "events" VALUES('evaluation/eval_1',3,'evaluation.measured','{"rows":2,"tokens":0,"loss_base":0,"loss_tuned":0,"loss_delta":0,"loss_delta_ci":[0,0],"perplexity_base":0,"perplexity_tuned":0,"rows_improved":0,"generations":0,"exact_match_base":0,"exact_match_tuned":0,"rouge_l_base":0,"rouge_l_tuned":0,"verdict":"","verdict_text":"they said zebra-marmalade","precision":"","seconds":0,"samples":[{"row":0,"prompt":"they said zebra-marmalade","reference":"they said zebra-marmalade","answer_base":"they said zebra-marmalade","answer_tuned":"they said zebra-marmalade","loss_base":0,"loss_tuned":0}]}','result/1',1,'2026-11-23 10:00:15+00:00');
INSERT INTO "events" VALUES('export/exp_1',1,'export.created','{"project_id":"","model_id":"m","format":"adapter","queue":""}','create',1,'2026-11-23 10:00:18+00:00');
INSERT INTO "events" VALUES('export/exp_1',2,'export.failed','{"code":"bad_data","message":"they said zebra-marmalade","field":"they said zebra-marmalade","remedy":"they said zebra-marmalade","detail":"they said zebra-marmalade"}','',0,'2026-11-23 10:00:19+00:00');
INSERT INTO "events" VALUES('job/job_1',1,'job.created','{"project_id":"","name":"j","dataset_id":"ds_1","model_id":"","model":{"source":"hub:o/n","token":"they said zebra-marmalade"},"queue":"cpu","config":{"method":"","epochs":0,"max_steps":0,"learning_rate":0,"scheduler":"","warmup_ratio":0,"weight_decay":0,"max_grad_norm":0,"batch_size":0,"gradient_accumulation_steps":0,"max_length":0,"completion_only":false,"gradient_checkpointing":false,"precision":"","seed":0,"lora":{"r":0,"alpha":0,"dropout":0,"target_modules":""},"checkpoint":{"every_steps":0,"every_seconds":0},"eval_every_steps":0}}','create',1,'2026-11-23 10:00:06+00:00');
INSERT INTO "events" VALUES('job/job_1',2,'job.started','{"epoch":1,"worker":"w","step":0}','gateway/1',2,'2026-11-23 10:00:07+00:00');
INSERT INTO "events" VALUES('job/job_1',3,'runner.log','{"level":"warn","message":"they said zebra-marmalade","n":1}','runner/1',1,'2026-11-23 10:00:08+00:00');
INSERT INTO "events" VALUES('job/job_1',4,'runner.progress','{"n":2,"note":"they said zebra-marmalade","phase":"load"}','runner/1',2,'2026-11-23 10:00:08+00:00');
INSERT INTO "events" VALUES('job/job_1',5,'runner.metrics','{"loss":2.5,"n":3,"step":1}','runner/1',3,'2026-11-23 10:00:08+00:00');
INSERT INTO "events" VALUES('job/job_1',6,'runner.checkpoint','{"n":4,"name":"step-00000001","step":1}','runner/1',4,'2026-11-23 10:00:08+00:00');
INSERT INTO "events" VALUES('job/job_1',7,'runner.progress','{"n":5,"note":"they said zebra-marmalade","phase":"save"}','runner/1',5,'2026-11-23 10:00:08+00:00');
INSERT INTO "events" VALUES('job/job_1',8,'job.paused','{"step":1,"error":{"code":"bad_data","message":"they said zebra-marmalade","field":"they said zebra-marmalade","remedy":"they said zebra-marmalade","detail":"they said zebra-marmalade"}}','',0,'2026-11-23 10:00:10+00:00');
INSERT INTO "events" VALUES('job/job_2',1,'job.created','{"project_id":"","name":"k","dataset_id":"","model_id":"","model":{"source":""},"queue":"","config":{"method":"","epochs":0,"max_steps":0,"learning_rate":0,"scheduler":"","warmup_ratio":0,"weight_decay":0,"max_grad_norm":0,"batch_size":0,"gradient_accumulation_steps":0,"max_length":0,"completion_only":false,"gradient_checkpointing":false,"precision":"","seed":0,"lora":{"r":0,"alpha":0,"dropout":0,"target_modules":""},"checkpoint":{"every_steps":0,"every_seconds":0},"eval_every_steps":0}}','create',1,'2026-11-23 10:00:11+00:00');
INSERT INTO "events" VALUES('job/job_2',2,'job.completed','{"metrics":{"note":"they said zebra-marmalade"},"model_id":"m"}','',0,'2026-11-23 10:00:12+00:00');
INSERT INTO "events" VALUES('pipeline/pipe_1',1,'pipeline.created','{"project_id":"","name":"p","request":{"dataset_id":"ds_1","goal":"they said zebra-marmalade"}}','create',1,'2026-11-23 10:00:20+00:00');
INSERT INTO "events" VALUES('pipeline/pipe_1',2,'pipeline.proposed','{"model_id":"m","config":{"method":"","epochs":0,"max_steps":0,"learning_rate":0,"scheduler":"","warmup_ratio":0,"weight_decay":0,"max_grad_norm":0,"batch_size":0,"gradient_accumulation_steps":0,"max_length":0,"completion_only":false,"gradient_checkpointing":false,"precision":"","seed":0,"lora":{"r":0,"alpha":0,"dropout":0,"target_modules":""},"checkpoint":{"every_steps":0,"every_seconds":0},"eval_every_steps":0},"reasons":[{"field":"r","value":"","reason":"they said zebra-marmalade","source":""}],"memory":{"bytes":0,"low":0,"high":0,"have":0,"verdict":""},"seconds":[0,0],"steps":0}','',0,'2026-11-23 10:00:21+00:00');
INSERT INTO "events" VALUES('pipeline/pipe_1',3,'pipeline.confirmed','{"model_id":"they said zebra-marmalade"}','',0,'2026-11-23 10:00:21+00:00');
INSERT INTO "events" VALUES('pipeline/pipe_1',4,'pipeline.stage','{"stage":"train","status":"failed","id":"job_1","error":{"code":"bad_data","message":"they said zebra-marmalade","field":"they said zebra-marmalade","remedy":"they said zebra-marmalade","detail":"they said zebra-marmalade"}}','',0,'2026-11-23 10:00:21+00:00');
INSERT INTO "events" VALUES('pipeline/pipe_1',5,'pipeline.failed','{"code":"bad_data","message":"they said zebra-marmalade","field":"they said zebra-marmalade","remedy":"they said zebra-marmalade","detail":"they said zebra-marmalade"}','',0,'2026-11-23 10:00:21+00:00');
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
INSERT INTO "exports" VALUES('exp_1','','m','adapter','',0,'failed',0,'',0,0,NULL,'{"code":"bad_data","message":"they said zebra-marmalade","field":"they said zebra-marmalade","remedy":"they said zebra-marmalade","detail":"they said zebra-marmalade"}',2,'2026-11-23 10:00:18+00:00',NULL,NULL,'2026-11-23 10:00:19+00:00','2026-11-23 10:00:19+00:00');
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
INSERT INTO "metric_points" VALUES('job_1',1,'train',0.0,2.5,NULL,NULL,NULL);
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
CREATE TABLE object_refs (
  owner TEXT NOT NULL,
  object_id TEXT NOT NULL REFERENCES objects(id),
  PRIMARY KEY (owner, object_id)
) WITHOUT ROWID;
CREATE TABLE objects (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  content_type TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  size INTEGER NOT NULL,
  wrapped_key BLOB NOT NULL,
  created_at TEXT NOT NULL
);
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
INSERT INTO "pipelines" VALUES('pipe_1','','p','{"dataset_id":"ds_1","goal":"they said zebra-marmalade"}','failed','[{"stage":"train","status":"failed","id":"job_1","error":{"code":"bad_data","message":"they said zebra-marmalade","field":"they said zebra-marmalade","remedy":"they said zebra-marmalade","detail":"they said zebra-marmalade"},"attempts":0,"completed_at":"2026-11-23T10:00:21Z"}]','{"model_id":"m","config":{"method":"","epochs":0,"max_steps":0,"learning_rate":0,"scheduler":"","warmup_ratio":0,"weight_decay":0,"max_grad_norm":0,"batch_size":0,"gradient_accumulation_steps":0,"max_length":0,"completion_only":false,"gradient_checkpointing":false,"precision":"","seed":0,"lora":{"r":0,"alpha":0,"dropout":0,"target_modules":""},"checkpoint":{"every_steps":0,"every_seconds":0},"eval_every_steps":0},"reasons":[{"field":"r","value":"","reason":"they said zebra-marmalade","source":""}],"memory":{"bytes":0,"low":0,"high":0,"have":0,"verdict":""},"seconds":[0,0],"steps":0}','{"model_id":"they said zebra-marmalade"}',NULL,'{"code":"bad_data","message":"they said zebra-marmalade","field":"they said zebra-marmalade","remedy":"they said zebra-marmalade","detail":"they said zebra-marmalade"}',5,'2026-11-23 10:00:20+00:00','2026-11-23 10:00:21+00:00','2026-11-23 10:00:21+00:00','2026-11-23 10:00:21+00:00');
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
INSERT INTO "projects" VALUES('proj_default',NULL,'default','','','active','2026-11-23 10:00:01+00:00','2026-11-23 10:00:01+00:00');
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
CREATE TABLE run_blobs (
  run_id TEXT NOT NULL REFERENCES runs(run_id) ON DELETE CASCADE,
  sha256 TEXT NOT NULL,
  size INTEGER NOT NULL,
  object_id TEXT NOT NULL REFERENCES objects(id),
  PRIMARY KEY (run_id, sha256)
) WITHOUT ROWID;
CREATE TABLE run_inputs (
  run_id TEXT NOT NULL REFERENCES runs(run_id) ON DELETE CASCADE,
  sha256 TEXT NOT NULL,
  object_id TEXT NOT NULL,
  PRIMARY KEY (run_id, sha256)
) WITHOUT ROWID;
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
INSERT INTO "runs" VALUES('job_1','job',1,'w','n',5,NULL,'{"version":0,"run_id":"job_1","epoch":1,"outcome":"failed","step":0,"total_steps":0,"error":{"code":"bad_data","message":"they said zebra-marmalade","field":"they said zebra-marmalade","remedy":"they said zebra-marmalade","detail":"they said zebra-marmalade"}}','2026-11-23 10:00:07+00:00');
INSERT INTO "runs" VALUES('eval_1','evaluation',1,'w','n',0,NULL,'{"version":0,"run_id":"eval_1","epoch":1,"outcome":"completed","step":0,"total_steps":0,"metrics":{"rows":2,"tokens":0,"loss_base":0,"loss_tuned":0,"loss_delta":0,"loss_delta_ci":[0,0],"perplexity_base":0,"perplexity_tuned":0,"rows_improved":0,"generations":0,"exact_match_base":0,"exact_match_tuned":0,"rouge_l_base":0,"rouge_l_tuned":0,"verdict":"","verdict_text":"they said zebra-marmalade","precision":"","seconds":0,"samples":[{"row":0,"prompt":"they said zebra-marmalade","reference":"they said zebra-marmalade","answer_base":"they said zebra-marmalade","answer_tuned":"they said zebra-marmalade","loss_base":0,"loss_tuned":0}]}}','2026-11-23 10:00:14+00:00');
CREATE TABLE schema_steps (name TEXT PRIMARY KEY);
INSERT INTO "schema_steps" VALUES('20261123000001');
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
INSERT INTO "training_jobs" VALUES('job_1','','j','ds_1','','{"source":"hub:o/n","token":"they said zebra-marmalade"}','','','cpu',0,'{"method":"","epochs":0,"max_steps":0,"learning_rate":0,"scheduler":"","warmup_ratio":0,"weight_decay":0,"max_grad_norm":0,"batch_size":0,"gradient_accumulation_steps":0,"max_length":0,"completion_only":false,"gradient_checkpointing":false,"precision":"","seed":0,"lora":{"r":0,"alpha":0,"dropout":0,"target_modules":""},"checkpoint":{"every_steps":0,"every_seconds":0},"eval_every_steps":0}','paused',0,1,'w',1,0,0.0,2.5,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'',0,'','','',NULL,NULL,'{"code":"bad_data","message":"they said zebra-marmalade","field":"they said zebra-marmalade","remedy":"they said zebra-marmalade","detail":"they said zebra-marmalade"}',8,'2026-11-23 10:00:06+00:00',NULL,'2026-11-23 10:00:07+00:00',NULL,'2026-11-23 10:00:10+00:00');
INSERT INTO "training_jobs" VALUES('job_2','','k','','','{"source":""}','m','','',0,'{"method":"","epochs":0,"max_steps":0,"learning_rate":0,"scheduler":"","warmup_ratio":0,"weight_decay":0,"max_grad_norm":0,"batch_size":0,"gradient_accumulation_steps":0,"max_length":0,"completion_only":false,"gradient_checkpointing":false,"precision":"","seed":0,"lora":{"r":0,"alpha":0,"dropout":0,"target_modules":""},"checkpoint":{"every_steps":0,"every_seconds":0},"eval_every_steps":0}','completed',0,0,'',0,0,0.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'',0,'','','',NULL,'{"note":"they said zebra-marmalade"}',NULL,2,'2026-11-23 10:00:11+00:00',NULL,NULL,'2026-11-23 10:00:12+00:00','2026-11-23 10:00:12+00:00');
CREATE TABLE users (
  id TEXT PRIMARY KEY,
  email TEXT NOT NULL UNIQUE,
  password_hash TEXT NOT NULL,
  role TEXT NOT NULL DEFAULT 'member',
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
);
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
CREATE INDEX api_keys_by_project ON api_keys (project_id, created_at, id);
CREATE INDEX models_by_age ON models (created_at, id);
CREATE UNIQUE INDEX events_once ON events (stream, source, source_seq) WHERE source <> '';
CREATE INDEX events_checkpoints ON events (stream, json_extract(payload, '$.name')) WHERE type = 'runner.checkpoint';
CREATE INDEX outbox_by_workflow ON outbox (workflow_id, id);
CREATE INDEX objects_by_digest ON objects (sha256);
CREATE INDEX object_refs_by_object ON object_refs (object_id);
CREATE INDEX run_blobs_by_object ON run_blobs (object_id);
CREATE INDEX datasets_by_age ON datasets (created_at, id);
CREATE INDEX training_jobs_by_age ON training_jobs (created_at, id);
CREATE INDEX training_jobs_by_queue ON training_jobs (queue, status);
CREATE INDEX evaluations_by_age ON evaluations (created_at, id);
CREATE INDEX deployments_by_age ON deployments (created_at, id);
CREATE INDEX exports_by_age ON exports (created_at, id);
CREATE INDEX pipelines_by_age ON pipelines (created_at, id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('bun_migrations',1);
COMMIT;
