-- Messages that were found too late to be run unasked, each with what is needed to run it later.
-- Its state: found, listed, due (somebody wants it run), run, left, gone (deleted, or not for us by
-- then), refused. `list` is the list that names it, by the newest message in it; 0: none yet.
CREATE TABLE missed (
    message BIGINT PRIMARY KEY,
    place BIGINT NOT NULL,
    channel BIGINT NOT NULL,
    project TEXT NOT NULL,
    author BIGINT NOT NULL,
    words TEXT NOT NULL,
    list BIGINT NOT NULL,
    state TEXT NOT NULL,
    found_ms BIGINT NOT NULL
);
CREATE INDEX missed_open ON missed (place, message) WHERE state IN ('found', 'due');

-- Lists of such messages, and what was decided about each: open, run, left.
CREATE TABLE missed_lists (
    list BIGINT PRIMARY KEY,
    place BIGINT NOT NULL,
    channel BIGINT NOT NULL,
    project TEXT NOT NULL,
    state TEXT NOT NULL,
    made_ms BIGINT NOT NULL,
    by_user BIGINT,
    by_name TEXT,
    decided_ms BIGINT
);

-- When Discord was last known to be heard. One row.
CREATE TABLE listening (
    who TEXT PRIMARY KEY,
    heard_ms BIGINT NOT NULL
);

-- Times without anybody who listened, until their channels were told.
CREATE TABLE away (
    from_ms BIGINT PRIMARY KEY,
    to_ms BIGINT NOT NULL
);
