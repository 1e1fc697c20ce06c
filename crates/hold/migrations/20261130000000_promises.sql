-- Uploads that the hold has acknowledged and not finished yet. A row is synced before its upload is acknowledged.
CREATE TABLE promises (
    upload_id     TEXT    NOT NULL PRIMARY KEY REFERENCES uploads (id) ON DELETE CASCADE,
    owner         TEXT    NOT NULL, -- DID of who is told that the blob exists
    digest        TEXT    NOT NULL, -- what the bytes are said to hash to
    size_bytes    INTEGER NOT NULL, -- what the parts are long together
    parts         TEXT    NOT NULL, -- JSON: [[number, tag], …]
    vouched_bytes INTEGER,          -- the size that a trusted AppView stated
    promised_at   INTEGER NOT NULL  -- Unix milliseconds
) STRICT;

-- Serves the question to whom a blob is promised.
CREATE INDEX promises_by_blob ON promises (digest, owner);

-- Serves the question what an account was promised.
CREATE INDEX promises_by_owner ON promises (owner);

-- Notices of pushes that name promised layers. Each waits for them, and is then recorded.
CREATE TABLE deferred_notices (
    id          INTEGER NOT NULL PRIMARY KEY,
    owner       TEXT    NOT NULL, -- DID of who pushed
    notice      TEXT    NOT NULL, -- JSON
    received_at INTEGER NOT NULL  -- Unix milliseconds
) STRICT;

CREATE INDEX deferred_notices_by_owner ON deferred_notices (owner);
