-- The generation of the last Retry: an outcome of an older one is none of the run. Until now each
-- generation was made by a Retry.
ALTER TABLE runs ADD COLUMN since BIGINT NOT NULL DEFAULT 1;
UPDATE runs SET since = generation;
