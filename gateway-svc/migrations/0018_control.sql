-- Messages that waited and were sent into the run at work. Their states: open (claude is to be told), taken
-- (they became part of the run), back (it ended without them, so they wait again); joined (they are part
-- of the words of another that waited). The audit as well.
CREATE TABLE steers (
    run TEXT NOT NULL,
    sent_into TEXT NOT NULL,
    thread BIGINT NOT NULL,
    id TEXT NOT NULL,
    words TEXT NOT NULL,
    state TEXT NOT NULL,
    by_user BIGINT NOT NULL,
    by_name TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (run, id)
);
CREATE INDEX steers_into ON steers (sent_into) WHERE state <> 'back';

-- Whether a run's words were given by command: its message does not count any more.
ALTER TABLE runs ADD COLUMN reworded BIGINT NOT NULL DEFAULT 0;

-- The session that the next run of a conversation goes on with; '': one of its own.
ALTER TABLE sessions ADD COLUMN next TEXT;

-- The model that a person chose for a thread, and the one that a run was released with.
ALTER TABLE threads ADD COLUMN model TEXT;
ALTER TABLE runs ADD COLUMN model TEXT;
