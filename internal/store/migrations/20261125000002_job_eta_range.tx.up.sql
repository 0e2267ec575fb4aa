-- The range of a job's eta_seconds.

ALTER TABLE training_jobs ADD COLUMN eta_low_seconds REAL;
--bun:split
ALTER TABLE training_jobs ADD COLUMN eta_high_seconds REAL;
