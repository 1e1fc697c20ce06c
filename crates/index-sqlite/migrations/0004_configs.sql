-- What configurations of images say, by their digests: they never change. The bytes are in holds.
CREATE TABLE config (
    digest BLOB NOT NULL PRIMARY KEY,
    -- What cards show of the labels.
    title TEXT NOT NULL,
    summary TEXT NOT NULL,
    licence TEXT NOT NULL,
    -- JSON, as annotations.
    labels TEXT NOT NULL,
    -- linux/arm64/v8; empty for none.
    platform TEXT NOT NULL
) STRICT;

-- The configuration that a repository's card waits for.
CREATE TABLE config_wanted (
    repository INTEGER PRIMARY KEY REFERENCES repository (id),
    account INTEGER NOT NULL REFERENCES account (id),
    digest BLOB NOT NULL,
    due INTEGER NOT NULL,
    attempts INTEGER NOT NULL
) STRICT;
-- Accounts take turns; what was never tried comes before what failed.
CREATE INDEX config_wanted_first ON config_wanted (account, due) WHERE attempts = 0;
CREATE INDEX config_wanted_again ON config_wanted (account, due) WHERE attempts > 0;
CREATE INDEX config_wanted_by_digest ON config_wanted (digest, repository);

-- The configuration of the image that its card shows; empty for none, one zero byte for a card that is to be made anew.
ALTER TABLE repository ADD COLUMN config BLOB NOT NULL DEFAULT x'00';
-- The hold of that image.
ALTER TABLE repository ADD COLUMN config_hold TEXT NOT NULL DEFAULT '';
CREATE INDEX repository_by_config ON repository (config);
