//! The table of uploads.

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use atcr_server::database::Database;
use chrono::{DateTime, Utc};
use sqlx::FromRow;

use crate::blobs::{
    ContentProof, FinishedUpload, IdleUpload, ObjectKey, PartTag, Promise, PromiseLimits, PromisedBlob,
    SessionsError, StoreUpload, UploadSession, UploadSessions,
};

/// [`UploadSessions`] in the hold's database.
#[derive(Clone, Debug)]
pub struct SqliteUploads {
    database: Database,
}

impl SqliteUploads {
    /// Uses `database`, which must be migrated.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[derive(FromRow)]
struct UploadRow {
    id: String,
    owner: String,
    object_key: String,
    store_id: String,
    last_used_at: i64,
    digest: Option<String>,
    size_bytes: Option<i64>,
}

impl TryFrom<UploadRow> for UploadSession {
    type Error = SessionsError;

    fn try_from(row: UploadRow) -> Result<Self, Self::Error> {
        let corrupt = |column| SessionsError::Corrupt { column };
        let finished = match (row.digest, row.size_bytes) {
            (Some(digest), Some(size)) => Some(FinishedUpload {
                digest: digest.parse().map_err(|_| corrupt("digest"))?,
                size: u64::try_from(size).map_err(|_| corrupt("size_bytes"))?,
            }),
            _ => None,
        };
        let key: ObjectKey = row.object_key.parse().map_err(|_| corrupt("object_key"))?;
        Ok(Self {
            id: row.id,
            owner: row.owner.parse::<Did>().map_err(|_| corrupt("owner"))?,
            upload: StoreUpload {
                key,
                id: row.store_id,
            },
            last_used_at: DateTime::from_timestamp_millis(row.last_used_at)
                .ok_or_else(|| corrupt("last_used_at"))?,
            finished,
        })
    }
}

#[derive(FromRow)]
struct PromiseRow {
    upload_id: String,
    owner: String,
    digest: String,
    size_bytes: i64,
    parts: String,
    vouched_bytes: Option<i64>,
    promised_at: i64,
}

impl TryFrom<PromiseRow> for Promise {
    type Error = SessionsError;

