-- Sign-ins through accounts' own servers: those under way, and the sessions that came of them. Both are sealed, since they hold
-- tokens and keys; what is beside the seal is only what rows are found by.
CREATE TABLE oauth_request (
    state_hash BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the state parameter
    sealed     BLOB    NOT NULL,
    expires_at INTEGER NOT NULL -- Unix seconds
) STRICT;

CREATE INDEX oauth_request_by_expiry ON oauth_request (expires_at);

-- One session per account. A refresh token is good once, so whoever refreshes takes the lease first; the version tells whether
-- somebody else has refreshed meanwhile. Several servers may share this table.
CREATE TABLE oauth_session (
    did             TEXT    NOT NULL PRIMARY KEY,
    client_id       TEXT    NOT NULL, -- to whom the tokens were given
    requested_scope TEXT    NOT NULL,
    sealed          BLOB    NOT NULL,
    version         INTEGER NOT NULL, -- never the same twice for one account
    lease_until     INTEGER           -- Unix milliseconds; NULL: nobody refreshes
) STRICT;
