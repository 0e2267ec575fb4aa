-- What an entry starts or signals is sealed too: `message` stands for `start` and `signal`, which entries of earlier builds
-- have until the next start (seal_earlier.go). The file is rewritten, for it remembers what they said.

ALTER TABLE outbox ADD COLUMN message BLOB;
--bun:split
UPDATE content_keys SET state = 'scrubbing' WHERE state = 'sealed';
