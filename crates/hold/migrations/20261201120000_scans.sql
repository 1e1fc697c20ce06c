-- Images to be scanned, what scanners found, and where the documents of a result are. What a lost file forgets is scanned again after
-- the next push.

-- One row for each manifest and owner.
CREATE TABLE scan_jobs (
    id            INTEGER NOT NULL PRIMARY KEY,
    digest        TEXT    NOT NULL,
    owner         TEXT    NOT NULL, -- DID of whose account has the manifest
    repository    TEXT    NOT NULL,
    tag           TEXT,
    -- ready: waits for a scanner · resting: failed, and waits for another try · running: a scanner has it
    -- done, failed, not-applicable: nothing to do
    state         TEXT    NOT NULL,
    priority      INTEGER NOT NULL, -- lower comes first
    queued_at     INTEGER NOT NULL, -- Unix milliseconds, as all times here
    seq           INTEGER,          -- the number of the last time that it was handed out
    handed_out_at INTEGER,
    leased_until  INTEGER,          -- of a running one
    due_at        INTEGER,          -- of a resting one
    tries         INTEGER NOT NULL, -- failures and losses in a row
    stage         TEXT,             -- what the scanner says it does
    failure_class TEXT,             -- of the last failure, or why it is not applicable
    failure       TEXT,
    ended_at      INTEGER,
    UNIQUE (digest, owner)
) STRICT;

-- The next one. A backlog of any length costs the same.
CREATE INDEX scan_jobs_ready ON scan_jobs (priority, queued_at, id) WHERE state = 'ready';
-- The next one for a scanner that wants only what is new.
CREATE INDEX scan_jobs_new ON scan_jobs (queued_at, id) WHERE state = 'ready';
-- Leases that lapse, tries that are due, results that are old.
CREATE INDEX scan_jobs_leases ON scan_jobs (leased_until) WHERE state = 'running';
CREATE INDEX scan_jobs_due ON scan_jobs (due_at) WHERE state = 'resting';
CREATE INDEX scan_jobs_ended ON scan_jobs (ended_at) WHERE state IN ('done', 'failed');
-- What a message of a scanner is about.
CREATE UNIQUE INDEX scan_jobs_seq ON scan_jobs (seq) WHERE seq IS NOT NULL;

-- The last result of each manifest that was no failure.
CREATE TABLE scans (
    digest          TEXT    NOT NULL PRIMARY KEY,
    owner           TEXT    NOT NULL,
    repository      TEXT    NOT NULL,
    state           TEXT    NOT NULL, -- complete, partial or sbom-only
    critical        INTEGER NOT NULL,
    high            INTEGER NOT NULL,
    medium          INTEGER NOT NULL,
    low             INTEGER NOT NULL,
    total           INTEGER NOT NULL,
    scanner_version TEXT    NOT NULL,
    database_built  INTEGER,
    tools           TEXT    NOT NULL, -- JSON: {name: version}
    scanned_at      INTEGER NOT NULL,
    is_published    INTEGER NOT NULL  -- 1: there is nothing to be written into the repository
) STRICT, WITHOUT ROWID;

CREATE INDEX scans_unpublished ON scans (digest) WHERE is_published = 0;

-- The documents of results: blobs of the hold that stay though no record may refer to them.
CREATE TABLE scan_documents (
    digest     TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    cid        TEXT    NOT NULL,
    mime_type  TEXT    NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (digest, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX scan_documents_by_cid ON scan_documents (cid);

-- Documents that were uploaded for a result that has not come yet.
CREATE TABLE scan_uploads (
    seq        INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    cid        TEXT    NOT NULL,
    mime_type  TEXT    NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (seq, kind)
) STRICT, WITHOUT ROWID;
