-- The durable database: sign-ins of every kind, and the notices that holds have not received yet.
-- Times are Unix seconds unless a column says otherwise.

-- Sessions that app passwords gave, one per account. A restart must not sign anyone out.
CREATE TABLE pds_session (
    did    TEXT NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL -- tokens and where they are valid, under the vault's key
) STRICT;

-- Refresh tokens of the token endpoint, by their SHA-256.
CREATE TABLE refresh_token (
    token_hash  BLOB    NOT NULL PRIMARY KEY,
    did         TEXT    NOT NULL,
    auth_method TEXT    NOT NULL CHECK (auth_method IN ('oauth', 'app_password')),
    expires_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX refresh_token_by_expiry ON refresh_token (expires_at);
CREATE INDEX refresh_token_by_did ON refresh_token (did);

-- OAuth sign-ins that have begun and not finished.
CREATE TABLE oauth_request (
    state_hash BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the state parameter
    sealed     BLOB    NOT NULL,             -- verifier, key and issuer, under the vault's key
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX oauth_request_by_expiry ON oauth_request (expires_at);

-- OAuth sessions, one per account. A refresh token works once, so the process that refreshes takes the lease first. The version
-- shows whether another process has refreshed since. Several processes may share this table.
CREATE TABLE oauth_session (
    did             TEXT    NOT NULL PRIMARY KEY,
    client_id       TEXT    NOT NULL, -- the client that the tokens were issued to
    client_key      TEXT    NOT NULL, -- the key that the client authenticated with; '': a client without a key
    requested_scope TEXT    NOT NULL,
    sealed          BLOB    NOT NULL, -- tokens and DPoP key, under the vault's key
    version         INTEGER NOT NULL, -- never the same twice for one account
    lease_until     INTEGER,          -- Unix milliseconds; NULL: no process is refreshing
    signed_in_at    INTEGER NOT NULL
) STRICT;

-- Browsers that are signed in, by the SHA-256 of their cookie.
CREATE TABLE web_session (
    token_hash BLOB    NOT NULL PRIMARY KEY,
    did        TEXT    NOT NULL,
    handle     TEXT,             -- at sign-in; NULL: none that matches the DID
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX web_session_by_did ON web_session (did);
CREATE INDEX web_session_by_expiry ON web_session (expires_at);

-- Devices that wait for an approval, or for their secret.
CREATE TABLE pending_device (
    device_code_hash BLOB    NOT NULL PRIMARY KEY,
    user_code        TEXT    NOT NULL UNIQUE,
    name             TEXT    NOT NULL,
    address          TEXT    NOT NULL,
    decision         TEXT    NOT NULL DEFAULT 'pending' CHECK (decision IN ('pending', 'approved', 'denied')),
    did              TEXT,             -- the account that approved
    handle           TEXT,
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    interval_secs    INTEGER NOT NULL,
    polled_at_ms     INTEGER,          -- Unix milliseconds
    CHECK (decision != 'approved' OR did IS NOT NULL)
) STRICT;

CREATE INDEX pending_device_by_expiry ON pending_device (expires_at);

-- Devices that are signed in.
CREATE TABLE device (
    id           TEXT    NOT NULL PRIMARY KEY, -- the public part of the secret
    secret_hash  BLOB    NOT NULL,
    did          TEXT    NOT NULL,
    handle       TEXT,
    name         TEXT    NOT NULL,
    address      TEXT    NOT NULL, -- where the sign-in came from
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    last_address TEXT
) STRICT;

CREATE INDEX device_by_did ON device (did, created_at);

-- Pushes that a hold has not been notified of: without the notice the hold has no records of the layers. A row is written before
-- the push is acknowledged and removed when the hold has answered.
CREATE TABLE push_notice (
    id          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    did         TEXT    NOT NULL, -- the account that pushed; the hold is notified in its name
    auth_method TEXT    NOT NULL CHECK (auth_method IN ('oauth', 'app_password')),
    hold_did    TEXT    NOT NULL,
    notice      TEXT    NOT NULL, -- input of io.atcr.hold.notifyManifest, JSON
    pushed_at   INTEGER NOT NULL
) STRICT;

CREATE INDEX push_notice_by_hold ON push_notice (hold_did, id);
CREATE INDEX push_notice_by_did ON push_notice (did, id);
