-- What configurations of images say, by their digests: they never change. The bytes are in holds.
CREATE TABLE config (
    digest BLOB PRIMARY KEY,
    -- JSON, as annotations.
    labels TEXT NOT NULL,
    -- linux/arm64/v8; empty for none.
    platform TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The configuration that a repository's card waits for.
CREATE TABLE config_wanted (
    repository INTEGER PRIMARY KEY REFERENCES repository (id),
    digest BLOB NOT NULL,
    due INTEGER NOT NULL,
    attempts INTEGER NOT NULL
) STRICT;
CREATE INDEX config_wanted_by_due ON config_wanted (due);
CREATE INDEX config_wanted_by_digest ON config_wanted (digest);

-- The configuration of the image that its card shows; empty for none.
ALTER TABLE repository ADD COLUMN config BLOB NOT NULL DEFAULT x'';
