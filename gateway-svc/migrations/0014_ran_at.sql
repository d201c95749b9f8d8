-- The runner that held the thread's last run; `home` may be one that was chosen for the next.
ALTER TABLE threads ADD COLUMN ran_at TEXT;
UPDATE threads SET ran_at = home;
