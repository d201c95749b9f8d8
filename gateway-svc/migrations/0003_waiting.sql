-- Until when nothing of a thread is released: it has not been read since the session began.
ALTER TABLE threads ADD COLUMN gate_until_ms BIGINT NOT NULL DEFAULT 0;
