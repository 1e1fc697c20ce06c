//! Deletions that can be undone, in SQLite.

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_registry::error::RegistryError;
use atcr_registry::manifest::removal::{Removed, RemovedManifest, RemovedTag};
use atcr_server::port_call::PortCall;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use super::indexed_rows::corrupt;
use super::{Database, failed};
use crate::manage::ports::{Deletion, DeletionStore, DeletionSummary};

/// Deletions kept of one account.
const OF_ACCOUNT: i64 = 20;

/// Bytes kept of one account.
const BYTES_OF_ACCOUNT: i64 = 64 * 1024 * 1024;

/// Bytes kept of all.
const BYTES: i64 = 1024 * 1024 * 1024;

/// Deletions by account.
#[derive(Clone, Debug)]
pub struct SqliteDeletions {
    database: Database,
    most_bytes: i64,
}

impl SqliteDeletions {
    /// Keeps deletions in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            database,
            most_bytes: BYTES,
        }
    }

    /// The same that keeps `most` bytes of all accounts.
    #[must_use]
    pub fn keeping_bytes(self, most: i64) -> Self {
        Self {
            most_bytes: most,
            ..self
        }
    }
}

/// What a deletion has besides its manifests.
#[derive(Serialize, Deserialize)]
struct Content {
    tags: Vec<TagContent>,
}

#[derive(Serialize, Deserialize)]
struct TagContent {
    tag: String,
    digest: Option<String>,
}

impl Content {
    fn of(removed: &Removed) -> Result<String, RegistryError> {
        let tags = removed.tags.iter().map(|removed| TagContent {
            tag: removed.tag.to_string(),
            digest: removed.digest.as_ref().map(ToString::to_string),
        });
        let content = Self { tags: tags.collect() };
        serde_json::to_string(&content).map_err(|error| RegistryError::Internal {
            what: error.to_string(),
        })
    }

    fn read(text: &str) -> Option<Vec<RemovedTag>> {
        let content: Self = serde_json::from_str(text).ok()?;
        let tags = content.tags.into_iter().map(|removed| {
            Some(RemovedTag {
                tag: removed.tag.parse().ok()?,
                digest: removed.digest.and_then(|digest| digest.parse().ok()),
            })
        });
        tags.collect()
    }
}

/// What a row costs besides the bytes of its manifest.
const ROW_BYTES: usize = 256;

fn size_of(content: &str, removed: &Removed) -> usize {
    let manifests = removed.manifests.iter();
    content.len()
        + manifests
            .map(|manifest| manifest.bytes.len() + ROW_BYTES)
            .sum::<usize>()
}

#[derive(sqlx::FromRow)]
struct ManifestRow {
    digest: String,
    media_type: String,
    hold: Option<String>,
    bytes: Vec<u8>,
}

impl TryFrom<ManifestRow> for RemovedManifest {
    type Error = RegistryError;

    fn try_from(row: ManifestRow) -> Result<Self, RegistryError> {
        let damaged = |column| corrupt("deletion_manifest", column);
        let hold = row.hold.as_deref().map(str::parse).transpose();
        Ok(Self {
            digest: row.digest.parse().map_err(|_| damaged("digest"))?,
            media_type: row.media_type,
            hold: hold.map_err(|_| damaged("hold"))?,
            bytes: row.bytes.into(),
        })
    }
}

#[derive(sqlx::FromRow)]
struct SummaryRow {
    id: String,
    repository: String,
    tags: i64,
    manifests: i64,
    finished: bool,
    deleted_at: i64,
    expires_at: i64,
}

fn time(secs: i64, column: &'static str) -> Result<DateTime<Utc>, RegistryError> {
    DateTime::from_timestamp(secs, 0).ok_or_else(|| corrupt("deletion", column))
}

impl TryFrom<SummaryRow> for DeletionSummary {
    type Error = RegistryError;

    fn try_from(row: SummaryRow) -> Result<Self, RegistryError> {
        Ok(Self {
            deleted_at: time(row.deleted_at, "deleted_at")?,
            expires_at: time(row.expires_at, "expires_at")?,
            id: row.id,
            repository: row.repository,
            tags: u64::try_from(row.tags).unwrap_or(0),
            manifests: u64::try_from(row.manifests).unwrap_or(0),
            is_finished: row.finished,
        })
    }
}

