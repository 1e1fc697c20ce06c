-- Browsers and devices that are signed in, and devices on their way. What they sign in with is kept as its SHA-256 only.
CREATE TABLE web_session (
    token_hash BLOB    NOT NULL PRIMARY KEY,
    did        TEXT    NOT NULL,
    handle     TEXT,             -- at sign-in; NULL: none that agrees with the DID
    created_at INTEGER NOT NULL, -- Unix seconds
    expires_at INTEGER NOT NULL  -- Unix seconds
) STRICT;

CREATE INDEX web_session_by_did ON web_session (did);
CREATE INDEX web_session_by_expiry ON web_session (expires_at);

CREATE TABLE pending_device (
    device_code_hash BLOB    NOT NULL PRIMARY KEY,
    user_code        TEXT    NOT NULL UNIQUE,
    name             TEXT    NOT NULL,
    address          TEXT    NOT NULL,
    decision         TEXT    NOT NULL DEFAULT 'pending' CHECK (decision IN ('pending', 'approved', 'denied')),
    did              TEXT,             -- who approved
    handle           TEXT,
    created_at       INTEGER NOT NULL, -- Unix seconds
    expires_at       INTEGER NOT NULL, -- Unix seconds
    interval_secs    INTEGER NOT NULL,
    polled_at_ms     INTEGER,          -- Unix milliseconds
    CHECK (decision != 'approved' OR did IS NOT NULL)
) STRICT;

CREATE INDEX pending_device_by_expiry ON pending_device (expires_at);

CREATE TABLE device (
    id           TEXT    NOT NULL PRIMARY KEY, -- the public part of the secret
    secret_hash  BLOB    NOT NULL,
    did          TEXT    NOT NULL,
    handle       TEXT,
    name         TEXT    NOT NULL,
    address      TEXT    NOT NULL, -- where it asked from
    created_at   INTEGER NOT NULL, -- Unix seconds
    last_used_at INTEGER,          -- Unix seconds
    last_address TEXT
) STRICT;

CREATE INDEX device_by_did ON device (did, created_at);
