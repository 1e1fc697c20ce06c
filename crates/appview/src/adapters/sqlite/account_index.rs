//! `AccountIndex` in SQLite.
//!
//! It is in the scratch file: after a power failure an account may be as it was some commits ago. Its rows and the revision they are
//! of are undone together, and the account's own revision never comes again, so the next look lists the account anew. A record
//! that a pull noted is noted by the next pull. Listings that were under way are swept.
//!
//! What is read is the account's published listing; `listings` has how one is made and replaced.

use std::collections::BTreeSet;

use async_trait::async_trait;
use atcr_atproto::lexicon::manifest::ManifestRecord;
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_oci::Digest;
use atcr_registry::account::ports::{
    AccountChange, AccountIndex, IndexedManifest, IndexedTag, ListedAs, ListingId, Located, ManifestDetails,
    RecordsPage, Referrer,
};
use atcr_registry::error::RegistryError;

use super::account_rows::{KEPT_ANNOTATION_BYTES, json, put_manifest, write_change};
use super::indexed_rows::{ManifestRow, ReferrerRow, TagRow, corrupt};
use super::listings::published;
use super::{Database, SqliteError, failed};

/// The account's published listing, in a query whose first parameter is the DID.
macro_rules! listing {
    () => {
        "(SELECT id FROM listing WHERE did = ?1 AND state = 'published')"
    };
}

/// Holds that are named for one blob: each is asked in turn.
const HOLDS: usize = 8;

/// Indexes that are named for one child.
const PARENTS: usize = 1_000;

/// Manifests whose bytes were read for what their records do not say, at most: 128 MiB with the longest annotations.
const KEPT_DETAILS: u32 = 16_384;

/// Digests looked up by one statement.
const DIGESTS_AT_ONCE: usize = 100;

/// What a descriptor takes of a record, in bytes: a digest and its frame.
const DESCRIPTOR_BYTES: usize = 100;

/// The index of accounts.
#[derive(Clone, Debug)]
pub struct SqliteAccountIndex {
    pub(super) database: Database,
    kept_details: u32,
}

impl SqliteAccountIndex {
    /// Keeps the index in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            database,
            kept_details: KEPT_DETAILS,
        }
    }

    /// The same that keeps what the bytes of `most` manifests say.
    #[must_use]
    pub fn keeping_details(self, most: u32) -> Self {
        Self {
            kept_details: most,
            ..self
        }
    }

    async fn strings(
        &self,
        query: sqlx::query::QueryScalar<'_, sqlx::Sqlite, String, sqlx::sqlite::SqliteArguments>,
    ) -> Result<Vec<String>, SqliteError> {
        Ok(query.fetch_all(self.database.readers()).await?)
    }
}

#[async_trait]
impl AccountIndex for SqliteAccountIndex {
    async fn listed_as(&self, did: &Did) -> Result<Option<ListedAs>, RegistryError> {
        let row: Option<(String, bool)> = sqlx::query_as(
            "SELECT synced_rev, is_whole FROM listing \
             WHERE did = ? AND state = 'published' AND synced_rev IS NOT NULL",
        )
        .bind(did.as_str())
        .fetch_optional(self.database.readers())
        .await
        .map_err(failed)?;
        Ok(row.map(|(rev, is_whole)| ListedAs { rev, is_whole }))
    }

    async fn begin_listing(&self, did: &Did) -> Result<ListingId, RegistryError> {
        Ok(self.insert_listing(did).await?)
    }

    async fn stage(&self, listing: ListingId, page: &RecordsPage) -> Result<bool, RegistryError> {
        Ok(self.stage_page(listing, page).await?)
    }

    async fn stage_change(&self, listing: ListingId, change: &AccountChange) -> Result<bool, RegistryError> {
        Ok(self.stage_own(listing, change).await?)
    }

    async fn publish(
        &self,
        listing: ListingId,
        listed_as: &ListedAs,
        size_bytes: u64,
    ) -> Result<bool, RegistryError> {
        Ok(self.publish_listing(listing, listed_as, size_bytes).await?)
    }

    async fn staged(&self) -> Result<Vec<ListingId>, RegistryError> {
        Ok(self.staged_listings().await?)
    }

    async fn sweep(&self, left: &[ListingId]) -> Result<(), RegistryError> {
        Ok(self.sweep_listings(left).await?)
    }

    async fn apply(
        &self,
        did: &Did,
        change: &AccountChange,
        from: &str,
        to: &str,
    ) -> Result<(), RegistryError> {
        let mut transaction = self.database.writer().begin().await.map_err(failed)?;
        let listing = published(&mut transaction, did, 0).await.map_err(failed)?;
        write_change(&mut transaction, listing, change)
            .await
            .map_err(failed)?;
        sqlx::query("UPDATE listing SET synced_rev = ? WHERE id = ? AND synced_rev = ?")
            .bind(to)
            .bind(listing)
            .bind(from)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(())
    }

