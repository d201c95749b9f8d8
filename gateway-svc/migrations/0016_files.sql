-- The files that came with a run's message, as JSON: what they are, where Discord has them, and from
-- then on under which name they lie in FILES.
ALTER TABLE runs ADD COLUMN files TEXT;

-- When the next try to bring them there is due; none: all of them are there, or are left out. Until then
-- the run is not published.
ALTER TABLE runs ADD COLUMN files_due BIGINT;
ALTER TABLE runs ADD COLUMN files_tries BIGINT NOT NULL DEFAULT 0;
CREATE INDEX runs_files ON runs (files_due) WHERE files_due IS NOT NULL;

-- What the runner is to do: ask (claude), diff (say what has changed in the worktree).
ALTER TABLE runs ADD COLUMN task TEXT NOT NULL DEFAULT 'ask';
