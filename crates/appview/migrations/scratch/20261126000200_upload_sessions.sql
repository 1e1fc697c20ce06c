-- Blob uploads between two requests: clients come back to them after a token's end and after a restart of this server.
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

-- The parts that the store has acknowledged, numbered from 1 without gaps.
CREATE TABLE upload_part (
    session_id TEXT    NOT NULL REFERENCES upload_session (id) ON DELETE CASCADE,
    number     INTEGER NOT NULL CHECK (number BETWEEN 1 AND 10000),
    etag       TEXT    NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (session_id, number)
) STRICT, WITHOUT ROWID;
