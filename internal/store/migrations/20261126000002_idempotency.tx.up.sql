-- Which resource a request with an Idempotency-Key has made; written with the resource.
CREATE TABLE idempotency_keys (
  owner TEXT NOT NULL,
  key TEXT NOT NULL,
  request TEXT NOT NULL,
  kind TEXT NOT NULL,
  resource_id TEXT NOT NULL,
  status INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  PRIMARY KEY (owner, key)
) WITHOUT ROWID;
--bun:split
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
