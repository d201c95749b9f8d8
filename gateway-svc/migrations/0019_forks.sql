-- Threads that are to begin with what was said in another: each by the row of the message that it begins
-- with. `thread` is the new one, once that message is there.
CREATE TABLE forks (
    name TEXT PRIMARY KEY,
    from_thread BIGINT NOT NULL,
    channel BIGINT NOT NULL,
    project TEXT NOT NULL,
    asked_in BIGINT NOT NULL,
    asked_by BIGINT NOT NULL,
    carried TEXT NOT NULL,
    spent BIGINT,
    first TEXT NOT NULL,
    by_user BIGINT NOT NULL,
    by_name TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    thread BIGINT
);

-- What a session had cost before this thread had it, in millionths of a US dollar.
ALTER TABLE sessions ADD COLUMN spent BIGINT;

-- Whether a session was begun in a terminal: it is resumed or nothing is run.
ALTER TABLE sessions ADD COLUMN brought BIGINT NOT NULL DEFAULT 0;

-- The thread whose files another begins with.
ALTER TABLE threads ADD COLUMN files_of BIGINT;
