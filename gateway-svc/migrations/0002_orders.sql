-- What people decided about released runs, each decision once by its id: the audit as well.
CREATE TABLE controls (
    run TEXT NOT NULL,
    generation BIGINT NOT NULL,
    id TEXT NOT NULL,
    what TEXT NOT NULL,
    by_user BIGINT NOT NULL,
    by_name TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (run, generation, id)
);

-- How a run ended: answered, failed, stopped; dropped and discarded are a person's word.
ALTER TABLE runs ADD COLUMN outcome TEXT;

-- When a row was tried first: beyond Discord's nonce window, a post of unknown fate is looked up.
ALTER TABLE outbox ADD COLUMN first_ms BIGINT;
