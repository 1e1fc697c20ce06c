-- How much there was at the end of each day: what the admin site draws. Days on which the hold did not run have no row.
CREATE TABLE days (
    day      TEXT    NOT NULL PRIMARY KEY, -- 2026-12-01, in UTC
    pushes   INTEGER NOT NULL,             -- counted since the beginning, as are pulls
    pulls    INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,             -- what accounts keep, each account's layers once
    accounts INTEGER NOT NULL,
    members  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
