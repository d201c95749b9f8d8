-- One text for SQLite and PostgreSQL: TEXT, BIGINT and nothing else. Times are milliseconds since
-- 1970, ids of Discord are their numbers, flags are words.

-- What the store itself remembers.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Mapped channels, and how far each was read.
CREATE TABLE channels (
    channel BIGINT PRIMARY KEY,
    cursor BIGINT NOT NULL
);

-- Conversations; a channel itself has a row too, for what is said in it. Every transaction that
-- accepts, folds or releases raises `changes` first: that row is the thread's lock. The poster
-- leases the row while it writes there.
CREATE TABLE threads (
    thread BIGINT PRIMARY KEY,
    channel BIGINT NOT NULL,
    project TEXT NOT NULL,
    changes BIGINT NOT NULL,
    cursor BIGINT NOT NULL,
    active_ms BIGINT NOT NULL,
    lease_owner TEXT NOT NULL,
    lease_until_ms BIGINT NOT NULL
);

-- The verdict on every message that was judged: run, refused, not_for_us.
CREATE TABLE messages (
    message BIGINT PRIMARY KEY,
    channel BIGINT NOT NULL,
    verdict TEXT NOT NULL,
    judged_ms BIGINT NOT NULL
);

-- claude's session of each conversation.
CREATE TABLE sessions (
    thread BIGINT NOT NULL,
    agent TEXT NOT NULL,
    session TEXT NOT NULL,
    PRIMARY KEY (thread, agent)
);

-- Runs: queued, released, ended. The columns from `attempt` on are what the newest record said.
CREATE TABLE runs (
    run TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    channel BIGINT NOT NULL,
    thread BIGINT NOT NULL,
    ord BIGINT NOT NULL,
    asked_in BIGINT,
    asked_by BIGINT,
    author BIGINT NOT NULL,
    author_name TEXT NOT NULL,
    prompt TEXT NOT NULL,
    session TEXT NOT NULL,
    trace TEXT,
    generation BIGINT NOT NULL,
    state TEXT NOT NULL,
    accepted_ms BIGINT NOT NULL,
    released_ms BIGINT,
    ended_ms BIGINT,
    attempt BIGINT,
    owner TEXT,
    phase TEXT,
    record TEXT
);
CREATE INDEX runs_open ON runs (thread, ord) WHERE state <> 'ended';

-- Who owns an exclusive project.
CREATE TABLE owners (
    project TEXT PRIMARY KEY,
    runner TEXT NOT NULL,
    state_id TEXT NOT NULL,
    since_ms BIGINT NOT NULL
);

-- What Discord is owed: due, sent, ended (it cannot be done, and `error` says why).
CREATE TABLE outbox (
    name TEXT PRIMARY KEY,
    thread BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    action TEXT NOT NULL,
    state TEXT NOT NULL,
    due_ms BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    message BIGINT,
    error TEXT,
    made_ms BIGINT NOT NULL,
    done_ms BIGINT
);
CREATE UNIQUE INDEX outbox_order ON outbox (thread, seq);
CREATE INDEX outbox_message ON outbox (message);
CREATE INDEX outbox_due ON outbox (thread, seq) WHERE state = 'due';
