-- Which database this is: a bucket remembers whose objects it holds. One that is older than this is known by its age, so that
-- its backups are the same database.

CREATE TABLE identity (id TEXT PRIMARY KEY);
--bun:split
INSERT INTO identity SELECT COALESCE((SELECT created_at FROM projects WHERE id = 'proj_default'), lower(hex(randomblob(12))));
