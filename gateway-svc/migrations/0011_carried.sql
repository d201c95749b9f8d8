-- What the last run of a session left for the next, wherever that runs: a transcript, changes.
ALTER TABLE sessions ADD COLUMN carried TEXT;
