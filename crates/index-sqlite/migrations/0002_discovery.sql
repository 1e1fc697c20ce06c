-- Lists of the network's accounts are long and read in parts: a restart goes on where it stopped. Rebuilt: without it they are read again.
CREATE TABLE discovery (
    list TEXT PRIMARY KEY,
    -- Empty at the start of the list.
    cursor TEXT NOT NULL,
    -- 0: never.
    finished_at INTEGER NOT NULL,
    accounts INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
