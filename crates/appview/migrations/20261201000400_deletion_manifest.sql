-- A row for each manifest of a deletion, so that no more than one is in memory twice. Before, all were in one JSON text.
CREATE TABLE deletion_manifest (
    deletion   TEXT    NOT NULL REFERENCES deletion (id) ON DELETE CASCADE,
    number     INTEGER NOT NULL, -- in the order in which they were deleted
    digest     TEXT    NOT NULL,
    media_type TEXT    NOT NULL,
    hold       TEXT,
    bytes      BLOB    NOT NULL,
    PRIMARY KEY (deletion, number)
) STRICT;

INSERT INTO deletion_manifest (deletion, number, digest, media_type, hold, bytes)
    SELECT deletion.id, manifest.key, json_extract(manifest.value, '$.digest'), json_extract(manifest.value, '$.media_type'),
           json_extract(manifest.value, '$.hold'), CAST(json_extract(manifest.value, '$.text') AS BLOB)
    FROM deletion, json_each(deletion.content, '$.manifests') AS manifest;
-- From now on the tags alone; size_bytes counts the manifests as well.
UPDATE deletion SET content = json_object('tags', json_extract(content, '$.tags'));
