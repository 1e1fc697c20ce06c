-- How often each repository was pushed and pulled. A row is made from the record that there is, and counts on from it; it is
-- published as a record from time to time. What a lost file forgets are the counts since then.
CREATE TABLE counts (
    owner        TEXT    NOT NULL, -- DID of whose repository it is
    repository   TEXT    NOT NULL,
    pulls        INTEGER NOT NULL,
    pushes       INTEGER NOT NULL,
    last_pull    INTEGER,          -- Unix milliseconds
    last_push    INTEGER,
    is_published INTEGER NOT NULL, -- 1: the record says the same
    PRIMARY KEY (owner, repository)
) STRICT, WITHOUT ROWID;

-- Serves the publication.
CREATE INDEX counts_unpublished ON counts (owner, repository) WHERE is_published = 0;
