//! `KeptManifests` in SQLite: bytes of manifests by digest, within a bound.
//!
//! It is in the scratch file: bytes that are lost are fetched again.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_oci::Digest;
use atcr_registry::error::RegistryError;
use atcr_registry::manifest::ports::KeptManifests;
use bytes::Bytes;

use super::{Database, failed};

/// How exactly it is known when bytes were used last, in seconds: a write for every read would cost more than it tells.
const USE_SECONDS: i64 = 60 * 60;

/// Manifests that make room at once.
const FORGOTTEN_AT_ONCE: u32 = 64;

/// Bytes of manifests.
#[derive(Clone, Debug)]
pub struct SqliteManifestBytes {
    database: Database,
    most_bytes: u64,
    clock: Arc<dyn Clock>,
}

impl SqliteManifestBytes {
    /// Keeps at most `most_bytes` in `database`; none with 0.
    #[must_use]
    pub fn new(database: Database, most_bytes: u64, clock: Arc<dyn Clock>) -> Self {
        Self {
            database,
            most_bytes,
            clock,
        }
    }
}

#[async_trait]
impl KeptManifests for SqliteManifestBytes {
    async fn find(&self, digest: &Digest) -> Result<Option<Bytes>, RegistryError> {
        let row: Option<(i64, Vec<u8>, i64)> =
            sqlx::query_as("SELECT id, bytes, used_at FROM manifest_bytes WHERE digest = ?")
                .bind(digest.as_str())
                .fetch_optional(self.database.readers())
                .await
                .map_err(failed)?;
        let Some((id, bytes, used_at)) = row else {
            return Ok(None);
        };
        let now = self.clock.now().timestamp();
        if now.saturating_sub(used_at) >= USE_SECONDS {
            sqlx::query("UPDATE manifest_bytes SET used_at = ? WHERE id = ?")
                .bind(now)
                .bind(id)
                .execute(self.database.writer())
                .await
                .map_err(failed)?;
        }
        Ok(Some(Bytes::from(bytes)))
    }

    async fn keep(&self, digest: &Digest, bytes: &Bytes) -> Result<(), RegistryError> {
        if bytes.len() as u64 > self.most_bytes {
            return Ok(());
        }
        let is_kept: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM manifest_bytes WHERE digest = ?)")
                .bind(digest.as_str())
                .fetch_one(self.database.readers())
                .await
                .map_err(failed)?;
        if is_kept {
            return Ok(());
        }
        let most = i64::try_from(self.most_bytes).unwrap_or(i64::MAX);
        let mut transaction = self.database.writer().begin().await.map_err(failed)?;
        sqlx::query(
            "INSERT INTO manifest_bytes (digest, bytes, used_at) VALUES (?, ?, ?) ON CONFLICT (digest) DO NOTHING",
        )
        .bind(digest.as_str())
        .bind(bytes.as_ref())
        .bind(self.clock.now().timestamp())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        loop {
            let total: i64 = sqlx::query_scalar("SELECT bytes FROM manifest_bytes_total")
                .fetch_one(&mut *transaction)
                .await
                .map_err(failed)?;
            if total <= most {
                break;
            }
            // Of the oldest as many as have to go.
            let forgotten = sqlx::query(
                "DELETE FROM manifest_bytes WHERE id IN ( \
                     SELECT id FROM (SELECT id, sum(length(bytes)) OVER (ORDER BY used_at, id) - length(bytes) AS before \
                                     FROM (SELECT id, used_at, bytes FROM manifest_bytes ORDER BY used_at, id LIMIT ?1)) \
                     WHERE before < ?2)",
            )
            .bind(FORGOTTEN_AT_ONCE)
            .bind(total - most)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            if forgotten.rows_affected() == 0 {
                break;
            }
        }
        transaction.commit().await.map_err(failed)?;
        Ok(())
    }

    async fn forget(&self, digest: &Digest) -> Result<(), RegistryError> {
        sqlx::query("DELETE FROM manifest_bytes WHERE digest = ?")
            .bind(digest.as_str())
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
        Ok(())
    }
}
