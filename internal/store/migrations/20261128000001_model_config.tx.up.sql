-- What a tuned model was trained with stays with it, though its job may be deleted: training that goes on from it keeps
-- the adapter's shape.
ALTER TABLE models ADD COLUMN config TEXT;
--bun:split
UPDATE models SET config = (SELECT config FROM training_jobs WHERE training_jobs.id = models.job_id) WHERE job_id <> '';
