-- Deletions made on pages, so that they can be undone for a while: what was deleted is at no other place.
CREATE TABLE deletion (
    id         TEXT    NOT NULL PRIMARY KEY,
    did        TEXT    NOT NULL,
    repository TEXT    NOT NULL,
    tags       INTEGER NOT NULL,
    manifests  INTEGER NOT NULL,
    content    TEXT    NOT NULL, -- JSON: the tags, and the manifests with their bytes
    size_bytes INTEGER NOT NULL, -- of content
    deleted_at INTEGER NOT NULL, -- Unix seconds
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX deletion_by_did ON deletion (did, deleted_at);
CREATE INDEX deletion_by_time ON deletion (deleted_at, size_bytes);
CREATE INDEX deletion_by_expiry ON deletion (expires_at);
