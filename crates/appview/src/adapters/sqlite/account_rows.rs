//! The rows of one record in the account index: written, replaced, removed.

use std::collections::BTreeMap;

use atcr_atproto::lexicon::manifest::ManifestRecord;
use atcr_atproto::lexicon::tag::TagRecord;
use atcr_atproto::syntax::{Datetime, RecordKey};
use atcr_oci::{ContentKind, Digest, MAX_DESCRIPTORS, Tag};
use atcr_registry::account::ports::{AccountChange, Located};
use sqlx::SqliteConnection;

/// Longest name of a repository, in bytes: that of a whole image name.
const MAX_REPOSITORY_LEN: usize = 255;

/// Longest annotations of a manifest that are kept, in bytes of JSON. Longer ones are read from the manifest when they are asked for.
pub(super) const KEPT_ANNOTATION_BYTES: usize = 8 * 1024;

/// Makes `change` to the rows of `listing`.
pub(super) async fn write_change(
    connection: &mut SqliteConnection,
    listing: i64,
    change: &AccountChange,
) -> Result<(), sqlx::Error> {
    for rkey in &change.deleted_manifests {
        delete_manifest(connection, listing, rkey).await?;
    }
    for rkey in &change.deleted_tags {
        sqlx::query("DELETE FROM tag WHERE listing = ? AND rkey = ?")
            .bind(listing)
            .bind(rkey.as_str())
            .execute(&mut *connection)
            .await?;
    }
    for manifest in &change.manifests {
        put_manifest(connection, listing, manifest).await?;
    }
    for tag in &change.tags {
        put_tag(connection, listing, tag).await?;
    }
    Ok(())
}

/// Writes a manifest's rows in place of those it had, and returns how many. What nothing can ask for is left out: a record whose
/// digest is none or whose repository has no name, a descriptor whose digest is none, and descriptors beyond those that a
/// manifest may have.
pub(super) async fn put_manifest(
    connection: &mut SqliteConnection,
    listing: i64,
    manifest: &Located<ManifestRecord>,
) -> Result<usize, sqlx::Error> {
    delete_manifest(connection, listing, &manifest.rkey).await?;
    let (rkey, record) = (manifest.rkey.as_str(), &manifest.record);
    if !is_digest(&record.digest) || !is_repository(&record.repository) {
        return Ok(0);
    }
    let blob = record.manifest_blob.as_ref();
    let annotations = Some(json(&record.annotations)).filter(|json| json.len() <= KEPT_ANNOTATION_BYTES);
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO manifest (listing, rkey, repository, digest, media_type, size_bytes, blob_cid, subject, hold_did, \
                               artifact_type, annotations, annotations_kept) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(listing)
    .bind(rkey)
    .bind(&record.repository)
    .bind(&record.digest)
    .bind(&record.media_type)
    .bind(blob.and_then(|blob| i64::try_from(blob.size).ok()))
    .bind(blob.map(|blob| blob.cid.to_string()))
    .bind(record.subject.as_ref().map(|subject| &subject.digest))
    .bind(record.hold().map(String::from))
    .bind(&record.artifact_type)
    .bind(annotations.as_deref().unwrap_or("{}"))
    .bind(annotations.is_some())
    .fetch_one(&mut *connection)
    .await?;
    let mut rows = 1;
    // A child that is no manifest, or perhaps none, is a blob of the hold; one that is no blob, or perhaps none, is a manifest.
    let children = |not: ContentKind| {
        let children = record.manifests.iter();
        let children = children.filter(move |child| ContentKind::of(&child.media_type) != not);
        children.map(|child| &child.digest)
    };
    let blobs = record
        .config
        .iter()
        .chain(&record.layers)
        .map(|blob| &blob.digest)
        .chain(children(ContentKind::Manifest));
    for digest in blobs.filter(|digest| is_digest(digest)).take(MAX_DESCRIPTORS) {
        sqlx::query("INSERT OR IGNORE INTO manifest_blob (listing, digest, manifest) VALUES (?, ?, ?)")
            .bind(listing)
            .bind(digest)
            .bind(id)
            .execute(&mut *connection)
            .await?;
        rows += 1;
    }
    let children = children(ContentKind::Blob);
    for digest in children.filter(|digest| is_digest(digest)).take(MAX_DESCRIPTORS) {
        sqlx::query("INSERT OR IGNORE INTO manifest_child (listing, digest, manifest) VALUES (?, ?, ?)")
            .bind(listing)
            .bind(digest)
            .bind(id)
            .execute(&mut *connection)
            .await?;
        rows += 1;
    }
    Ok(rows)
}

async fn delete_manifest(
    connection: &mut SqliteConnection,
    listing: i64,
    rkey: &RecordKey,
) -> Result<(), sqlx::Error> {
    // Blobs and children go with it.
    sqlx::query("DELETE FROM manifest WHERE listing = ? AND rkey = ?")
        .bind(listing)
        .bind(rkey.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes a tag's row in place of the one it had, and returns how many that are: none for what is no tag.
pub(super) async fn put_tag(
    connection: &mut SqliteConnection,
    listing: i64,
    tag: &Located<TagRecord>,
) -> Result<usize, sqlx::Error> {
    let record = &tag.record;
    if record.tag.parse::<Tag>().is_err() || !is_repository(&record.repository) {
        return Ok(0);
    }
    // RFC 3339 in UTC with milliseconds sorts as text.
    let moved_at = record.moved_at().map(|at| Datetime::new(at.to_utc()).to_string());
    sqlx::query(
        "INSERT INTO tag (listing, rkey, repository, tag, digest, moved_at) VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT (listing, rkey) DO UPDATE SET repository = excluded.repository, tag = excluded.tag, \
             digest = excluded.digest, moved_at = excluded.moved_at",
    )
    .bind(listing)
    .bind(tag.rkey.as_str())
    .bind(&record.repository)
    .bind(&record.tag)
    .bind(record.digest())
    .bind(moved_at)
    .execute(connection)
    .await?;
    Ok(1)
}

fn is_digest(text: &str) -> bool {
    text.parse::<Digest>().is_ok()
}

fn is_repository(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_REPOSITORY_LEN
}

/// A map of strings as a JSON object.
pub(super) fn json(annotations: &BTreeMap<String, String>) -> String {
    // A map of strings always serialises.
    serde_json::to_string(annotations).unwrap_or_else(|_| "{}".to_owned())
}
