-- Uploads that are running, and for a day those that finished, so that a repeated completion is answered.
CREATE TABLE uploads (
    id            TEXT    NOT NULL PRIMARY KEY, -- unguessable, known to the owner alone
    owner         TEXT    NOT NULL,             -- DID of who began it
    object_key    TEXT    NOT NULL UNIQUE,      -- where its bytes are until it finishes
    store_id      TEXT    NOT NULL,             -- the store's own name for it
    last_used_at  INTEGER NOT NULL,             -- Unix milliseconds
    digest        TEXT,                         -- set when it finished
    size_bytes    INTEGER,
    CHECK ((digest IS NULL) = (size_bytes IS NULL))
) STRICT, WITHOUT ROWID;

-- Serves the sweep.
CREATE INDEX uploads_by_last_use ON uploads (last_used_at);
