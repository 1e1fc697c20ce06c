-- Bytes of manifests by digest, so that a pull of a known one needs no other server. What is longest unused goes first.
CREATE TABLE manifest_bytes (
    id      INTEGER NOT NULL PRIMARY KEY,
    digest  TEXT    NOT NULL UNIQUE,
    bytes   BLOB    NOT NULL,
    used_at INTEGER NOT NULL -- Unix seconds, an hour old at most
) STRICT;

CREATE INDEX manifest_bytes_by_use ON manifest_bytes (used_at);

-- The sum of their lengths, in one row.
CREATE TABLE manifest_bytes_total (bytes INTEGER NOT NULL) STRICT;
INSERT INTO manifest_bytes_total (bytes) VALUES (0);

CREATE TRIGGER manifest_bytes_kept AFTER INSERT ON manifest_bytes BEGIN
    UPDATE manifest_bytes_total SET bytes = bytes + length(new.bytes);
END;
CREATE TRIGGER manifest_bytes_forgotten AFTER DELETE ON manifest_bytes BEGIN
    UPDATE manifest_bytes_total SET bytes = bytes - length(old.bytes);
END;
