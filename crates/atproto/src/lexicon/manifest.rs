//! `io.atcr.manifest`: a manifest of a user's repository, and the keys under which it is found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BlobRef, Record, lenient, nsid, record_key};
use crate::syntax::{AtUri, Datetime, Did, RecordKey, SyntaxError};

/// A manifest. The bytes are in [`manifest_blob`](Self::manifest_blob); the other fields restate them for readers that
/// do not want to fetch it.
///
/// # Spec
/// `io.atcr.manifest`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestRecord {
    /// The image name without the identity, at most 255 bytes.
    pub repository: String,
    /// `sha256:<hex>` or `sha512:<hex>` of the exact manifest bytes.
    pub digest: String,
    /// The manifest's media type; any is legal.
    pub media_type: String,
    /// 2.
    #[serde(default = "schema_version")]
    pub schema_version: i64,
    /// When the record was written.
    pub created_at: Datetime,
    /// The hold that has this manifest's blobs.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::invalid_as_none"
    )]
    pub hold_did: Option<Did>,
    /// The hold's URL, in records older than [`hold_did`](Self::hold_did). Not written any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_endpoint: Option<String>,
    /// An image's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<BlobReference>,
    /// An image's layers, lowest first.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "lenient::null_as_default"
    )]
    pub layers: Vec<BlobReference>,
    /// An index's children.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "lenient::null_as_default"
    )]
    pub manifests: Vec<ManifestReference>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<BlobReference>,
    /// What kind of artifact it is. An addition of this registry; other writers leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifest's annotations.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "lenient::annotations"
    )]
    pub annotations: BTreeMap<String, String>,
    /// The manifest's bytes, in the same PDS: the source of truth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_blob: Option<BlobRef>,
}

fn schema_version() -> i64 {
    2
}

/// A blob that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobReference {
    /// Its media type.
    pub media_type: String,
    /// Length in bytes.
    pub size: u64,
    /// `sha256:<hex>` or `sha512:<hex>`.
    pub digest: String,
    /// Other places where it can be had.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "lenient::null_as_default"
    )]
    pub urls: Vec<String>,
    /// The descriptor's annotations.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "lenient::annotations"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl BlobReference {
    /// A reference without URLs and annotations.
    #[must_use]
    pub fn new(media_type: impl Into<String>, digest: impl Into<String>, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            size,
            digest: digest.into(),
            urls: Vec::new(),
            annotations: BTreeMap::new(),
        }
    }
}

/// A manifest that an index names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestReference {
    /// Its media type.
    pub media_type: String,
    /// Length in bytes.
    pub size: u64,
    /// `sha256:<hex>` or `sha512:<hex>`.
    pub digest: String,
    /// What it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<RecordPlatform>,
    /// The descriptor's annotations.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "lenient::annotations"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl ManifestReference {
    /// A reference without platform and annotations.
    #[must_use]
    pub fn new(media_type: impl Into<String>, digest: impl Into<String>, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            size,
            digest: digest.into(),
            platform: None,
            annotations: BTreeMap::new(),
        }
    }
}

/// A platform with the record's camel-case names: OCI's `os.version` is `osVersion` here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordPlatform {
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `linux`, `windows`, …
    pub os: String,
    /// OCI `os.version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// OCI `os.features`.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "lenient::null_as_default"
    )]
    pub os_features: Vec<String>,
    /// `v7`, `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Record for ManifestRecord {
    const NSID: &'static str = nsid::MANIFEST;
}

impl ManifestRecord {
    /// A record with the required fields; the others are set on the result.
    #[must_use]
    pub fn new(
        repository: impl Into<String>,
        digest: impl Into<String>,
        media_type: impl Into<String>,
        created_at: Datetime,
    ) -> Self {
        Self {
            repository: repository.into(),
            digest: digest.into(),
            media_type: media_type.into(),
            schema_version: schema_version(),
            created_at,
            hold_did: None,
            hold_endpoint: None,
            config: None,
            layers: Vec::new(),
            manifests: Vec::new(),
            subject: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
            manifest_blob: None,
        }
    }

    /// The hold that has the blobs: `holdDid`, or in older records the did:web of `holdEndpoint`. `None` if the record
    /// says neither in a usable form.
    #[must_use]
    pub fn hold(&self) -> Option<Did> {
        self.hold_did
            .clone()
            .or_else(|| lenient::did_from_did_or_url(self.hold_endpoint.as_deref()?))
    }

    /// True for an index: one that names children, whatever its media type says.
    #[must_use]
    pub fn is_index(&self) -> bool {
        !self.manifests.is_empty()
    }
}

/// Characters of the repository's hash in a key of [`rkey_in_repository`].
const REPOSITORY_HASH_LEN: usize = 16;

/// The key of a manifest's first record: the hex of a SHA-256 digest, the whole `sha512:<hex>` of a SHA-512 digest.
///
/// # Errors
/// [`SyntaxError`] if `digest` is not one of these in lower case.
pub fn rkey(digest: &str) -> Result<RecordKey, SyntaxError> {
    checked_rkey_text(digest)?.parse()
}

/// The key of the record that a further `repository` of the same account has for a manifest that already has a record:
/// `<key>.<16 characters of the repository's hash>`.
///
/// # Errors
/// As [`rkey`].
pub fn rkey_in_repository(digest: &str, repository: &str) -> Result<RecordKey, SyntaxError> {
    let hash = record_key::hash_prefix(repository, REPOSITORY_HASH_LEN);
    format!("{}.{hash}", checked_rkey_text(digest)?).parse()
}

/// The digest that a key of [`rkey`] or [`rkey_in_repository`] stands for; `None` for a key of another form.
#[must_use]
pub fn digest_from_rkey(rkey: &str) -> Option<String> {
    let text = rkey.split_once('.').map_or(rkey, |(text, _)| text);
    let digest = if text.contains(':') {
        text.to_owned()
    } else {
        format!("sha256:{text}")
    };
    checked_rkey_text(&digest).is_ok().then_some(digest)
}

/// The address of a manifest's first record, as tags and layer records name it.
///
/// # Errors
/// As [`rkey`].
pub fn at_uri(owner: &Did, digest: &str) -> Result<AtUri, SyntaxError> {
    AtUri::record(owner, nsid::MANIFEST, &rkey(digest)?)
}

fn checked_rkey_text(digest: &str) -> Result<&str, SyntaxError> {
    let is_hex = |text: &str, len: usize| {
        text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    match digest.split_once(':') {
        Some(("sha256", hex)) if is_hex(hex, 64) => Ok(hex),
        Some(("sha512", hex)) if is_hex(hex, 128) => Ok(digest),
        _ => Err(SyntaxError::new(
            "digest",
            "not sha256:<64 hex> or sha512:<128 hex>",
        )),
    }
}
