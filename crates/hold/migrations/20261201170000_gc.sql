-- What the garbage collection knows. All of it but the unlinks, the released accounts and the history can be lost: the
-- collection then waits out the grace period again.

-- Ages are seconds during which the hold ran, so that no clock that is set can make a blob old.
CREATE TABLE gc_clock (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    uptime_secs INTEGER NOT NULL,
    boot        TEXT    NOT NULL,            -- of the machine: after another one, the last commits may be missing
    head        TEXT    NOT NULL,            -- of the repository: another one means that another program ran
    mark        TEXT    NOT NULL             -- also in a file beside the database: another one there means that this is a copy
) STRICT;

-- Blobs that nothing names. They can be read, and any promise lifts the condemnation.
CREATE TABLE condemned (
    digest  TEXT    NOT NULL PRIMARY KEY,
    state   TEXT    NOT NULL CHECK (state IN ('condemned', 'lifted', 'deleting')),
    since   INTEGER NOT NULL,                -- uptime
    touches INTEGER NOT NULL,                -- promises that lifted it since anything named it
    run     INTEGER NOT NULL                 -- which condemned it
) STRICT, WITHOUT ROWID;

-- Every account whose manifests may name blobs here. It never shrinks.
CREATE TABLE gc_accounts (
    id         INTEGER PRIMARY KEY,
    did        TEXT    NOT NULL UNIQUE,
    rev        TEXT,                         -- of the last reading of all its manifests
    read_since INTEGER,                      -- uptime when that reading began
    state      TEXT    NOT NULL,             -- unread, read, unreadable, gone, frozen
    gone_since INTEGER,                      -- uptime
    reason     TEXT,
    may_push   INTEGER NOT NULL DEFAULT 0,   -- is a member, or was one and was not read whole since its last push could end
    pushed     INTEGER NOT NULL DEFAULT 0,   -- sent a blob, told of a manifest, was promised a blob, or has layer records
    left_since INTEGER,                      -- uptime when it was first seen not to be a member any more
    released   INTEGER NOT NULL DEFAULT 0,
    accepted   INTEGER NOT NULL DEFAULT 0,
    erased     INTEGER NOT NULL DEFAULT 0,   -- asked to be erased, and did not come again
    came_again INTEGER NOT NULL DEFAULT 0    -- was a member after the last erasure: what it pushed since stays when it leaves
) STRICT;

-- In one step with the erasure, so that whoever comes again later has come again.
CREATE TRIGGER gc_erasure AFTER INSERT ON erasures BEGIN
    UPDATE gc_accounts SET came_again = 0 WHERE did = NEW.did;
END;
CREATE TRIGGER gc_erasure_again AFTER UPDATE ON erasures BEGIN
    UPDATE gc_accounts SET came_again = 0 WHERE did = NEW.did;
END;

-- The manifests that each account has or had, as far as they are not proven gone.
CREATE TABLE gc_manifests (
    id         INTEGER PRIMARY KEY,
    account    INTEGER NOT NULL REFERENCES gc_accounts (id),
    rkey       TEXT    NOT NULL,
    repository TEXT    NOT NULL,
    record     TEXT,                         -- hash of the record whose names, and those of its bytes, were read
    erased     INTEGER NOT NULL DEFAULT 0,   -- its author asked to be erased, and did not push it again
    UNIQUE (account, rkey)
) STRICT;

-- What they name: 0 for sha256 or 1 for sha512, then the hash.
CREATE TABLE gc_names (
    digest   BLOB    NOT NULL,
    manifest INTEGER NOT NULL REFERENCES gc_manifests (id) ON DELETE CASCADE,
    PRIMARY KEY (digest, manifest)
) STRICT, WITHOUT ROWID;
CREATE INDEX gc_names_manifest ON gc_names (manifest);

-- Who named a blob last, for reports.
CREATE TABLE gc_former (
    digest TEXT NOT NULL PRIMARY KEY,
    did    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE gc_runs (
    id       INTEGER PRIMARY KEY,
    began_at INTEGER NOT NULL,               -- Unix milliseconds
    since    INTEGER NOT NULL,               -- uptime when it began to read accounts
    state    TEXT    NOT NULL,
    report   TEXT    NOT NULL                -- JSON
) STRICT;

-- What a run does, and with which outcome.
CREATE TABLE gc_plan (
    run     INTEGER NOT NULL REFERENCES gc_runs (id) ON DELETE CASCADE,
    digest  TEXT    NOT NULL,
    action  TEXT    NOT NULL CHECK (action IN ('lift', 'wait', 'condemn', 'delete')),
    bytes   INTEGER NOT NULL,
    since   INTEGER,                         -- of the condemnation that is carried out
    owner   TEXT,
    outcome TEXT,
    PRIMARY KEY (run, digest)
) STRICT, WITHOUT ROWID;

-- Blobs that an account deleted from one of its repositories, while the hold still has them.
CREATE TABLE unlinked (
    did        TEXT NOT NULL,
    repository TEXT NOT NULL,
    digest     TEXT NOT NULL,
    PRIMARY KEY (did, repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX unlinked_digest ON unlinked (digest);
