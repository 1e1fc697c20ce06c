//! What configurations of images say, and which of them cards wait for.

use async_trait::async_trait;
use atcr_index::IndexError;
use atcr_index::fact::ConfigFact;
use atcr_index::ports::{ConfigLog, WantedConfig};
use atcr_index::stored::{self, digest_bytes, micros};
use atcr_index::view::RepositoryId;
use atcr_oci::Digest;
use chrono::{DateTime, Utc};

use crate::write::refresh_cards;
use crate::{SqliteIndex, failed};

#[async_trait]
impl ConfigLog for SqliteIndex {
    async fn wanted_configs(&self, limit: u32, now: DateTime<Utc>) -> Result<Vec<WantedConfig>, IndexError> {
        let rows: Vec<(i64, String, String, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT w.repository, a.did, r.name, w.digest, w.attempts FROM config_wanted w \
             JOIN repository r ON r.id = w.repository JOIN account a ON a.id = r.account \
             WHERE w.due <= ?1 ORDER BY w.due LIMIT ?2",
        )
        .bind(micros(now))
        .bind(i64::from(limit))
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        rows.into_iter()
            .map(|(repository, did, name, digest, attempts)| {
                Ok(WantedConfig {
                    repository: RepositoryId(repository),
                    did: stored::did(&did)?,
                    name,
                    digest: stored::digest(&digest)?,
                    attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
                })
            })
            .collect()
    }

    async fn configured(
        &self,
        digest: &Digest,
        says: &ConfigFact,
        now: DateTime<Utc>,
    ) -> Result<(), IndexError> {
        let labels = serde_json::to_string(&says.labels).map_err(|_| IndexError::Corrupt("labels"))?;
        let mut transaction = self
            .database
            .writer()
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        sqlx::query("INSERT INTO config (digest, labels, platform) VALUES (?1, ?2, ?3) ON CONFLICT (digest) DO NOTHING")
            .bind(digest_bytes(digest))
            .bind(labels)
            .bind(&says.platform)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        let waiting: Vec<i64> =
            sqlx::query_scalar("DELETE FROM config_wanted WHERE digest = ?1 RETURNING repository")
                .bind(digest_bytes(digest))
                .fetch_all(&mut *transaction)
                .await
                .map_err(failed)?;
        refresh_cards(&mut transaction, waiting, now)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn put_off_config(&self, wanted: &WantedConfig, due: DateTime<Utc>) -> Result<(), IndexError> {
        sqlx::query(
            "UPDATE config_wanted SET due = ?1, attempts = attempts + 1 WHERE repository = ?2 AND digest = ?3",
        )
        .bind(micros(due))
        .bind(wanted.repository.0)
        .bind(digest_bytes(&wanted.digest))
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }
}
