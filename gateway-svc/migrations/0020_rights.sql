-- What each generation of a run may do: decided once, before it is published. `safe_by`: who said meanwhile
-- that leave is to be asked for after all.
CREATE TABLE rights (
    run TEXT NOT NULL,
    generation BIGINT NOT NULL,
    rights TEXT NOT NULL,
    safe_by TEXT,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (run, generation)
);

-- What was said about asking for leave, each word once: the audit as well. `word`: asked (for a second
-- word), unsafe, safe. `place` is what it is about, a thread or a channel; `said_in` where it was said.
-- `id` is what it came by.
CREATE TABLE unsafe_words (
    id TEXT PRIMARY KEY,
    place BIGINT NOT NULL,
    channel BIGINT NOT NULL,
    said_in BIGINT NOT NULL,
    project TEXT NOT NULL,
    word TEXT NOT NULL,
    by_user BIGINT NOT NULL,
    by_name TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    until_ms BIGINT
);
CREATE INDEX unsafe_words_place ON unsafe_words (place, at_ms);
