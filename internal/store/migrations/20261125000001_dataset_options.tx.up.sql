ALTER TABLE datasets ADD COLUMN options TEXT;
