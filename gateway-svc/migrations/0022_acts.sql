-- What people, an operator and tokens of the API ordered, once by what each came by: the audit. `run` is '' and
-- `generation` 0 where it is about no run. `by_kind`: person, operator, token; `by_user` is a person's number.
CREATE TABLE acts (
    id TEXT NOT NULL,
    act TEXT NOT NULL,
    run TEXT NOT NULL,
    generation BIGINT NOT NULL,
    project TEXT NOT NULL,
    thread BIGINT NOT NULL,
    by_kind TEXT NOT NULL,
    by_user BIGINT NOT NULL,
    by_name TEXT NOT NULL,
    detail TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (id, act, run, generation)
);
CREATE INDEX acts_at ON acts (at_ms);
CREATE INDEX acts_run ON acts (run, act);

-- The stops of before; a move had copied them into later generations. 0 was nobody, 1 the operator.
INSERT INTO acts (id, act, run, generation, project, thread, by_kind, by_user, by_name, detail, at_ms)
SELECT c.id, 'stop', c.run, c.generation, r.project, r.thread, 'person', c.by_user, c.by_name, '', c.at_ms
  FROM controls c JOIN runs r ON r.run = c.run
 WHERE c.what LIKE '{"do":"stop"%' AND c.by_user > 1
   AND NOT EXISTS (SELECT 1 FROM controls e
                    WHERE e.run = c.run AND e.id = c.id AND e.generation < c.generation);

-- What the runs took besides: tokens read (without those from the cache) and written, and time.
ALTER TABLE costs ADD COLUMN input_tokens BIGINT NOT NULL DEFAULT 0;
ALTER TABLE costs ADD COLUMN output_tokens BIGINT NOT NULL DEFAULT 0;
ALTER TABLE costs ADD COLUMN duration_ms BIGINT NOT NULL DEFAULT 0;

-- Runs as they are listed: the newest first.
CREATE INDEX runs_listed ON runs (accepted_ms, run);
