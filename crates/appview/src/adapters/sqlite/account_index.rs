//! `AccountIndex` in SQLite.
//!
//! It is in the scratch file: after a power failure an account may be as it was some commits ago. Its rows and the revision they are
//! of are undone together, and the account's own revision never comes again, so the next look lists the account anew. A record
//! that a pull noted is noted by the next pull.

use async_trait::async_trait;
use atcr_atproto::lexicon::manifest::ManifestRecord;
use atcr_atproto::lexicon::tag::TagRecord;
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_oci::Digest;
use sqlx::{FromRow, SqliteConnection};

use super::Database;
use crate::registry::error::RegistryError;
use crate::registry::ports::{
    AccountChange, AccountIndex, AccountListing, IndexedManifest, IndexedTag, Located, ManifestDetails,
    Referrer,
};

/// The index of accounts.
#[derive(Clone, Debug)]
pub struct SqliteAccountIndex {
    database: Database,
}

impl SqliteAccountIndex {
    /// Keeps the index in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    async fn strings(
        &self,
        query: sqlx::query::QueryScalar<'_, sqlx::Sqlite, String, sqlx::sqlite::SqliteArguments>,
    ) -> Result<Vec<String>, RegistryError> {
        Ok(query.fetch_all(self.database.readers()).await?)
    }
}

#[derive(FromRow)]
struct ManifestRow {
    rkey: String,
    repository: String,
    digest: String,
}

#[derive(FromRow)]
struct TagRow {
    rkey: String,
    tag: String,
    digest: Option<String>,
}

#[derive(FromRow)]
struct ReferrerRow {
    rkey: String,
    digest: String,
    media_type: String,
    size_bytes: Option<i64>,
    blob_cid: Option<String>,
    artifact_type: Option<String>,
    annotations: String,
    detail_size_bytes: Option<i64>,
    detail_artifact_type: Option<String>,
    detail_annotations: Option<String>,
}

/// What cannot be in the database unless something else wrote there.
fn corrupt(table: &str, column: &str) -> RegistryError {
    RegistryError::Internal {
        what: format!("the database has a bad value in {table}.{column}"),
    }
}

impl TryFrom<ManifestRow> for IndexedManifest {
    type Error = RegistryError;

    fn try_from(row: ManifestRow) -> Result<Self, RegistryError> {
        Ok(Self {
            rkey: row.rkey.parse().map_err(|_| corrupt("manifest", "rkey"))?,
            repository: row.repository,
            digest: row.digest.parse().map_err(|_| corrupt("manifest", "digest"))?,
        })
    }
}

impl TryFrom<TagRow> for IndexedTag {
    type Error = RegistryError;

    fn try_from(row: TagRow) -> Result<Self, RegistryError> {
        Ok(Self {
            rkey: row.rkey.parse().map_err(|_| corrupt("tag", "rkey"))?,
            tag: row.tag,
            digest: row.digest.and_then(|digest| digest.parse().ok()),
        })
    }
}

impl TryFrom<ReferrerRow> for Referrer {
    type Error = RegistryError;

    fn try_from(row: ReferrerRow) -> Result<Self, RegistryError> {
        let annotations =
            |json: &str| serde_json::from_str(json).map_err(|_| corrupt("manifest", "annotations"));
        let details = match (row.artifact_type, row.detail_annotations) {
            (Some(kind), _) => Some(ManifestDetails {
                artifact_type: Some(kind),
                annotations: annotations(&row.annotations)?,
            }),
            (None, Some(json)) => Some(ManifestDetails {
                artifact_type: row.detail_artifact_type,
                annotations: annotations(&json)?,
            }),
            (None, None) => None,
        };
        let size = row.detail_size_bytes.or(row.size_bytes);
        Ok(Self {
            rkey: row.rkey.parse().map_err(|_| corrupt("manifest", "rkey"))?,
            digest: row.digest.parse().map_err(|_| corrupt("manifest", "digest"))?,
            media_type: row.media_type,
            size: size.and_then(|size| u64::try_from(size).ok()),
            blob: row.blob_cid.and_then(|cid| cid.parse().ok()),
            details,
        })
    }
}

