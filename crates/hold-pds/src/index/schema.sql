-- Answers a hold's questions about its records. Everything here follows from the repository and is made anew from it when
-- the file is missing, damaged, or of another version. After a change, count up SCHEMA in index/mod.rs.

-- One row, once the tables are complete: they follow the log to this position, and to the event seq.
CREATE TABLE state (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    log_id   BLOB    NOT NULL,
    position INTEGER NOT NULL,
    seq      INTEGER NOT NULL
);

CREATE TABLE layers (
    rkey     TEXT    PRIMARY KEY,
    manifest TEXT    NOT NULL,
    user_did TEXT    NOT NULL,
    digest   TEXT    NOT NULL,
    size     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX layers_manifest ON layers (manifest);
CREATE INDEX layers_user ON layers (user_did);

-- What a user's layer records name, by the size that they say; kept by the triggers below. One size a digest, unless records that were
-- imported say what nobody has weighed.
CREATE TABLE user_blobs (
    user_did TEXT    NOT NULL,
    digest   TEXT    NOT NULL,
    size     INTEGER NOT NULL,
    layers   INTEGER NOT NULL,
    PRIMARY KEY (user_did, digest, size)
) WITHOUT ROWID;

-- Each digest once, with the greatest of its sizes: the same figure in whichever order the records came.
CREATE TABLE user_usage (
    user_did     TEXT    PRIMARY KEY,
    unique_blobs INTEGER NOT NULL,
    total_bytes  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER layers_inserted AFTER INSERT ON layers BEGIN
    INSERT INTO user_blobs (user_did, digest, size, layers) VALUES (new.user_did, new.digest, new.size, 1)
        ON CONFLICT (user_did, digest, size) DO UPDATE SET layers = layers + 1;
END;

CREATE TRIGGER layers_deleted AFTER DELETE ON layers BEGIN
    UPDATE user_blobs SET layers = layers - 1
        WHERE user_did = old.user_did AND digest = old.digest AND size = old.size;
    DELETE FROM user_blobs
        WHERE user_did = old.user_did AND digest = old.digest AND size = old.size AND layers = 0;
END;

CREATE TRIGGER user_blobs_inserted AFTER INSERT ON user_blobs BEGIN
    INSERT INTO user_usage (user_did, unique_blobs, total_bytes) VALUES (new.user_did, 0, 0)
        ON CONFLICT (user_did) DO NOTHING;
    UPDATE user_usage SET
        unique_blobs = unique_blobs + (
            SELECT count(*) = 1 FROM user_blobs WHERE user_did = new.user_did AND digest = new.digest),
        total_bytes = total_bytes + max(0, new.size - (
            SELECT coalesce(max(size), 0) FROM user_blobs
            WHERE user_did = new.user_did AND digest = new.digest AND size <> new.size))
        WHERE user_did = new.user_did;
END;

CREATE TRIGGER user_blobs_deleted AFTER DELETE ON user_blobs BEGIN
    UPDATE user_usage SET
        unique_blobs = unique_blobs - (
            SELECT count(*) = 0 FROM user_blobs WHERE user_did = old.user_did AND digest = old.digest),
        total_bytes = total_bytes - max(0, old.size - (
            SELECT coalesce(max(size), 0) FROM user_blobs
            WHERE user_did = old.user_did AND digest = old.digest))
        WHERE user_did = old.user_did;
    DELETE FROM user_usage WHERE user_did = old.user_did AND unique_blobs = 0;
END;

-- Whose repositories have records of counts.
CREATE TABLE stats (
    rkey  TEXT PRIMARY KEY,
    owner TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX stats_owner ON stats (owner);

-- Blobs that records of any collection refer to.
CREATE TABLE blob_refs (
    cid        TEXT    NOT NULL,
    collection TEXT    NOT NULL,
    rkey       TEXT    NOT NULL,
    mime_type  TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    PRIMARY KEY (cid, collection, rkey)
) WITHOUT ROWID;
CREATE INDEX blob_refs_record ON blob_refs (collection, rkey);

CREATE TABLE crew (
    rkey         TEXT    PRIMARY KEY,
    member       TEXT    NOT NULL,
    role         TEXT    NOT NULL,
    permissions  TEXT    NOT NULL, -- words, with a space between them
    tier         TEXT,
    added_micros INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX crew_member ON crew (member);
CREATE INDEX crew_added ON crew (added_micros, rkey);
