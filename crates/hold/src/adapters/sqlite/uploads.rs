//! The table of uploads.

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_server::database::Database;
use chrono::{DateTime, Utc};
use sqlx::FromRow;

use crate::blobs::{
    FinishedUpload, IdleUpload, ObjectKey, SessionsError, StoreUpload, UploadSession, UploadSessions,
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
        sqlx::query("UPDATE uploads SET digest = ?, size_bytes = ?, last_used_at = ? WHERE id = ?")
            .bind(finished.digest.to_string())
            .bind(size)
            .bind(now.timestamp_millis())
            .bind(id)
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
        Ok(())
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
             ORDER BY last_used_at, id LIMIT ?",
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
}

fn failed(error: sqlx::Error) -> SessionsError {
    SessionsError::Database(Box::new(error))
}