#[async_trait]
impl AccountIndex for SqliteAccountIndex {
    async fn synced_rev(&self, did: &Did) -> Result<Option<String>, RegistryError> {
        let rev = sqlx::query_scalar("SELECT synced_rev FROM account WHERE did = ?")
            .bind(did.as_str())
            .fetch_optional(self.database.readers())
            .await?;
        Ok(rev)
    }

    async fn replace(&self, did: &Did, rev: &str, listing: &AccountListing) -> Result<(), RegistryError> {
        let mut transaction = self.database.writer().begin().await?;
        // Blobs and children go with their manifests.
        for statement in [
            "DELETE FROM manifest WHERE did = ?",
            "DELETE FROM tag WHERE did = ?",
        ] {
            sqlx::query(statement)
                .bind(did.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        for manifest in &listing.manifests {
            put_manifest(&mut transaction, did, manifest).await?;
        }
        for tag in &listing.tags {
            put_tag(&mut transaction, did, tag).await?;
        }
        sqlx::query(
            "INSERT INTO account (did, synced_rev) VALUES (?1, ?2) \
             ON CONFLICT (did) DO UPDATE SET synced_rev = excluded.synced_rev",
        )
        .bind(did.as_str())
        .bind(rev)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn apply(
        &self,
        did: &Did,
        change: &AccountChange,
        from: &str,
        to: &str,
    ) -> Result<(), RegistryError> {
        let mut transaction = self.database.writer().begin().await?;
        for rkey in &change.deleted_manifests {
            delete_manifest(&mut transaction, did, rkey).await?;
        }
        for rkey in &change.deleted_tags {
            sqlx::query("DELETE FROM tag WHERE did = ? AND rkey = ?")
                .bind(did.as_str())
                .bind(rkey.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        for manifest in &change.manifests {
            put_manifest(&mut transaction, did, manifest).await?;
        }
        for tag in &change.tags {
            put_tag(&mut transaction, did, tag).await?;
        }
        sqlx::query("UPDATE account SET synced_rev = ? WHERE did = ? AND synced_rev = ?")
            .bind(to)
            .bind(did.as_str())
            .bind(from)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn note(&self, did: &Did, manifest: &Located<ManifestRecord>) -> Result<(), RegistryError> {
        // Pulls are many and records seldom change: look before writing.
        let known: Option<(String, String, Option<String>)> =
            sqlx::query_as("SELECT repository, digest, hold_did FROM manifest WHERE did = ? AND rkey = ?")
                .bind(did.as_str())
                .bind(manifest.rkey.as_str())
                .fetch_optional(self.database.readers())
                .await?;
        let record = &manifest.record;
        let hold = record.hold().map(String::from);
        if known == Some((record.repository.clone(), record.digest.clone(), hold)) {
            return Ok(());
        }
        let mut transaction = self.database.writer().begin().await?;
        put_manifest(&mut transaction, did, manifest).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn tags(
        &self,
        did: &Did,
        repository: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, RegistryError> {
        // tag_by_name: a range of one repository. A tag kept under two keys is listed once.
        let query = sqlx::query_scalar(
            "SELECT DISTINCT tag FROM tag WHERE did = ? AND repository = ? AND tag > ? ORDER BY tag LIMIT ?",
        );
        self.strings(
            query
                .bind(did.as_str().to_owned())
                .bind(repository.to_owned())
                .bind(after.unwrap_or_default().to_owned())
                .bind(rows(limit)),
        )
        .await
    }

    async fn find_tag(
        &self,
        did: &Did,
        repository: &str,
        tag: &str,
    ) -> Result<Vec<IndexedTag>, RegistryError> {
        let rows: Vec<TagRow> = sqlx::query_as(
            "SELECT rkey, tag, digest FROM tag WHERE did = ? AND repository = ? AND tag = ? \
             ORDER BY moved_at DESC, rkey",
        )
        .bind(did.as_str())
        .bind(repository)
        .bind(tag)
        .fetch_all(self.database.readers())
        .await?;
        rows.into_iter().map(IndexedTag::try_from).collect()
    }

    async fn tags_of(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<Vec<IndexedTag>, RegistryError> {
        let rows: Vec<TagRow> = sqlx::query_as(
            "SELECT rkey, tag, digest FROM tag WHERE did = ? AND digest = ? AND repository = ? ORDER BY tag, rkey",
        )
        .bind(did.as_str())
        .bind(digest.as_str())
        .bind(repository)
        .fetch_all(self.database.readers())
        .await?;
        rows.into_iter().map(IndexedTag::try_from).collect()
    }

    async fn copies(&self, did: &Did, digest: &Digest) -> Result<Vec<IndexedManifest>, RegistryError> {
        let rows: Vec<ManifestRow> = sqlx::query_as(
            "SELECT rkey, repository, digest FROM manifest WHERE did = ? AND digest = ? ORDER BY repository, rkey",
        )
        .bind(did.as_str())
        .bind(digest.as_str())
        .fetch_all(self.database.readers())
        .await?;
        rows.into_iter().map(IndexedManifest::try_from).collect()
    }

    async fn parent_of(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Digest>, RegistryError> {
        let parent: Option<String> = sqlx::query_scalar(
            "SELECT manifest.digest FROM manifest_child \
             JOIN manifest ON manifest.did = manifest_child.did AND manifest.rkey = manifest_child.rkey \
             WHERE manifest_child.did = ? AND manifest_child.digest = ? AND manifest.repository = ? \
             ORDER BY manifest.digest LIMIT 1",
        )
        .bind(did.as_str())
        .bind(digest.as_str())
        .bind(repository)
        .fetch_optional(self.database.readers())
        .await?;
        parent
            .map(|digest| digest.parse().map_err(|_| corrupt("manifest", "digest")))
            .transpose()
    }

    async fn referrers(
        &self,
        did: &Did,
        repository: &str,
        subject: &Digest,
    ) -> Result<Vec<Referrer>, RegistryError> {
        let rows: Vec<ReferrerRow> = sqlx::query_as(
            "SELECT manifest.rkey, manifest.digest, manifest.media_type, manifest.size_bytes, manifest.blob_cid, \
                    manifest.artifact_type, manifest.annotations, \
                    manifest_detail.size_bytes AS detail_size_bytes, \
                    manifest_detail.artifact_type AS detail_artifact_type, \
                    manifest_detail.annotations AS detail_annotations \
             FROM manifest LEFT JOIN manifest_detail ON manifest_detail.digest = manifest.digest \
             WHERE manifest.did = ? AND manifest.repository = ? AND manifest.subject = ? \
             GROUP BY manifest.digest ORDER BY manifest.digest",
        )
        .bind(did.as_str())
        .bind(repository)
        .bind(subject.as_str())
        .fetch_all(self.database.readers())
        .await?;
        rows.into_iter().map(Referrer::try_from).collect()
    }

    async fn keep_details(
        &self,
        digest: &Digest,
        size: u64,
        details: &ManifestDetails,
    ) -> Result<(), RegistryError> {
        sqlx::query(
            "INSERT INTO manifest_detail (digest, size_bytes, artifact_type, annotations) VALUES (?, ?, ?, ?) \
             ON CONFLICT (digest) DO NOTHING",
        )
        .bind(digest.as_str())
        .bind(i64::try_from(size).unwrap_or(i64::MAX))
        .bind(details.artifact_type.as_deref())
        .bind(json(&details.annotations))
        .execute(self.database.writer())
        .await?;
        Ok(())
    }

    async fn has_repository(&self, did: &Did, repository: &str) -> Result<bool, RegistryError> {
        let found = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM manifest WHERE did = ?1 AND repository = ?2) \
                 OR EXISTS (SELECT 1 FROM tag WHERE did = ?1 AND repository = ?2)",
        )
        .bind(did.as_str())
        .bind(repository)
        .fetch_one(self.database.readers())
        .await?;
        Ok(found)
    }

    async fn repositories(
        &self,
        did: &Did,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, RegistryError> {
        let query = sqlx::query_scalar(
            "SELECT repository FROM manifest WHERE did = ?1 AND repository > ?2 \
             UNION SELECT repository FROM tag WHERE did = ?1 AND repository > ?2 ORDER BY 1 LIMIT ?3",
        );
        self.strings(
            query
                .bind(did.as_str().to_owned())
                .bind(after.unwrap_or_default().to_owned())
                .bind(rows(limit)),
        )
        .await
    }

    async fn holds_of_blob(
        &self,
        did: &Did,
        repository: &str,
        blob: &Digest,
    ) -> Result<Vec<Did>, RegistryError> {
        // Rank 0: a manifest of the repository names the blob; 1: one of another repository does; 2: the rest of this one.
        let query = sqlx::query_scalar(
            "SELECT hold_did FROM ( \
                 SELECT manifest.hold_did AS hold_did, CASE WHEN manifest.repository = ?2 THEN 0 ELSE 1 END AS rank \
                 FROM manifest_blob \
                 JOIN manifest ON manifest.did = manifest_blob.did AND manifest.rkey = manifest_blob.rkey \
                 WHERE manifest_blob.did = ?1 AND manifest_blob.digest = ?3 \
                 UNION ALL SELECT DISTINCT hold_did, 2 FROM manifest WHERE did = ?1 AND repository = ?2 \
             ) WHERE hold_did IS NOT NULL GROUP BY hold_did ORDER BY MIN(rank), hold_did",
        );
        let holds = self
            .strings(
                query
                    .bind(did.as_str().to_owned())
                    .bind(repository.to_owned())
                    .bind(blob.to_string()),
            )
            .await?;
        Ok(holds.into_iter().filter_map(|hold| hold.parse().ok()).collect())
    }
}

/// Writes a manifest's rows in place of those it had. A record whose digest is none is left out: nothing can ask for it.
async fn put_manifest(
    connection: &mut SqliteConnection,
    did: &Did,
    manifest: &Located<ManifestRecord>,
) -> Result<(), sqlx::Error> {
    delete_manifest(connection, did, &manifest.rkey).await?;
    let (rkey, record) = (manifest.rkey.as_str(), &manifest.record);
    if record.digest.parse::<Digest>().is_err() {
        return Ok(());
    }
    let blob = record.manifest_blob.as_ref();
    sqlx::query(
        "INSERT INTO manifest (did, rkey, repository, digest, media_type, size_bytes, blob_cid, subject, hold_did, \
                               artifact_type, annotations) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(did.as_str())
    .bind(rkey)
    .bind(&record.repository)
    .bind(&record.digest)
    .bind(&record.media_type)
    .bind(blob.and_then(|blob| i64::try_from(blob.size).ok()))
    .bind(blob.map(|blob| blob.cid.to_string()))
    .bind(record.subject.as_ref().map(|subject| &subject.digest))
    .bind(record.hold().map(String::from))
    .bind(&record.artifact_type)
    .bind(json(&record.annotations))
    .execute(&mut *connection)
    .await?;
    for blob in record.config.iter().chain(&record.layers) {
        sqlx::query("INSERT OR IGNORE INTO manifest_blob (did, digest, rkey) VALUES (?, ?, ?)")
            .bind(did.as_str())
            .bind(&blob.digest)
            .bind(rkey)
            .execute(&mut *connection)
            .await?;
    }
    for child in &record.manifests {
        sqlx::query("INSERT OR IGNORE INTO manifest_child (did, digest, rkey) VALUES (?, ?, ?)")
            .bind(did.as_str())
            .bind(&child.digest)
            .bind(rkey)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn delete_manifest(
    connection: &mut SqliteConnection,
    did: &Did,
    rkey: &RecordKey,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM manifest WHERE did = ? AND rkey = ?")
        .bind(did.as_str())
        .bind(rkey.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

async fn put_tag(
    connection: &mut SqliteConnection,
    did: &Did,
    tag: &Located<TagRecord>,
) -> Result<(), sqlx::Error> {
    let record = &tag.record;
    // RFC 3339 in UTC with milliseconds sorts as text.
    let moved_at = record
        .moved_at()
        .map(|at| atcr_atproto::syntax::Datetime::new(at.to_utc()).to_string());
    sqlx::query(
        "INSERT INTO tag (did, rkey, repository, tag, digest, moved_at) VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT (did, rkey) DO UPDATE SET repository = excluded.repository, tag = excluded.tag, \
             digest = excluded.digest, moved_at = excluded.moved_at",
    )
    .bind(did.as_str())
    .bind(tag.rkey.as_str())
    .bind(&record.repository)
    .bind(&record.tag)
    .bind(record.digest())
    .bind(moved_at)
    .execute(connection)
    .await?;
    Ok(())
}

fn json(annotations: &std::collections::BTreeMap<String, String>) -> String {
    // A map of strings always serialises.
    serde_json::to_string(annotations).unwrap_or_else(|_| "{}".to_owned())
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
