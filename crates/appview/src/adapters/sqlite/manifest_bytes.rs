//! `KeptManifests` in SQLite: bytes of manifests by digest, within a bound.
//!
//! It is in the scratch file: bytes that are lost are fetched again.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_oci::Digest;
use atcr_registry::error::RegistryError;
use atcr_registry::manifest::ports::KeptManifests;
use atcr_server::port_call::PortCall;
use bytes::Bytes;

use super::{Database, failed};

/// How exactly it is known when bytes were used last, in seconds: a write for every read would cost more than it tells.
const USE_SECONDS: i64 = 60 * 60;

/// Manifests that make room at once.
const FORGOTTEN_AT_ONCE: u32 = 64;

/// A host may have one part in so many before it makes room itself: one that is asked for ever new manifests does not push out those of
/// others.
const HOSTS: i64 = 4;

macro_rules! oldest {
    ($which:literal) => {
        concat!(
            "DELETE FROM manifest_bytes WHERE id IN ( \
                 SELECT id FROM (SELECT id, sum(length(bytes)) OVER (ORDER BY used_at, id) - length(bytes) AS before \
                                 FROM (SELECT id, used_at, bytes FROM manifest_bytes ",
            $which,
            " ORDER BY used_at, id LIMIT ?1)) WHERE before < ?2)"
        )
    };
}

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
        let call = Box::pin(async {
            let row: Option<(Vec<u8>, i64)> =
                sqlx::query_as("SELECT bytes, used_at FROM manifest_bytes WHERE digest = ?")
                    .bind(digest.as_str())
                    .fetch_optional(self.database.readers())
                    .await
                    .map_err(failed)?;
            Ok(row)
        });
        let found: Result<_, RegistryError> = PortCall::database("find_manifest_bytes").run(call).await;
        let Some((bytes, used_at)) = found? else {
            return Ok(None);
        };
        if self.clock.now().timestamp().saturating_sub(used_at) >= USE_SECONDS
            && let Err(error) = self.used(digest).await
        {
            tracing::error!(%digest, error = &error as &dyn std::error::Error, "the use of a manifest is not noted");
        }
        Ok(Some(Bytes::from(bytes)))
    }

    async fn used(&self, digest: &Digest) -> Result<(), RegistryError> {
        let now = self.clock.now().timestamp();
        let call = Box::pin(async {
            sqlx::query("UPDATE manifest_bytes SET used_at = ?1 WHERE digest = ?2 AND used_at <= ?3")
                .bind(now)
                .bind(digest.as_str())
                .bind(now.saturating_sub(USE_SECONDS))
                .execute(self.database.writer())
                .await
                .map_err(failed)?;
            Ok(())
        });
        PortCall::database("use_manifest_bytes").run(call).await
    }

    async fn keep(&self, host: &str, digest: &Digest, bytes: &Bytes) -> Result<(), RegistryError> {
        if bytes.len() as u64 > self.most_bytes {
            return Ok(());
        }
        let call = Box::pin(async {
            let is_kept: bool =
                sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM manifest_bytes WHERE digest = ?)")
                    .bind(digest.as_str())
                    .fetch_one(self.database.readers())
                    .await
                    .map_err(failed)?;
            if is_kept {
                return Ok(());
            }
            let mut transaction = self.database.writer().begin().await.map_err(failed)?;
            sqlx::query(
                "INSERT INTO manifest_bytes (digest, bytes, used_at, host) VALUES (?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING",
            )
            .bind(digest.as_str())
            .bind(bytes.as_ref())
            .bind(self.clock.now().timestamp())
            .bind(host)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            self.make_room(&mut transaction, host).await?;
            transaction.commit().await.map_err(failed)?;
            Ok(())
        });
        PortCall::database("keep_manifest_bytes").run(call).await
    }

    async fn forget(&self, digest: &Digest) -> Result<(), RegistryError> {
        let call = Box::pin(async {
            sqlx::query("DELETE FROM manifest_bytes WHERE digest = ?")
                .bind(digest.as_str())
                .execute(self.database.writer())
                .await
                .map_err(failed)?;
            Ok(())
        });
        PortCall::database("forget_manifest_bytes").run(call).await
    }
}

impl SqliteManifestBytes {
    /// Forgets what is too much: of `host`, which asks for the room, while it has more than its share, else of all.
    async fn make_room(
        &self,
        transaction: &mut sqlx::SqliteConnection,
        host: &str,
    ) -> Result<(), RegistryError> {
        let most = i64::try_from(self.most_bytes).unwrap_or(i64::MAX);
        loop {
            let (total, of_host): (i64, i64) = sqlx::query_as(
                "SELECT bytes, coalesce((SELECT bytes FROM manifest_bytes_of_host WHERE host = ?), 0) FROM manifest_bytes_total",
            )
            .bind(host)
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
            if total <= most {
                return Ok(());
            }
            // manifest_bytes_by_host and manifest_bytes_by_use: of the oldest as many as have to go.
            let statement = if of_host > most / HOSTS {
                oldest!("WHERE host = ?3")
            } else {
                oldest!("WHERE ?3 = ?3")
            };
            let forgotten = sqlx::query(statement)
                .bind(FORGOTTEN_AT_ONCE)
                .bind(total - most)
                .bind(host)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            if forgotten.rows_affected() == 0 {
                return Ok(());
            }
        }
    }
}
