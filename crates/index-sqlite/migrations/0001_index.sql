-- The index of the network. Instants are microseconds since 1970. Digests are one byte for the algorithm (1: SHA-256, 2: SHA-512) and the
-- hash. CIDs are in binary. A text or blob that is absent is empty, so that no key has a NULL.

-- Rebuilt in place: ids of accounts and repositories stay, because histories point at them.
CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    did TEXT NOT NULL UNIQUE,
    handle TEXT NOT NULL DEFAULT '',
    pds TEXT NOT NULL DEFAULT '',
    signing_key TEXT NOT NULL DEFAULT '',
    -- 0 active, 1 deactivated, 2 suspended, 3 taken down, 4 deleted, 5 inactive
    status INTEGER NOT NULL DEFAULT 0,
    status_at INTEGER NOT NULL DEFAULT 0,
    taken_down INTEGER NOT NULL DEFAULT 0,
    rev TEXT NOT NULL DEFAULT '',
    head_seen TEXT NOT NULL DEFAULT '',
    data BLOB NOT NULL DEFAULT x'',
    -- 0 owner, 1 signed
    proof INTEGER NOT NULL DEFAULT 0,
    -- 0 unlisted, 1 cut, 2 whole
    coverage INTEGER NOT NULL DEFAULT 0,
    -- Repositories that are listed.
    repositories INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX account_by_handle ON account (handle) WHERE handle <> '';

CREATE TABLE repository (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account (id),
    name TEXT NOT NULL,
    -- Totals over rows.
    tags INTEGER NOT NULL DEFAULT 0,
    fallback_tags INTEGER NOT NULL DEFAULT 0,
    manifests INTEGER NOT NULL DEFAULT 0,
    referrers INTEGER NOT NULL DEFAULT 0,
    stars INTEGER NOT NULL DEFAULT 0,
    pulls INTEGER NOT NULL DEFAULT 0,
    pushes INTEGER NOT NULL DEFAULT 0,
    last_pull INTEGER NOT NULL DEFAULT 0,
    -- Shown: it has manifests or tags, and neither it nor its account is hidden.
    listed INTEGER NOT NULL DEFAULT 0,
    pushed_at INTEGER NOT NULL DEFAULT 0,
    -- What its card shows, from what was tagged last and from its page.
    newest_tag TEXT NOT NULL DEFAULT '',
    kind INTEGER NOT NULL DEFAULT -1,
    title TEXT NOT NULL DEFAULT '',
    summary TEXT NOT NULL DEFAULT '',
    licence TEXT NOT NULL DEFAULT '',
    -- A JSON list.
    platforms TEXT NOT NULL DEFAULT '[]',
    picture BLOB NOT NULL DEFAULT x'',
    picture_type TEXT NOT NULL DEFAULT '',
    -- Its row in the search tables, 0 for none, and a hash of the text there.
    search_row INTEGER NOT NULL DEFAULT 0,
    search_hash INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account, name)
) STRICT;
CREATE INDEX repository_by_push ON repository (pushed_at, id) WHERE listed = 1;
CREATE INDEX repository_of_account_by_push ON repository (account, pushed_at, id) WHERE listed = 1;
CREATE INDEX repository_by_stars ON repository (stars, id) WHERE listed = 1 AND stars > 0;
CREATE INDEX repository_by_name ON repository (name) WHERE listed = 1;

-- How many manifests of the repository name the hold.
CREATE TABLE repository_hold (
    repository INTEGER NOT NULL REFERENCES repository (id),
    hold TEXT NOT NULL,
    manifests INTEGER NOT NULL,
    PRIMARY KEY (repository, hold)
) STRICT, WITHOUT ROWID;

