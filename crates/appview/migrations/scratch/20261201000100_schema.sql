-- The scratch database: what can be made again. Times are Unix seconds.
--
-- The manifests and tags of accounts, as their own repositories have them, for searching. An account is listed into rows beside
-- those that are read: readers see the old listing or the new one, and a long listing is many short transactions.
CREATE TABLE listing (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    did        TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('staged', 'published', 'discarded')),
    synced_rev TEXT,                       -- the revision that the rows are of; NULL: never listed, only seen by pulls
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
    annotations   TEXT    NOT NULL, -- JSON object of strings, complete where artifact_type is not NULL and they are kept
    annotations_kept INTEGER NOT NULL DEFAULT 1, -- 0: they are too long, ask the bytes
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

-- Children of indexes, which must not be deleted before their index.
CREATE TABLE manifest_child (
    listing  INTEGER NOT NULL,
    digest   TEXT    NOT NULL,
    manifest INTEGER NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
    PRIMARY KEY (listing, digest, manifest)
) STRICT, WITHOUT ROWID;

CREATE INDEX manifest_child_by_manifest ON manifest_child (manifest);

-- What the bytes of a manifest say beyond its record. It follows from the digest, so it never changes; only the newest rows stay.
CREATE TABLE manifest_detail (
    id            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, -- in order of arrival: the lowest go first
    digest        TEXT    NOT NULL UNIQUE,
    size_bytes    INTEGER NOT NULL,
    artifact_type TEXT,
    annotations   TEXT                                        -- JSON object of strings; NULL: too long to be kept
) STRICT;

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

-- The newest revision that was seen of each account: a PDS that serves an older one has gone back.
CREATE TABLE account_revision (
    id  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, -- in the order in which accounts moved: the lowest go first
    did TEXT    NOT NULL UNIQUE,
    rev TEXT    NOT NULL
) STRICT;

-- Blob uploads between two requests. Clients return to them after a token has expired and after a restart of this server.
CREATE TABLE upload_session (
    id             TEXT    NOT NULL PRIMARY KEY,
    did            TEXT    NOT NULL, -- whose session it is
    auth_method    TEXT    NOT NULL CHECK (auth_method IN ('oauth', 'app_password')),
    repository     TEXT    NOT NULL, -- as the client spelled it
    hold_did       TEXT    NOT NULL,
    hold_endpoint  TEXT    NOT NULL,
    remote_id      TEXT,             -- the hold's name for the upload; NULL until the first bytes
    min_part_size  INTEGER NOT NULL DEFAULT 0,
    max_part_size  INTEGER,
    store_hashes   INTEGER NOT NULL DEFAULT 0,
    store_streams  INTEGER NOT NULL DEFAULT 0,
    store_announced INTEGER NOT NULL DEFAULT 0,
    offset_bytes   INTEGER NOT NULL DEFAULT 0,
    hash_state     BLOB    NOT NULL, -- digests of offset_bytes bytes
    tail_hash_state BLOB   NOT NULL, -- digests of the bytes that are in parts
    written_by     INTEGER NOT NULL, -- the run of the server that wrote the spooled rest
    expires_at     INTEGER NOT NULL  -- Unix seconds
) STRICT;

CREATE INDEX upload_session_by_expiry ON upload_session (expires_at);
CREATE INDEX upload_session_by_account ON upload_session (did);

-- The parts that the store has acknowledged, numbered from 1 without gaps.
CREATE TABLE upload_part (
    session_id TEXT    NOT NULL REFERENCES upload_session (id) ON DELETE CASCADE,
    number     INTEGER NOT NULL CHECK (number BETWEEN 1 AND 10000),
    etag       TEXT    NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (session_id, number)
) STRICT, WITHOUT ROWID;
