-- With which key the client proved who it is, since servers hold a session against it: NULL for sessions from before this column, ''
-- for a client without a key. And when the sign-in was, so that a session that nobody uses (yet) is told from one that nobody
-- uses any more; sessions from before count as old.
ALTER TABLE oauth_session ADD COLUMN client_key TEXT;
ALTER TABLE oauth_session ADD COLUMN signed_in_at INTEGER NOT NULL DEFAULT 0; -- Unix seconds
