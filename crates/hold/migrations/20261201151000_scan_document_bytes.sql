-- Bytes of the documents of results, by whose result it is; in all of them in the row without an owner.
CREATE TABLE scan_document_bytes (
    owner TEXT    NOT NULL PRIMARY KEY,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO scan_document_bytes (owner, bytes)
SELECT scans.owner, SUM(size_bytes) FROM scan_documents JOIN scans ON scans.digest = scan_documents.digest GROUP BY scans.owner;
INSERT INTO scan_document_bytes (owner, bytes) SELECT '', coalesce(SUM(size_bytes), 0) FROM scan_documents;
