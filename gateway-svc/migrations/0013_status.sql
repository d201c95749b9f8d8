-- The outbox row of the status message that a run has at present.
ALTER TABLE runs ADD COLUMN status TEXT;
CREATE INDEX runs_status ON runs (run) WHERE status IS NOT NULL;

-- What the run's session had cost at its end, in millionths of a US dollar.
ALTER TABLE runs ADD COLUMN spent BIGINT;
CREATE INDEX runs_spent ON runs (session, spent) WHERE spent IS NOT NULL;

-- Which gateway does what only one is to do, and for how long.
CREATE TABLE leads (
    what TEXT PRIMARY KEY,
    gateway TEXT NOT NULL,
    until_ms BIGINT NOT NULL
);
