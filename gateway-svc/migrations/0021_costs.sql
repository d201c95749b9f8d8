-- What each outcome cost, in millionths of a US dollar, when it was known.
CREATE TABLE costs (
    run TEXT NOT NULL,
    generation BIGINT NOT NULL,
    project TEXT NOT NULL,
    author BIGINT NOT NULL,
    micro BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (run, generation)
);
CREATE INDEX costs_at ON costs (at_ms);

-- How often people have asked.
CREATE INDEX runs_asked ON runs (project, ord);