    async fn note(&self, did: &Did, manifest: &Located<ManifestRecord>) -> Result<(), RegistryError> {
        // Pulls are many and records seldom change: look before writing.
        let known: Option<(String, String, Option<String>)> = sqlx::query_as(concat!(
            "SELECT repository, digest, hold_did FROM manifest WHERE listing = ",
            listing!(),
            " AND rkey = ?2"
        ))
        .bind(did.as_str())
        .bind(manifest.rkey.as_str())
        .fetch_optional(self.database.readers())
        .await
        .map_err(failed)?;
        let record = &manifest.record;
        let hold = record.hold().map(String::from);
        if known == Some((record.repository.clone(), record.digest.clone(), hold)) {
            return Ok(());
        }
        let descriptors = 1 + record.layers.len() + record.manifests.len();
        let size_bytes = descriptors * DESCRIPTOR_BYTES + json(&record.annotations).len();
        let mut transaction = self.database.writer().begin().await.map_err(failed)?;
        let listing = published(&mut transaction, did, size_bytes)
            .await
            .map_err(failed)?;
        put_manifest(&mut transaction, listing, manifest)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
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
        let query = sqlx::query_scalar(concat!(
            "SELECT DISTINCT tag FROM tag WHERE listing = ",
            listing!(),
            " AND repository = ?2 AND tag > ?3 \
             ORDER BY tag LIMIT ?4"
        ));
        let found = self.strings(
            query
                .bind(did.as_str().to_owned())
                .bind(repository.to_owned())
                .bind(after.unwrap_or_default().to_owned())
                .bind(rows(limit)),
        );
        Ok(found.await?)
    }

    async fn find_tag(
        &self,
        did: &Did,
        repository: &str,
        tag: &str,
    ) -> Result<Vec<IndexedTag>, RegistryError> {
        let rows: Vec<TagRow> = sqlx::query_as(concat!(
            "SELECT rkey, tag, digest FROM tag WHERE listing = ",
            listing!(),
            " AND repository = ?2 AND tag = ?3 ORDER BY moved_at DESC, rkey"
        ))
        .bind(did.as_str())
        .bind(repository)
        .bind(tag)
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        rows.into_iter().map(IndexedTag::try_from).collect()
    }

