-- What a job's page tells of the failures that it went on after, among all that the job has told.
CREATE INDEX events_setbacks ON events (stream, seq) WHERE type IN ('job.adjusted', 'job.checkpoint_lost');
