-- The gateways that are at work on this store; `beat` grows while one is.
CREATE TABLE gateways (
    gateway TEXT PRIMARY KEY,
    beat BIGINT NOT NULL
);
