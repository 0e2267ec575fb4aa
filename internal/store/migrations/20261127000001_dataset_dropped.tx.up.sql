ALTER TABLE datasets ADD COLUMN dropped TEXT;