#[async_trait]
impl DeletionStore for SqliteDeletions {
    async fn keep(&self, did: &Did, deletion: &Deletion) -> Result<(), RegistryError> {
        let content = Content::of(&deletion.removed)?;
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let call = Box::pin(async {
            let mut transaction = self.database.writer().begin().await.map_err(failed)?;
            sqlx::query("DELETE FROM deletion WHERE expires_at <= ?")
                .bind(deletion.deleted_at.timestamp())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            sqlx::query(
                "INSERT INTO deletion (id, did, repository, tags, manifests, content, size_bytes, deleted_at, expires_at, finished) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            )
            .bind(&deletion.id)
            .bind(did.as_str())
            .bind(&deletion.repository)
            .bind(count(deletion.removed.tags.len()))
            .bind(count(deletion.removed.manifests.len()))
            .bind(&content)
            .bind(count(size_of(&content, &deletion.removed)))
            .bind(deletion.deleted_at.timestamp())
            .bind(deletion.expires_at.timestamp())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            for (number, manifest) in deletion.removed.manifests.iter().enumerate() {
                sqlx::query(
                    "INSERT INTO deletion_manifest (deletion, number, digest, media_type, hold, bytes) VALUES (?, ?, ?, ?, ?, ?)",
                )
                .bind(&deletion.id)
                .bind(count(number))
                .bind(manifest.digest.as_str())
                .bind(&manifest.media_type)
                .bind(manifest.hold.as_ref().map(Did::as_str))
                .bind(manifest.bytes.as_ref())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            }
            // deletion_by_did: the account's rows, some twenty.
            sqlx::query(
                "DELETE FROM deletion WHERE rowid IN (SELECT rowid FROM (SELECT rowid, \
                     row_number() OVER newest AS number, sum(size_bytes) OVER newest AS total FROM deletion WHERE did = ?1 \
                     WINDOW newest AS (ORDER BY deleted_at DESC, rowid DESC)) WHERE number > 1 AND (number > ?2 OR total > ?3))",
            )
            .bind(did.as_str())
            .bind(OF_ACCOUNT)
            .bind(BYTES_OF_ACCOUNT)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            loop {
                // deletion_by_time has all that this reads: a row for every deletion of a day.
                let total: i64 = sqlx::query_scalar("SELECT coalesce(sum(size_bytes), 0) FROM deletion")
                    .fetch_one(&mut *transaction)
                    .await
                    .map_err(failed)?;
                if total <= self.most_bytes {
                    break;
                }
                let gone = sqlx::query(
                    "DELETE FROM deletion WHERE rowid = (SELECT rowid FROM deletion WHERE did = \
                         (SELECT did FROM deletion GROUP BY did HAVING max(id <> ?1) ORDER BY sum(size_bytes) DESC, did LIMIT 1) \
                     AND id <> ?1 ORDER BY deleted_at, rowid LIMIT 1)",
                )
                .bind(&deletion.id)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
                if gone.rows_affected() == 0 {
                    break;
                }
            }
            transaction.commit().await.map_err(failed)?;
            Ok(())
        });
        PortCall::database("keep_deletion").run(call).await
    }

    async fn find(&self, did: &Did, id: &str, now: DateTime<Utc>) -> Result<Option<Deletion>, RegistryError> {
        let call = Box::pin(async {
            let row: Option<(String, String, bool, i64, i64)> = sqlx::query_as(
                "SELECT repository, content, finished, deleted_at, expires_at FROM deletion WHERE id = ? AND did = ? AND expires_at > ?",
            )
            .bind(id)
            .bind(did.as_str())
            .bind(now.timestamp())
            .fetch_optional(self.database.readers())
            .await
            .map_err(failed)?;
            let Some((repository, content, is_finished, deleted_at, expires_at)) = row else {
                return Ok(None);
            };
            let tags = Content::read(&content).ok_or_else(|| corrupt("deletion", "content"))?;
            let mut manifests = Vec::new();
            let mut rows = sqlx::query_as::<_, ManifestRow>(
                "SELECT digest, media_type, hold, bytes FROM deletion_manifest WHERE deletion = ? ORDER BY number",
            )
            .bind(id)
            .fetch(self.database.readers());
            while let Some(row) = rows.try_next().await.map_err(failed)? {
                manifests.push(RemovedManifest::try_from(row)?);
            }
            Ok(Some(Deletion {
                id: id.to_owned(),
                repository,
                removed: Removed { tags, manifests },
                is_finished,
                deleted_at: time(deleted_at, "deleted_at")?,
                expires_at: time(expires_at, "expires_at")?,
            }))
        });
        PortCall::database("find_deletion").run(call).await
    }

    async fn list(&self, did: &Did, now: DateTime<Utc>) -> Result<Vec<DeletionSummary>, RegistryError> {
        let call = Box::pin(async {
            let rows: Vec<SummaryRow> = sqlx::query_as(
                "SELECT id, repository, tags, manifests, finished, deleted_at, expires_at FROM deletion \
                 WHERE did = ? AND expires_at > ? ORDER BY deleted_at DESC, rowid DESC",
            )
            .bind(did.as_str())
            .bind(now.timestamp())
            .fetch_all(self.database.readers())
            .await
            .map_err(failed)?;
            rows.into_iter().map(DeletionSummary::try_from).collect()
        });
        PortCall::database("list_deletions").run(call).await
    }

    async fn finish(&self, did: &Did, id: &str) -> Result<(), RegistryError> {
        let call = Box::pin(async {
            sqlx::query("UPDATE deletion SET finished = 1 WHERE id = ? AND did = ?")
                .bind(id)
                .bind(did.as_str())
                .execute(self.database.writer())
                .await
                .map_err(failed)?;
            Ok(())
        });
        PortCall::database("finish_deletion").run(call).await
    }

    async fn forget(&self, did: &Did, id: &str) -> Result<(), RegistryError> {
        let call = Box::pin(async {
            sqlx::query("DELETE FROM deletion WHERE id = ? AND did = ?")
                .bind(id)
                .bind(did.as_str())
                .execute(self.database.writer())
                .await
                .map_err(failed)?;
            Ok(())
        });
        PortCall::database("forget_deletion").run(call).await
    }

    async fn forget_all(&self, did: &Did) -> Result<(), RegistryError> {
        let call = Box::pin(async {
            sqlx::query("DELETE FROM deletion WHERE did = ?")
                .bind(did.as_str())
                .execute(self.database.writer())
                .await
                .map_err(failed)?;
            Ok(())
        });
        PortCall::database("forget_deletions").run(call).await
    }
}
