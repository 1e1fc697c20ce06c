-- The admin site. What a lost file forgets: the captain signs in again, handles are looked up again, and the audit log begins anew.

-- Browsers that are signed in. The token itself is in the browser only.
CREATE TABLE admin_sessions (
    token_hash BLOB    NOT NULL PRIMARY KEY, -- SHA-256
    did        TEXT    NOT NULL,
    handle     TEXT,
    user_agent BLOB    NOT NULL, -- SHA-256 of the browser's name for itself
    network    TEXT    NOT NULL, -- of the address at sign-in: an IPv4 /24 or an IPv6 /64; empty if it is not known
    created_at INTEGER NOT NULL, -- Unix seconds
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX admin_sessions_expired ON admin_sessions (expires_at);

-- What was changed on the site, by whom. Each row has a hash over itself and the hash before. There is no key in it: whoever can write
-- this file can make all hashes anew, which only shows to somebody who kept one elsewhere.
CREATE TABLE audit_log (
    seq     INTEGER NOT NULL PRIMARY KEY, -- 1, 2, 3, …
    at      INTEGER NOT NULL, -- Unix milliseconds
    actor   TEXT    NOT NULL, -- DID
    action  TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    detail  TEXT    NOT NULL,
    hash    BLOB    NOT NULL  -- SHA-256 of all of that and of the hash before
) STRICT;

-- Handles of accounts that the site has shown.
CREATE TABLE known_handles (
    did          TEXT    NOT NULL PRIMARY KEY,
    handle       TEXT,             -- NULL: none that agrees with the DID
    looked_up_at INTEGER NOT NULL  -- Unix seconds
) STRICT, WITHOUT ROWID;

CREATE INDEX known_handles_by_handle ON known_handles (handle) WHERE handle IS NOT NULL;
