-- Images whose records name their config's type as artifact type were taken for files.

UPDATE manifest SET kind = 0
WHERE kind = 7
  AND artifact_type IN ('application/vnd.oci.image.config.v1+json', 'application/vnd.docker.container.image.v1+json');

-- A card is of what was tagged last, or of the newest manifest.
UPDATE repository SET kind = 0
WHERE kind = 7 AND 0 = CASE newest_tag
    WHEN '' THEN
        (SELECT m.kind FROM manifest m WHERE m.repository = repository.id ORDER BY m.pushed_at DESC, m.id DESC LIMIT 1)
    ELSE
        (SELECT m.kind FROM tag t JOIN manifest m ON m.account = t.account AND m.digest = t.digest
         WHERE t.repository = repository.id AND t.name = repository.newest_tag AND t.shown = 1 LIMIT 1)
    END;
