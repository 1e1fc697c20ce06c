//! Which records refer to which blobs.

use std::collections::BTreeMap;

use atcr_atproto::lexicon::BlobRef;
use atcr_atproto::syntax::Cid;
use ipld_core::ipld::Ipld;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::{Index, RecordChange, bad_row, number, to_sql};
use crate::error::RepoError;

/// References of one record that count. Records of the hold have two at most.
const MAX_REFERENCES: usize = 1000;
/// Records of a page of blobs that are looked at.
const MAX_RECORDS: usize = 10_000;

/// Brings the table in step with one record that a commit changed.
pub(super) async fn apply(connection: &mut SqliteConnection, change: &RecordChange) -> Result<(), RepoError> {
    if !change.is_new {
        sqlx::query("DELETE FROM blob_refs WHERE collection = ? AND rkey = ?")
            .bind(&change.collection)
            .bind(&change.rkey)
            .execute(&mut *connection)
            .await?;
    }
    for reference in change.content.as_deref().map(references).unwrap_or_default() {
        sqlx::query("INSERT INTO blob_refs (cid, collection, rkey, mime_type, size) VALUES (?, ?, ?, ?, ?)")
            .bind(reference.cid.to_string())
            .bind(&change.collection)
            .bind(&change.rkey)
            .bind(&reference.mime_type)
            .bind(to_sql(reference.size))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The blobs that a record refers to, each once; `content` is its DAG-CBOR.
fn references(content: &[u8]) -> Vec<BlobRef> {
    // Most records have none, and need not be decoded for that.
    if !content.windows(BLOB.len()).any(|window| window == BLOB) {
        return Vec::new();
    }
    let mut found = BTreeMap::new();
    if let Ok(record) = serde_ipld_dagcbor::from_slice(content) {
        collect(&record, &mut found);
    }
    found.into_values().collect()
}

/// The text `blob` in DAG-CBOR.
const BLOB: &[u8] = b"\x64blob";

fn collect(value: &Ipld, found: &mut BTreeMap<Cid, BlobRef>) {
    if found.len() == MAX_REFERENCES {
        return;
    }
    match value {
        Ipld::List(items) => items.iter().for_each(|item| collect(item, found)),
        Ipld::Map(fields) => match reference(fields) {
            Some(reference) => drop(found.insert(reference.cid, reference)),
            None => fields.values().for_each(|field| collect(field, found)),
        },
        _ => {}
    }
}

fn reference(fields: &BTreeMap<String, Ipld>) -> Option<BlobRef> {
    match (
        fields.get("$type"),
        fields.get("ref"),
        fields.get("mimeType"),
        fields.get("size"),
    ) {
        (
            Some(Ipld::String(kind)),
            Some(Ipld::Link(cid)),
            Some(Ipld::String(mime_type)),
            Some(Ipld::Integer(size)),
        ) if kind == "blob" => Some(BlobRef {
            cid: *cid,
            mime_type: mime_type.clone(),
            size: u64::try_from(*size).ok()?,
        }),
        _ => None,
    }
}

fn reference_of(row: &SqliteRow) -> Result<BlobRef, RepoError> {
    let cid: String = row.try_get("cid")?;
    Ok(BlobRef {
        cid: cid.parse().map_err(|_| bad_row("blob_refs", "cid"))?,
        mime_type: row.try_get("mime_type")?,
        size: number(row, "blob_refs", "size")?,
    })
}

impl Index {
    /// How a record refers to the blob, if one does.
    pub(crate) async fn blob_reference(&self, cid: &Cid) -> Result<Option<BlobRef>, RepoError> {
        let row = sqlx::query("SELECT cid, mime_type, size FROM blob_refs WHERE cid = ? LIMIT 1")
            .bind(cid.to_string())
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(reference_of).transpose()
    }

    /// Records that refer to the blobs `from` to `to` in the order of their names, each with the blob; `None` if there are more than are
    /// looked at.
    pub(crate) async fn records_of_blobs(
        &self,
        from: &Cid,
        to: &Cid,
    ) -> Result<Option<Vec<(Cid, String)>>, RepoError> {
        let rows =
            sqlx::query("SELECT cid, collection, rkey FROM blob_refs WHERE cid BETWEEN ? AND ? LIMIT ?")
                .bind(from.to_string())
                .bind(to.to_string())
                .bind(to_sql(MAX_RECORDS as u64 + 1))
                .fetch_all(self.readers())
                .await?;
        if rows.len() > MAX_RECORDS {
            return Ok(None);
        }
        let record = |row: SqliteRow| {
            let cid: String = row.try_get("cid")?;
            let (collection, rkey): (String, String) = (row.try_get("collection")?, row.try_get("rkey")?);
            let cid = cid.parse().map_err(|_| bad_row("blob_refs", "cid"))?;
            Ok((cid, format!("{collection}/{rkey}")))
        };
        rows.into_iter().map(record).collect::<Result<_, _>>().map(Some)
    }

    /// Blobs that records refer to, in the order of their names, after `after`.
    pub(crate) async fn referenced_blobs(&self, limit: usize, after: &str) -> Result<Vec<Cid>, RepoError> {
        let cids: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT cid FROM blob_refs WHERE cid > ? ORDER BY cid LIMIT ?")
                .bind(after)
                .bind(to_sql(limit as u64))
                .fetch_all(self.readers())
                .await?;
        cids.into_iter()
            .map(|cid| cid.parse().map_err(|_| bad_row("blob_refs", "cid")))
            .collect()
    }
}
