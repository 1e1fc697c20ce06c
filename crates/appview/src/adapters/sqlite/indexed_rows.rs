//! Rows of the account index as they are read, and what they mean.

use atcr_registry::account::ports::{IndexedManifest, IndexedTag, ManifestDetails, Referrer};
use atcr_registry::error::RegistryError;
use sqlx::FromRow;

#[derive(FromRow)]
pub(super) struct ManifestRow {
    rkey: String,
    repository: String,
    digest: String,
}

#[derive(FromRow)]
pub(super) struct TagRow {
    rkey: String,
    tag: String,
    digest: Option<String>,
}

#[derive(FromRow)]
pub(super) struct ReferrerRow {
    rkey: String,
    digest: String,
    media_type: String,
    size_bytes: Option<i64>,
    blob_cid: Option<String>,
    artifact_type: Option<String>,
    annotations: String,
    annotations_kept: bool,
    detail_size_bytes: Option<i64>,
    detail_artifact_type: Option<String>,
    detail_annotations: Option<String>,
}

/// What cannot be in the database unless something else wrote there.
pub(super) fn corrupt(table: &str, column: &str) -> RegistryError {
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
        let details = match (row.artifact_type, row.detail_size_bytes) {
            (Some(kind), _) => Some(ManifestDetails {
                artifact_type: Some(kind),
                annotations: row
                    .annotations_kept
                    .then(|| annotations(&row.annotations))
                    .transpose()?,
            }),
            (None, Some(_)) => Some(ManifestDetails {
                artifact_type: row.detail_artifact_type,
                annotations: row.detail_annotations.as_deref().map(annotations).transpose()?,
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
