-- What failures have changed of a job's configuration: a smaller micro-batch, a lower rate.
ALTER TABLE training_jobs ADD COLUMN adjusted TEXT;
