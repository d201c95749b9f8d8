-- Where a conversation goes on for which no thread could be started: in its channel.
ALTER TABLE threads ADD COLUMN said_in BIGINT;

-- What claude is told before the question: who asks, where several people do. Frozen at release.
ALTER TABLE runs ADD COLUMN preface TEXT;
CREATE INDEX runs_people ON runs (thread, author);

-- What waits to be tried again and holds up nothing meanwhile.
CREATE INDEX outbox_later ON outbox (due_ms) WHERE state = 'later';
