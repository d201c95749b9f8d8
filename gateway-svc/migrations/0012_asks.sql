-- What claude asks people, as the newest record said. Its state: open, decided (claude is to be told),
-- settled (claude has taken it), over (nobody waits for it any more).
CREATE TABLE asks (
    run TEXT NOT NULL,
    generation BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    ask TEXT NOT NULL,
    thread BIGINT NOT NULL,
    wanted TEXT NOT NULL,
    state TEXT NOT NULL,
    made_ms BIGINT NOT NULL,
    PRIMARY KEY (run, generation, attempt, ask)
);
CREATE INDEX asks_open ON asks (thread) WHERE state = 'open';

-- What was decided about each part of an ask, once: the audit as well. `by_id` is what it came by: an
-- interaction, or `grant`.
CREATE TABLE decisions (
    run TEXT NOT NULL,
    generation BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    ask TEXT NOT NULL,
    part BIGINT NOT NULL,
    decision TEXT NOT NULL,
    line TEXT NOT NULL,
    by_user BIGINT NOT NULL,
    by_name TEXT NOT NULL,
    by_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (run, generation, attempt, ask, part)
);

-- What people have allowed for a whole thread.
CREATE TABLE grants (
    thread BIGINT NOT NULL,
    rule TEXT NOT NULL,
    by_user BIGINT NOT NULL,
    by_name TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (thread, rule)
);

-- How much the newest record of the attempt knows of its asks.
ALTER TABLE runs ADD COLUMN asked BIGINT NOT NULL DEFAULT 0;
