-- When this database last went on from a backup, in seconds since 1970; 0: never. Epochs handed out since are above those of
-- every earlier life of it: contract.Epoch.
ALTER TABLE identity ADD COLUMN timeline INTEGER NOT NULL DEFAULT 0;
