-- What was counted since the store was made, each number once by its name: `outcome/answered` and the
-- like, `tokens/input`, `tokens/output`, `cost` (millionths of a US dollar). Added to in the
-- transaction that it is about, so it is right whoever is killed.
CREATE TABLE tallies (
    project TEXT NOT NULL,
    what TEXT NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (project, what)
);

-- Whether a row waits for a right that the bot lacks: 0, 1.
ALTER TABLE outbox ADD COLUMN parked BIGINT NOT NULL DEFAULT 0;
