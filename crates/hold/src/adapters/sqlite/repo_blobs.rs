//! The table of the repository's blobs.

use async_trait::async_trait;
use atcr_atproto::lexicon::BlobRef;
use atcr_atproto::syntax::Cid;
use atcr_server::database::Database;
use chrono::{DateTime, Utc};
use sqlx::Row as _;

use crate::blobs::SessionsError;
use crate::repo_blobs::UploadedBlobs;

/// [`UploadedBlobs`] in the hold's database.
#[derive(Clone, Debug)]
pub struct SqliteRepoBlobs {
    database: Database,
}

impl SqliteRepoBlobs {
    /// Uses `database`, which must be migrated.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

fn failed(error: sqlx::Error) -> SessionsError {
    SessionsError::Database(error.into())
}

#[async_trait]
impl UploadedBlobs for SqliteRepoBlobs {
    async fn note(&self, blob: &BlobRef, now: DateTime<Utc>) -> Result<(), SessionsError> {
        sqlx::query(
            "INSERT INTO repo_blobs (cid, mime_type, size_bytes, uploaded_at) VALUES (?, ?, ?, ?)
             ON CONFLICT (cid) DO UPDATE SET mime_type = excluded.mime_type, uploaded_at = excluded.uploaded_at",
        )
        .bind(blob.cid.to_string())
        .bind(&blob.mime_type)
        .bind(i64::try_from(blob.size).unwrap_or(i64::MAX))
        .bind(now.timestamp_millis())
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn get(&self, cid: &Cid) -> Result<Option<BlobRef>, SessionsError> {
        let row = sqlx::query("SELECT mime_type, size_bytes FROM repo_blobs WHERE cid = ?")
            .bind(cid.to_string())
            .fetch_optional(self.database.readers())
            .await
            .map_err(failed)?;
        let Some(row) = row else {
            return Ok(None);
        };
        let size: i64 = row.try_get("size_bytes").map_err(failed)?;
        Ok(Some(BlobRef {
            cid: *cid,
            mime_type: row.try_get("mime_type").map_err(failed)?,
            size: u64::try_from(size).map_err(|_| SessionsError::Corrupt { column: "size_bytes" })?,
        }))
    }

    async fn uploaded_before(
        &self,
        before: DateTime<Utc>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Cid>, SessionsError> {
        let cids: Vec<String> = sqlx::query_scalar(
            "SELECT cid FROM repo_blobs blob WHERE cid > ? AND uploaded_at < ?
                 AND NOT EXISTS (SELECT 1 FROM scan_documents document WHERE document.cid = blob.cid)
                 AND NOT EXISTS (SELECT 1 FROM scan_uploads upload WHERE upload.cid = blob.cid)
             ORDER BY cid LIMIT ?",
        )
        .bind(after)
        .bind(before.timestamp_millis())
        .bind(limit)
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        cids.into_iter()
            .map(|cid| cid.parse().map_err(|_| SessionsError::Corrupt { column: "cid" }))
            .collect()
    }

    async fn forget(&self, cid: &Cid, before: DateTime<Utc>) -> Result<(), SessionsError> {
        sqlx::query("DELETE FROM repo_blobs WHERE cid = ? AND uploaded_at < ?")
            .bind(cid.to_string())
            .bind(before.timestamp_millis())
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
        Ok(())
    }
}
