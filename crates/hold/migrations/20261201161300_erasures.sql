-- Users who asked to be erased. Records of what they pushed before are not made anew from their manifests.
CREATE TABLE erasures (
    did       TEXT    NOT NULL PRIMARY KEY,
    erased_at INTEGER NOT NULL -- Unix milliseconds
) STRICT, WITHOUT ROWID;
