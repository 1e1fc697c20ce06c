-- AT Protocol blobs of the hold's own repository that are in the store. Which records refer to them is asked of the repository.
CREATE TABLE repo_blobs (
    cid         TEXT    NOT NULL PRIMARY KEY,
    mime_type   TEXT    NOT NULL,
    size_bytes  INTEGER NOT NULL,
    uploaded_at INTEGER NOT NULL             -- Unix milliseconds
) STRICT, WITHOUT ROWID;
