-- Whose server gave the bytes, and how many there are of each: when room is short, a host that has more than its share makes it.
ALTER TABLE manifest_bytes ADD COLUMN host TEXT NOT NULL DEFAULT '';
CREATE INDEX manifest_bytes_by_host ON manifest_bytes (host, used_at);

CREATE TABLE manifest_bytes_of_host (
    host  TEXT    NOT NULL PRIMARY KEY, -- its registered name
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO manifest_bytes_of_host (host, bytes) SELECT host, sum(length(bytes)) FROM manifest_bytes GROUP BY host;

CREATE TRIGGER manifest_bytes_kept_of_host AFTER INSERT ON manifest_bytes BEGIN
    INSERT INTO manifest_bytes_of_host (host, bytes) VALUES (new.host, length(new.bytes))
        ON CONFLICT (host) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER manifest_bytes_forgotten_of_host AFTER DELETE ON manifest_bytes BEGIN
    UPDATE manifest_bytes_of_host SET bytes = bytes - length(old.bytes) WHERE host = old.host;
    DELETE FROM manifest_bytes_of_host WHERE host = old.host AND bytes <= 0;
END;
