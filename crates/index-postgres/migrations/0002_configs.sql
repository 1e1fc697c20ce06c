-- What configurations of images say, by their digests: they never change. The bytes are in holds.
CREATE TABLE config (
    digest bytea PRIMARY KEY,
    -- JSON, as annotations.
    labels text COLLATE "C" NOT NULL,
    -- linux/arm64/v8; empty for none.
    platform text COLLATE "C" NOT NULL
);

-- The configuration that a repository's card waits for.
CREATE TABLE config_wanted (
    repository bigint PRIMARY KEY REFERENCES repository (id),
    digest bytea NOT NULL,
    due bigint NOT NULL,
    attempts bigint NOT NULL
);
CREATE INDEX config_wanted_by_due ON config_wanted (due);
CREATE INDEX config_wanted_by_digest ON config_wanted (digest);

-- The configuration of the image that its card shows; empty for none.
ALTER TABLE repository ADD COLUMN config bytea NOT NULL DEFAULT ''::bytea;
