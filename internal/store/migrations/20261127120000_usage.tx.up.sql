-- Metering (usage.go). A request stands in key_requests from before its work begins until its end is added to its day and
-- model in key_usage; what a killed server leaves there is added at the next start.

CREATE TABLE key_requests (
  id INTEGER PRIMARY KEY,
  key_id TEXT NOT NULL REFERENCES api_keys(id) ON DELETE CASCADE,
  model_id TEXT NOT NULL,
  at TEXT NOT NULL
);
--bun:split
CREATE TABLE key_usage (
  key_id TEXT NOT NULL REFERENCES api_keys(id) ON DELETE CASCADE,
  day TEXT NOT NULL,
  model_id TEXT NOT NULL,
  requests INTEGER NOT NULL,
  errors INTEGER NOT NULL,
  cancelled INTEGER NOT NULL,
  interrupted INTEGER NOT NULL,
  prompt_tokens INTEGER NOT NULL,
  completion_tokens INTEGER NOT NULL,
  latency BLOB NOT NULL,
  PRIMARY KEY (key_id, day, model_id)
) WITHOUT ROWID;
