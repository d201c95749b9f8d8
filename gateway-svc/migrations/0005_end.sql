-- Whose session a run is for; '' is the project's own.
ALTER TABLE runs ADD COLUMN agent TEXT NOT NULL DEFAULT '';

-- The family that was open last: the run that it began with.
ALTER TABLE threads ADD COLUMN family TEXT NOT NULL DEFAULT '';

-- The generation of a run that a person ended while its holder may be at it. Its stop is published
-- until a record says that it is over.
ALTER TABLE runs ADD COLUMN stopping BIGINT;
CREATE INDEX runs_stopping ON runs (run) WHERE stopping IS NOT NULL;

-- When each runner was seen last.
CREATE TABLE runners (
    state_id TEXT PRIMARY KEY,
    runner TEXT NOT NULL,
    seen_ms BIGINT NOT NULL
);
