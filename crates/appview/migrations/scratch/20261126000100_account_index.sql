-- What accounts' own repositories say about manifests and tags, so that it can be searched. Every row can be rebuilt by
-- listing the account; synced_rev says which revision the rows are of.
CREATE TABLE account (
    did        TEXT NOT NULL PRIMARY KEY,
    synced_rev TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE manifest (
    did           TEXT    NOT NULL,
    rkey          TEXT    NOT NULL,
    repository    TEXT    NOT NULL,
    digest        TEXT    NOT NULL,
    media_type    TEXT    NOT NULL,
    size_bytes    INTEGER,          -- of the bytes at the PDS, as the record says
    blob_cid      TEXT,             -- the bytes at the PDS
    subject       TEXT,             -- the digest of the manifest it is about
    hold_did      TEXT,
    artifact_type TEXT,             -- NULL: the record does not say, ask manifest_detail or the bytes
    annotations   TEXT    NOT NULL, -- JSON object of strings, complete where artifact_type is not NULL
    PRIMARY KEY (did, rkey)
) STRICT, WITHOUT ROWID;

CREATE INDEX manifest_by_digest ON manifest (did, digest);
CREATE INDEX manifest_by_repository ON manifest (did, repository);
CREATE INDEX manifest_by_subject ON manifest (did, repository, subject) WHERE subject IS NOT NULL;

-- Configs and layers: which hold to ask for a blob.
CREATE TABLE manifest_blob (
    did    TEXT NOT NULL,
    digest TEXT NOT NULL,
    rkey   TEXT NOT NULL,
    PRIMARY KEY (did, digest, rkey),
    FOREIGN KEY (did, rkey) REFERENCES manifest (did, rkey) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX manifest_blob_by_manifest ON manifest_blob (did, rkey);

-- Children of indexes: what must not be deleted before its index.
CREATE TABLE manifest_child (
    did    TEXT NOT NULL,
    digest TEXT NOT NULL,
    rkey   TEXT NOT NULL,
    PRIMARY KEY (did, digest, rkey),
    FOREIGN KEY (did, rkey) REFERENCES manifest (did, rkey) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX manifest_child_by_manifest ON manifest_child (did, rkey);

-- What the bytes of a manifest say beyond its record. Follows from the digest, so it never changes.
CREATE TABLE manifest_detail (
    digest        TEXT    NOT NULL PRIMARY KEY,
    size_bytes    INTEGER NOT NULL,
    artifact_type TEXT,
    annotations   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tag (
    did        TEXT NOT NULL,
    rkey       TEXT NOT NULL,
    repository TEXT NOT NULL,
    tag        TEXT NOT NULL,
    digest     TEXT,
    moved_at   TEXT,
    PRIMARY KEY (did, rkey)
) STRICT, WITHOUT ROWID;

CREATE INDEX tag_by_name ON tag (did, repository, tag);
CREATE INDEX tag_by_digest ON tag (did, digest);