    async fn tags_of(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<Vec<IndexedTag>, RegistryError> {
        let rows: Vec<TagRow> = sqlx::query_as(concat!(
            "SELECT rkey, tag, digest FROM tag WHERE listing = ",
            listing!(),
            " AND digest = ?2 AND repository = ?3 ORDER BY tag, rkey"
        ))
        .bind(did.as_str())
        .bind(digest.as_str())
        .bind(repository)
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        rows.into_iter().map(IndexedTag::try_from).collect()
    }

    async fn copies(&self, did: &Did, digest: &Digest) -> Result<Vec<IndexedManifest>, RegistryError> {
        let rows: Vec<ManifestRow> = sqlx::query_as(concat!(
            "SELECT rkey, repository, digest FROM manifest WHERE listing = ",
            listing!(),
            " AND digest = ?2 ORDER BY repository, rkey"
        ))
        .bind(did.as_str())
        .bind(digest.as_str())
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        rows.into_iter().map(IndexedManifest::try_from).collect()
    }

    async fn parents_of(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<Vec<Digest>, RegistryError> {
        // manifest_child's key: a range of one child.
        let parents: Vec<String> = sqlx::query_scalar(concat!(
            "SELECT DISTINCT manifest.digest FROM manifest_child JOIN manifest ON manifest.id = manifest_child.manifest \
             WHERE manifest_child.listing = ",
            listing!(),
            " AND manifest_child.digest = ?2 AND manifest.repository = ?3 ORDER BY manifest.digest LIMIT ?4"
        ))
        .bind(did.as_str())
        .bind(digest.as_str())
        .bind(repository)
        .bind(rows(PARENTS))
        .fetch_all(self.database.readers())
        .await.map_err(failed)?;
        let parents = parents
            .into_iter()
            .map(|digest| digest.parse().map_err(|_| corrupt("manifest", "digest")));
        parents.collect()
    }

    async fn referrers(
        &self,
        did: &Did,
        repository: &str,
        subject: &Digest,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<Referrer>, RegistryError> {
        let found: Vec<ReferrerRow> = sqlx::query_as(concat!(
            "SELECT manifest.rkey, manifest.digest, manifest.media_type, manifest.size_bytes, manifest.blob_cid, \
                    manifest.artifact_type, manifest.annotations, manifest.annotations_kept, \
                    manifest_detail.size_bytes AS detail_size_bytes, \
                    manifest_detail.artifact_type AS detail_artifact_type, \
                    manifest_detail.annotations AS detail_annotations \
             FROM manifest LEFT JOIN manifest_detail ON manifest_detail.digest = manifest.digest \
             WHERE manifest.listing = ",
            listing!(),
            " AND manifest.repository = ?2 AND manifest.subject = ?3 AND manifest.digest > ?4 \
             GROUP BY manifest.digest ORDER BY manifest.digest LIMIT ?5"
        ))
        .bind(did.as_str())
        .bind(repository)
        .bind(subject.as_str())
        .bind(after.map(Digest::as_str).unwrap_or_default())
        .bind(rows(limit))
        .fetch_all(self.database.readers())
        .await.map_err(failed)?;
        found.into_iter().map(Referrer::try_from).collect()
    }

    async fn keep_details(
        &self,
        digest: &Digest,
        size: u64,
        details: &ManifestDetails,
    ) -> Result<(), RegistryError> {
        let annotations = details.annotations.as_ref().map(json);
        let mut transaction = self.database.writer().begin().await.map_err(failed)?;
        sqlx::query(
            "INSERT INTO manifest_detail (digest, size_bytes, artifact_type, annotations) VALUES (?, ?, ?, ?) \
             ON CONFLICT (digest) DO NOTHING",
        )
        .bind(digest.as_str())
        .bind(i64::try_from(size).unwrap_or(i64::MAX))
        .bind(details.artifact_type.as_deref())
        .bind(annotations.filter(|annotations| annotations.len() <= KEPT_ANNOTATION_BYTES))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        // The ids are in order of arrival: this is a range at the beginning of the table, mostly an empty one.
        sqlx::query("DELETE FROM manifest_detail WHERE id <= (SELECT max(id) FROM manifest_detail) - ?")
            .bind(self.kept_details)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(())
    }

    async fn has_repository(&self, did: &Did, repository: &str) -> Result<bool, RegistryError> {
        let found = sqlx::query_scalar(concat!(
            "SELECT EXISTS (SELECT 1 FROM manifest WHERE listing = ",
            listing!(),
            " AND repository = ?2) OR EXISTS (SELECT 1 FROM tag WHERE listing = ",
            listing!(),
            " AND repository = ?2)"
        ))
        .bind(did.as_str())
        .bind(repository)
        .fetch_one(self.database.readers())
        .await
        .map_err(failed)?;
        Ok(found)
    }

    async fn repositories(
        &self,
        did: &Did,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, RegistryError> {
        let query = sqlx::query_scalar(concat!(
            "SELECT repository FROM manifest WHERE listing = ",
            listing!(),
            " AND repository > ?2 UNION SELECT repository FROM tag WHERE listing = ",
            listing!(),
            " AND repository > ?2 ORDER BY 1 LIMIT ?3"
        ));
        let found = self.strings(
            query
                .bind(did.as_str().to_owned())
                .bind(after.unwrap_or_default().to_owned())
                .bind(rows(limit)),
        );
        Ok(found.await?)
    }

    async fn holds_of_blob(
        &self,
        did: &Did,
        repository: &str,
        blob: &Digest,
    ) -> Result<Vec<Did>, RegistryError> {
        // Rank 0: a manifest of the repository names the blob; 1: one of another repository does; 2: the rest of this one.
        let query = sqlx::query_scalar(concat!(
            "SELECT hold_did FROM ( \
                 SELECT manifest.hold_did AS hold_did, CASE WHEN manifest.repository = ?2 THEN 0 ELSE 1 END AS rank \
                 FROM manifest_blob JOIN manifest ON manifest.id = manifest_blob.manifest \
                 WHERE manifest_blob.listing = ",
            listing!(),
            " AND manifest_blob.digest = ?3 \
                 UNION ALL SELECT DISTINCT hold_did, 2 FROM manifest WHERE listing = ",
            listing!(),
            " AND repository = ?2 \
             ) WHERE hold_did IS NOT NULL GROUP BY hold_did ORDER BY MIN(rank), hold_did LIMIT ?4"
        ));
        let holds = self
            .strings(
                query
                    .bind(did.as_str().to_owned())
                    .bind(repository.to_owned())
                    .bind(blob.to_string())
                    .bind(rows(HOLDS)),
            )
            .await?;
        Ok(holds.into_iter().filter_map(|hold| hold.parse().ok()).collect())
    }

    async fn blobs_at(
        &self,
        did: &Did,
        hold: &Did,
        blobs: &[Digest],
        besides: &[RecordKey],
    ) -> Result<BTreeSet<Digest>, RegistryError> {
        let mut named = BTreeSet::new();
        for blobs in blobs.chunks(DIGESTS_AT_ONCE) {
            let mut query = sqlx::QueryBuilder::new(
                "SELECT DISTINCT manifest_blob.digest FROM manifest_blob \
                 JOIN manifest ON manifest.id = manifest_blob.manifest \
                 WHERE manifest_blob.listing = (SELECT id FROM listing WHERE state = 'published' AND did = ",
            );
            query.push_bind(did.as_str());
            query.push(") AND manifest.hold_did = ").push_bind(hold.as_str());
            query.push(" AND manifest_blob.digest IN (");
            let mut digests = query.separated(", ");
            for blob in blobs {
                digests.push_bind(blob.as_str());
            }
            query.push(")");
            if !besides.is_empty() {
                query.push(" AND manifest.rkey NOT IN (");
                let mut rkeys = query.separated(", ");
                for rkey in besides {
                    rkeys.push_bind(rkey.as_str());
                }
                query.push(")");
            }
            let found: Vec<String> = query
                .build_query_scalar()
                .fetch_all(self.database.readers())
                .await
                .map_err(failed)?;
            named.extend(found.into_iter().filter_map(|digest| digest.parse().ok()));
        }
        Ok(named)
    }
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
