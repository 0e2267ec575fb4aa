-- Accounts, sessions, settings and the audit log are plain tables: they must be erasable.

ALTER TABLE users ADD COLUMN name TEXT NOT NULL DEFAULT '';
--bun:split
ALTER TABLE users ADD COLUMN disabled_at TEXT;
--bun:split
ALTER TABLE users ADD COLUMN last_seen_at TEXT;
--bun:split
ALTER TABLE projects ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
--bun:split
ALTER TABLE projects ADD COLUMN deleted_at TEXT;
--bun:split
CREATE INDEX projects_by_user ON projects (user_id);
--bun:split
-- A family of refresh tokens. Without a user it is the machine's owner, who has no account yet.
CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  user_id TEXT REFERENCES users(id) ON DELETE CASCADE,
  client TEXT NOT NULL,
  address TEXT NOT NULL,
  created_at TEXT NOT NULL,
  last_used_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  revoked_at TEXT
);
--bun:split
CREATE INDEX sessions_by_user ON sessions (user_id, last_used_at);
--bun:split
CREATE TABLE refresh_tokens (
  hash TEXT PRIMARY KEY,
  session_id TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
  created_at TEXT NOT NULL,
  used_at TEXT
) WITHOUT ROWID;
--bun:split
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);
--bun:split
CREATE TABLE one_time_codes (
  hash TEXT PRIMARY KEY,
  purpose TEXT NOT NULL,
  user_id TEXT REFERENCES users(id) ON DELETE CASCADE,
  expires_at TEXT NOT NULL
) WITHOUT ROWID;
--bun:split
-- owner is a user's id, or empty for the whole installation; a secret's value is sealed.
CREATE TABLE settings (
  owner TEXT NOT NULL,
  name TEXT NOT NULL,
  value BLOB NOT NULL,
  updated_at TEXT NOT NULL,
  PRIMARY KEY (owner, name)
) WITHOUT ROWID;
--bun:split
CREATE TABLE audit_events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL,
  actor_kind TEXT NOT NULL,
  actor_id TEXT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  resource TEXT NOT NULL,
  project_id TEXT NOT NULL,
  address TEXT NOT NULL,
  status INTEGER NOT NULL,
  code TEXT NOT NULL,
  request_id TEXT NOT NULL
);
--bun:split
CREATE INDEX audit_events_by_actor ON audit_events (actor_id, id);
--bun:split
CREATE INDEX audit_events_by_action ON audit_events (action, id);
--bun:split
CREATE INDEX audit_events_by_project ON audit_events (project_id, id);
--bun:split
CREATE INDEX datasets_by_project ON datasets (project_id, created_at, id);
--bun:split
CREATE INDEX training_jobs_by_project ON training_jobs (project_id, created_at, id);
--bun:split
CREATE INDEX evaluations_by_project ON evaluations (project_id, created_at, id);
--bun:split
CREATE INDEX deployments_by_project ON deployments (project_id, created_at, id);
--bun:split
CREATE INDEX exports_by_project ON exports (project_id, created_at, id);
--bun:split
CREATE INDEX pipelines_by_project ON pipelines (project_id, created_at, id);
--bun:split
CREATE INDEX models_by_project ON models (project_id, created_at, id);