CREATE TABLE manifest (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account (id),
    repository INTEGER NOT NULL REFERENCES repository (id),
    digest BLOB NOT NULL,
    -- Empty for the key that follows from the digest.
    odd_rkey TEXT NOT NULL,
    cid BLOB NOT NULL,
    blob BLOB NOT NULL,
    -- Length of its bytes; -1 when the record does not say.
    size INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    artifact_type TEXT,
    kind INTEGER NOT NULL,
    hold TEXT NOT NULL,
    subject BLOB NOT NULL,
    config BLOB NOT NULL,
    layers INTEGER NOT NULL,
    content_size INTEGER NOT NULL,
    annotations TEXT NOT NULL,
    claimed_at INTEGER NOT NULL,
    pushed_at INTEGER NOT NULL,
    UNIQUE (account, digest, odd_rkey)
) STRICT;
CREATE INDEX manifest_by_odd_rkey ON manifest (account, odd_rkey) WHERE odd_rkey <> '';
CREATE INDEX manifest_of_repository ON manifest (repository, pushed_at, id);
CREATE INDEX manifest_by_subject ON manifest (repository, subject, digest) WHERE subject <> x'';
CREATE INDEX manifest_by_digest ON manifest (digest);

-- Children of an index.
CREATE TABLE child (
    manifest INTEGER NOT NULL REFERENCES manifest (id),
    position INTEGER NOT NULL,
    account INTEGER NOT NULL,
    digest BLOB NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    os TEXT NOT NULL,
    architecture TEXT NOT NULL,
    variant TEXT NOT NULL,
    os_version TEXT NOT NULL,
    attestation INTEGER NOT NULL,
    PRIMARY KEY (manifest, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX child_by_digest ON child (account, digest);

CREATE TABLE tag (
    repository INTEGER NOT NULL REFERENCES repository (id),
    name TEXT NOT NULL,
    -- Empty for the key that follows from repository and tag.
    odd_rkey TEXT NOT NULL,
    account INTEGER NOT NULL,
    cid BLOB NOT NULL,
    digest BLOB NOT NULL,
    claimed_at INTEGER NOT NULL,
    moved_at INTEGER NOT NULL,
    -- 0: another record for the tag was moved later; 1: this is where the tag points; 2: the same for a fallback tag.
    shown INTEGER NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (repository, name, odd_rkey)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_by_move ON tag (repository, shown, moved_at, name);
CREATE INDEX tag_by_version ON tag (repository, shown, version, name);
CREATE INDEX tag_by_digest ON tag (repository, digest, name);
CREATE INDEX tag_by_odd_rkey ON tag (account, odd_rkey) WHERE odd_rkey <> '';

CREATE TABLE page (
    account INTEGER NOT NULL REFERENCES account (id),
    rkey TEXT NOT NULL,
    cid BLOB NOT NULL,
    repository TEXT NOT NULL,
    description TEXT NOT NULL,
    -- The first words of the description, as plain text.
    summary TEXT NOT NULL,
    picture BLOB NOT NULL,
    picture_type TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (account, rkey)
) STRICT;

CREATE TABLE profile (
    account INTEGER NOT NULL REFERENCES account (id),
    rkey TEXT NOT NULL,
    cid BLOB NOT NULL,
    default_hold TEXT NOT NULL,
    auto_remove_untagged INTEGER NOT NULL,
    PRIMARY KEY (account, rkey)
) STRICT, WITHOUT ROWID;

CREATE TABLE star (
    account INTEGER NOT NULL REFERENCES account (id),
    rkey TEXT NOT NULL,
    cid BLOB NOT NULL,
    owner TEXT NOT NULL,
    repository TEXT NOT NULL,
    given_at INTEGER NOT NULL,
    PRIMARY KEY (account, rkey)
) STRICT, WITHOUT ROWID;
CREATE INDEX star_by_subject ON star (owner, repository, account);
CREATE INDEX star_by_time ON star (account, given_at, rkey);
CREATE INDEX star_of_subject_by_time ON star (owner, repository, given_at, account);

CREATE TABLE captain (
    account INTEGER NOT NULL REFERENCES account (id),
    rkey TEXT NOT NULL,
    cid BLOB NOT NULL,
    owner TEXT NOT NULL,
    is_public INTEGER NOT NULL,
    allow_all_crew INTEGER NOT NULL,
    region TEXT NOT NULL,
    successor TEXT NOT NULL,
    deployed_at INTEGER NOT NULL,
    PRIMARY KEY (account, rkey)
) STRICT, WITHOUT ROWID;
CREATE INDEX captain_by_owner ON captain (owner);
CREATE INDEX captain_open ON captain (deployed_at) WHERE allow_all_crew = 1;

CREATE TABLE crew (
    account INTEGER NOT NULL REFERENCES account (id),
    rkey TEXT NOT NULL,
    cid BLOB NOT NULL,
    member TEXT NOT NULL,
    role TEXT NOT NULL,
    -- A JSON list.
    permissions TEXT NOT NULL,
    tier TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (account, rkey)
) STRICT, WITHOUT ROWID;
CREATE INDEX crew_by_member ON crew (member);

CREATE TABLE stats (
    account INTEGER NOT NULL REFERENCES account (id),
    rkey TEXT NOT NULL,
    cid BLOB NOT NULL,
    owner TEXT NOT NULL,
    repository TEXT NOT NULL,
    pulls INTEGER NOT NULL,
    pushes INTEGER NOT NULL,
    -- What the hold had counted before it began anew.
    carried_pulls INTEGER NOT NULL,
    carried_pushes INTEGER NOT NULL,
    last_pull INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (account, rkey)
) STRICT, WITHOUT ROWID;
CREATE INDEX stats_by_subject ON stats (account, owner, repository);

CREATE TABLE scan (
    account INTEGER NOT NULL REFERENCES account (id),
    rkey TEXT NOT NULL,
    cid BLOB NOT NULL,
    owner TEXT NOT NULL,
    digest BLOB NOT NULL,
    critical INTEGER NOT NULL,
    high INTEGER NOT NULL,
    medium INTEGER NOT NULL,
    low INTEGER NOT NULL,
    total INTEGER NOT NULL,
    scanner TEXT NOT NULL,
    scanned_at INTEGER NOT NULL,
    sbom BLOB NOT NULL,
    report BLOB NOT NULL,
    PRIMARY KEY (account, rkey)
) STRICT, WITHOUT ROWID;
CREATE INDEX scan_by_digest ON scan (owner, digest);

-- Records of any collection that cannot be used: not fetched again while they stay the same.
CREATE TABLE unusable (
    account INTEGER NOT NULL REFERENCES account (id),
    collection INTEGER NOT NULL,
    rkey TEXT NOT NULL,
    cid BLOB NOT NULL,
    PRIMARY KEY (account, collection, rkey)
) STRICT, WITHOUT ROWID;

CREATE TABLE takedown (
    source TEXT NOT NULL,
    did TEXT NOT NULL,
    -- Empty: the whole account.
    repository TEXT NOT NULL,
    applies INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (did, repository, source)
) STRICT, WITHOUT ROWID;

CREATE TABLE source (
    name TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    cursor INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE work (
    did TEXT PRIMARY KEY,
    lane INTEGER NOT NULL,
    due INTEGER NOT NULL,
    claimed_until INTEGER NOT NULL DEFAULT 0,
    -- Queued again since it was claimed.
    again INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX work_by_lane ON work (lane, due);

-- Kept: the network does not have it.

-- Moves of tags, as they were seen.
CREATE TABLE tag_move (
    id INTEGER PRIMARY KEY,
    repository INTEGER NOT NULL REFERENCES repository (id),
    tag TEXT NOT NULL,
    digest_before BLOB NOT NULL,
    digest_after BLOB NOT NULL,
    at INTEGER NOT NULL,
    rev TEXT NOT NULL
) STRICT;
CREATE INDEX tag_move_of_repository ON tag_move (repository, id);
CREATE INDEX tag_move_of_tag ON tag_move (repository, tag, id);

CREATE TABLE pull_day (
    repository INTEGER NOT NULL REFERENCES repository (id),
    -- Days since 1970.
    day INTEGER NOT NULL,
    pulls INTEGER NOT NULL,
    PRIMARY KEY (repository, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE handle_past (
    handle TEXT PRIMARY KEY,
    did TEXT NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Search. A row's number has the repository in its low 40 bits and falls as the repository gets more popular, so that a reader who stops
-- early has the popular ones.
CREATE VIRTUAL TABLE search USING fts5 (
    name, owner, title, summary, readme,
    content = '', contentless_delete = 1, tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'", prefix = '2 3', detail = none
);
-- The same rows by groups of three characters of names, for words with a slip in them.
CREATE VIRTUAL TABLE search_like USING fts5 (
    names,
    content = '', contentless_delete = 1, tokenize = 'trigram', detail = none
);