    fn try_from(row: PromiseRow) -> Result<Self, Self::Error> {
        let corrupt = |column| SessionsError::Corrupt { column };
        let parts: Vec<(u32, String)> = serde_json::from_str(&row.parts).map_err(|_| corrupt("parts"))?;
        let vouched = row.vouched_bytes.map(u64::try_from).transpose();
        Ok(Self {
            upload_id: row.upload_id,
            owner: row.owner.parse().map_err(|_| corrupt("owner"))?,
            digest: row.digest.parse().map_err(|_| corrupt("digest"))?,
            size: u64::try_from(row.size_bytes).map_err(|_| corrupt("size_bytes"))?,
            parts: parts
                .into_iter()
                .map(|(part_number, etag)| PartTag { part_number, etag })
                .collect(),
            vouched: vouched
                .map_err(|_| corrupt("vouched_bytes"))?
                .map(|size| ContentProof { size }),
            promised_at: DateTime::from_timestamp_millis(row.promised_at)
                .ok_or_else(|| corrupt("promised_at"))?,
        })
    }
}

#[async_trait]
impl UploadSessions for SqliteUploads {
    async fn insert(&self, session: &UploadSession) -> Result<(), SessionsError> {
        sqlx::query(
            "INSERT INTO uploads (id, owner, object_key, store_id, last_used_at) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&session.id)
        .bind(session.owner.as_str())
        .bind(session.upload.key.as_str())
        .bind(&session.upload.id)
        .bind(session.last_used_at.timestamp_millis())
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn get(&self, id: &str) -> Result<Option<UploadSession>, SessionsError> {
        sqlx::query_as::<_, UploadRow>(
            "SELECT id, owner, object_key, store_id, last_used_at, digest, size_bytes FROM uploads WHERE id = ?",
        )
        .bind(id)
        .fetch_optional(self.database.readers())
        .await
        .map_err(failed)?
        .map(UploadSession::try_from)
        .transpose()
    }

    async fn touch(&self, id: &str, now: DateTime<Utc>) -> Result<(), SessionsError> {
        sqlx::query("UPDATE uploads SET last_used_at = ? WHERE id = ?")
            .bind(now.timestamp_millis())
            .bind(id)
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn finish(
        &self,
        id: &str,
        finished: &FinishedUpload,
        now: DateTime<Utc>,
    ) -> Result<(), SessionsError> {
        let size =
            i64::try_from(finished.size).map_err(|_| SessionsError::Corrupt { column: "size_bytes" })?;
        let mut transaction = self.database.writer().begin().await.map_err(failed)?;
        sqlx::query("UPDATE uploads SET digest = ?, size_bytes = ?, last_used_at = ? WHERE id = ?")
            .bind(finished.digest.to_string())
            .bind(size)
            .bind(now.timestamp_millis())
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query("DELETE FROM promises WHERE upload_id = ?")
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn remove(&self, id: &str) -> Result<(), SessionsError> {
        sqlx::query("DELETE FROM uploads WHERE id = ?")
            .bind(id)
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn idle_since(
        &self,
        before: DateTime<Utc>,
        after: Option<&IdleUpload>,
        limit: u32,
    ) -> Result<Vec<IdleUpload>, SessionsError> {
        let (after_millis, after_id) = after.map_or((i64::MIN, ""), |last| (last.last_used_millis, &last.id));
        // Served by uploads_by_last_use.
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT id, last_used_at FROM uploads WHERE last_used_at < ? AND (last_used_at, id) > (?, ?) \
             AND NOT EXISTS (SELECT 1 FROM promises WHERE upload_id = id) ORDER BY last_used_at, id LIMIT ?",
        )
        .bind(before.timestamp_millis())
        .bind(after_millis)
        .bind(after_id)
        .bind(limit)
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        let idle = |(id, last_used_millis)| IdleUpload { id, last_used_millis };
        Ok(rows.into_iter().map(idle).collect())
    }

    async fn is_running(&self, key: &ObjectKey) -> Result<bool, SessionsError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM uploads WHERE object_key = ? AND digest IS NULL)")
            .bind(key.as_str())
            .fetch_one(self.database.readers())
            .await
            .map_err(failed)
    }

    async fn promise(&self, promise: &Promise, limits: PromiseLimits) -> Result<bool, SessionsError> {
        let corrupt = |column| SessionsError::Corrupt { column };
        let size = i64::try_from(promise.size).map_err(|_| corrupt("size_bytes"))?;
        let vouched = promise.vouched.map(|proof| i64::try_from(proof.size)).transpose();
        let parts: Vec<(u32, &str)> = promise
            .parts
            .iter()
            .map(|part| (part.part_number, part.etag.as_str()))
            .collect();
        // The upload may have been finished or removed since it was looked at.
        let opening = sqlx::query(
            "INSERT INTO promises (upload_id, owner, digest, size_bytes, parts, vouched_bytes, promised_at) \
             SELECT id, owner, ?2, ?3, ?4, ?5, ?6 FROM uploads WHERE id = ?1 AND digest IS NULL \
             AND (SELECT COUNT(*) FROM promises WHERE promises.owner = uploads.owner) < ?7 \
             AND (SELECT COUNT(*) FROM promises) < ?8 ON CONFLICT (upload_id) DO NOTHING",
        )
        .bind(promise.upload_id.clone())
        .bind(promise.digest.to_string())
        .bind(size)
        .bind(serde_json::to_string(&parts).map_err(|_| corrupt("parts"))?)
        .bind(vouched.map_err(|_| corrupt("vouched_bytes"))?)
        .bind(promise.promised_at.timestamp_millis())
        .bind(limits.per_account)
        .bind(limits.in_all);
        let done = self.database.execute_durably(opening).await.map_err(failed)?;
        if done.rows_affected() > 0 {
            return Ok(true);
        }
        let open = self.promise_of(&promise.upload_id).await?;
        Ok(open.is_some_and(|open| open.digest == promise.digest))
    }

    async fn promise_of(&self, upload_id: &str) -> Result<Option<Promise>, SessionsError> {
        sqlx::query_as::<_, PromiseRow>(
            "SELECT upload_id, owner, digest, size_bytes, parts, vouched_bytes, promised_at \
             FROM promises WHERE upload_id = ?",
        )
        .bind(upload_id)
        .fetch_optional(self.database.readers())
        .await
        .map_err(failed)?
        .map(Promise::try_from)
        .transpose()
    }

    async fn promised(&self, owner: &Did, digest: &Digest) -> Result<Option<PromisedBlob>, SessionsError> {
        // Served by promises_by_blob.
        let row: Option<(String, String, i64)> = sqlx::query_as(
            "SELECT object_key, store_id, promises.size_bytes FROM promises JOIN uploads ON id = upload_id \
             WHERE promises.owner = ? AND promises.digest = ? ORDER BY promised_at LIMIT 1",
        )
        .bind(owner.as_str())
        .bind(digest.to_string())
        .fetch_optional(self.database.readers())
        .await
        .map_err(failed)?;
        let Some((key, store_id, size)) = row else {
            return Ok(None);
        };
        let corrupt = |column| SessionsError::Corrupt { column };
        Ok(Some(PromisedBlob {
            upload: StoreUpload {
                key: key.parse().map_err(|_| corrupt("object_key"))?,
                id: store_id,
            },
            size: u64::try_from(size).map_err(|_| corrupt("size_bytes"))?,
        }))
    }

    async fn is_promised(&self, digest: &Digest) -> Result<bool, SessionsError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM promises WHERE digest = ?)")
            .bind(digest.to_string())
            .fetch_one(self.database.readers())
            .await
            .map_err(failed)
    }

    async fn promised_digests(&self, owner: &Did) -> Result<Vec<Digest>, SessionsError> {
        let digests: Vec<String> = sqlx::query_scalar("SELECT DISTINCT digest FROM promises WHERE owner = ?")
            .bind(owner.as_str())
            .fetch_all(self.database.readers())
            .await
            .map_err(failed)?;
        let digest = |text: String| text.parse();
        let parsed: Result<_, _> = digests.into_iter().map(digest).collect();
        parsed.map_err(|_| SessionsError::Corrupt { column: "digest" })
    }

    async fn promised_uploads(&self) -> Result<Vec<String>, SessionsError> {
        sqlx::query_scalar("SELECT upload_id FROM promises ORDER BY promised_at")
            .fetch_all(self.database.readers())
            .await
            .map_err(failed)
    }
}

fn failed(error: sqlx::Error) -> SessionsError {
    SessionsError::Database(Box::new(error))
}
