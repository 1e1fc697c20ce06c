-- What configurations of images say, by their digests: they never change. The bytes are in holds.
CREATE TABLE config (
    digest bytea PRIMARY KEY,
    -- What cards show of the labels.
    title text COLLATE "C" NOT NULL,
    summary text COLLATE "C" NOT NULL,
    licence text COLLATE "C" NOT NULL,
    -- JSON, as annotations.
    labels text COLLATE "C" NOT NULL,
    -- linux/arm64/v8; empty for none.
    platform text COLLATE "C" NOT NULL
);

-- The configuration that a repository's card waits for.
CREATE TABLE config_wanted (
    repository bigint PRIMARY KEY REFERENCES repository (id),
    account bigint NOT NULL REFERENCES account (id),
    digest bytea NOT NULL,
    due bigint NOT NULL,
    attempts bigint NOT NULL
);
-- Accounts take turns; what was never tried comes before what failed.
CREATE INDEX config_wanted_first ON config_wanted (account, due) WHERE attempts = 0;
CREATE INDEX config_wanted_again ON config_wanted (account, due) WHERE attempts > 0;
CREATE INDEX config_wanted_by_digest ON config_wanted (digest, repository);

-- The configuration of the image that its card shows; empty for none, one zero byte for a card that is to be made anew.
ALTER TABLE repository ADD COLUMN config bytea NOT NULL DEFAULT '\x00'::bytea;
-- The hold of that image.
ALTER TABLE repository ADD COLUMN config_hold text COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX repository_by_config ON repository (config);
