-- An account is listed into rows beside those that are read, so that readers see the old listing or the new one and a long listing
-- is many short transactions. What was listed before is listed again.
DROP TABLE manifest_blob;
DROP TABLE manifest_child;
DROP TABLE manifest;
DROP TABLE tag;
DROP TABLE account;

CREATE TABLE listing (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    did        TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('staged', 'published', 'discarded')),
    synced_rev TEXT,                       -- the revision that the rows are of; NULL: never listed, only what pulls came by
    is_whole   INTEGER NOT NULL DEFAULT 1, -- 0: the account has more records than are listed
    size_bytes INTEGER NOT NULL DEFAULT 0, -- of the records as they were read
    last_use   INTEGER NOT NULL DEFAULT 0  -- grows with every write to any listing
) STRICT;

CREATE UNIQUE INDEX listing_published ON listing (did) WHERE state = 'published';
CREATE INDEX listing_by_state ON listing (state);
CREATE INDEX listing_by_use ON listing (last_use);

CREATE TABLE manifest (
    id            INTEGER NOT NULL PRIMARY KEY,
    listing       INTEGER NOT NULL,
    rkey          TEXT    NOT NULL,
    repository    TEXT    NOT NULL,
    digest        TEXT    NOT NULL,
    media_type    TEXT    NOT NULL,
    size_bytes    INTEGER,          -- of the bytes at the PDS, as the record says
    blob_cid      TEXT,             -- the bytes at the PDS
    subject       TEXT,             -- the digest of the manifest it is about
    hold_did      TEXT,
    artifact_type TEXT,             -- NULL: the record does not say, ask manifest_detail or the bytes
    annotations   TEXT    NOT NULL, -- JSON object of strings, complete where artifact_type is not NULL
    UNIQUE (listing, rkey)
) STRICT;

CREATE INDEX manifest_by_digest ON manifest (listing, digest);
CREATE INDEX manifest_by_repository ON manifest (listing, repository);
CREATE INDEX manifest_by_subject ON manifest (listing, repository, subject) WHERE subject IS NOT NULL;

-- Configs and layers: which hold to ask for a blob.
CREATE TABLE manifest_blob (
    listing  INTEGER NOT NULL,
    digest   TEXT    NOT NULL,
    manifest INTEGER NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
    PRIMARY KEY (listing, digest, manifest)
) STRICT, WITHOUT ROWID;

CREATE INDEX manifest_blob_by_manifest ON manifest_blob (manifest);

-- Children of indexes: what must not be deleted before its index.
CREATE TABLE manifest_child (
    listing  INTEGER NOT NULL,
    digest   TEXT    NOT NULL,
    manifest INTEGER NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
    PRIMARY KEY (listing, digest, manifest)
) STRICT, WITHOUT ROWID;

CREATE INDEX manifest_child_by_manifest ON manifest_child (manifest);

CREATE TABLE tag (
    listing    INTEGER NOT NULL,
    rkey       TEXT    NOT NULL,
    repository TEXT    NOT NULL,
    tag        TEXT    NOT NULL,
    digest     TEXT,
    moved_at   TEXT,
    PRIMARY KEY (listing, rkey)
) STRICT, WITHOUT ROWID;

CREATE INDEX tag_by_name ON tag (listing, repository, tag);
CREATE INDEX tag_by_digest ON tag (listing, digest);
