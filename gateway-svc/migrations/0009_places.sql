-- Where a released run is to run, as in its subject: `any`, `at.<runner>`. Decided once for each
-- generation, before it is published.
ALTER TABLE runs ADD COLUMN place TEXT;

-- The runner that held the thread's last run, or was chosen for its next.
ALTER TABLE threads ADD COLUMN home TEXT;

-- What a runner said of itself last.
ALTER TABLE runners ADD COLUMN presence TEXT;
