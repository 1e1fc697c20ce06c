//! `io.atcr.manifest`: a manifest of a user's repository, and the keys under which it is found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BlobRef, Record, lenient, nsid, record_key};
use crate::syntax::{AtUri, Datetime, Did, RecordKey, SyntaxError, Uri};

/// Longest media type in bytes that a record holds.
pub const MAX_MEDIA_TYPE_LEN: usize = 128;

/// The media type that a record gives for one that it cannot hold: bytes of some kind.
pub const UNTYPED: &str = "application/octet-stream";

/// Longest artifact type in bytes.
const MAX_ARTIFACT_TYPE_LEN: usize = 255;

/// Longest architecture, operating system and variant of a platform in bytes.
const MAX_PLATFORM_LEN: usize = 32;

/// Longest version or feature of an operating system in bytes.
const MAX_OS_DETAIL_LEN: usize = 64;

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
    /// The hold's URL, which is all that records older than [`hold_did`](Self::hold_did) have. Written where it is known, for readers of
    /// that age.
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

impl RecordPlatform {
    /// This platform without what is too long for it; `None` when that is what makes it one.
    fn conforming(mut self) -> Option<Self> {
        if self.architecture.len() > MAX_PLATFORM_LEN || self.os.len() > MAX_PLATFORM_LEN {
            return None;
        }
        self.variant = self.variant.filter(|variant| variant.len() <= MAX_PLATFORM_LEN);
        self.os_version = self
            .os_version
            .filter(|version| version.len() <= MAX_OS_DETAIL_LEN);
        self.os_features
            .retain(|feature| feature.len() <= MAX_OS_DETAIL_LEN);
        Some(self)
    }
}

/// `media_type` in at most [`MAX_MEDIA_TYPE_LEN`] bytes: as it is, else without its parameters, else [`UNTYPED`].
#[must_use]
pub fn short_media_type(media_type: &str) -> &str {
    let essence = || media_type.split(';').next().unwrap_or_default().trim_end();
    if media_type.len() <= MAX_MEDIA_TYPE_LEN {
        media_type
    } else if essence().len() <= MAX_MEDIA_TYPE_LEN {
        essence()
    } else {
        UNTYPED
    }
}

fn shorten_media_type(media_type: &mut String) {
    if media_type.len() > MAX_MEDIA_TYPE_LEN {
        *media_type = short_media_type(media_type).to_owned();
    }
}

/// Whether every validator takes `text` for a URI: the reference implementation's knows schemes of letters and digits only, and no
/// empty authority.
fn is_uri(text: &str) -> bool {
    let is_plain = |(scheme, rest): (&str, &str)| {
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        scheme.bytes().all(|b| b.is_ascii_alphanumeric()) && !rest.is_empty() && !rest.starts_with('/')
    };
    text.parse::<Uri>().is_ok() && text.split_once(':').is_some_and(is_plain)
}

/// Whether all could stay.
fn keep_plain_keys(annotations: &mut BTreeMap<String, String>) -> bool {
    let before = annotations.len();
    annotations.retain(|key, _| !key.starts_with('$'));
    annotations.len() == before
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

    /// This record without what its lexicon does not take; all of it is in the manifest's bytes.
    ///
    /// Optional fields go when they are too long or of another form: artifact type, platform and its parts, URLs. Media types,
    /// which are required, are given by [`short_media_type`]. Annotations whose keys begin with `$` go, since the data model gives
    /// such keys a meaning; where the manifest's own are no longer complete, the artifact type goes with them, so that a reader
    /// knows to look into the bytes.
    #[must_use]
    pub fn conforming(mut self) -> Self {
        shorten_media_type(&mut self.media_type);
        let is_complete = keep_plain_keys(&mut self.annotations);
        self.artifact_type = self
            .artifact_type
            .filter(|kind| is_complete && kind.len() <= MAX_ARTIFACT_TYPE_LEN);
        let blobs = self
            .config
            .iter_mut()
            .chain(&mut self.layers)
            .chain(&mut self.subject);
        for blob in blobs {
            shorten_media_type(&mut blob.media_type);
            blob.urls.retain(|url| is_uri(url));
            keep_plain_keys(&mut blob.annotations);
        }
        for child in &mut self.manifests {
            shorten_media_type(&mut child.media_type);
            child.platform = child.platform.take().and_then(RecordPlatform::conforming);
            keep_plain_keys(&mut child.annotations);
        }
        self
    }

    /// The hold that has the blobs: `holdDid`, or in older records the did:web of `holdEndpoint`. `None` if the record
    /// says neither in a usable form.
    #[must_use]
    pub fn hold(&self) -> Option<Did> {
        self.hold_did
            .as_ref()
            .map(Did::normalised)
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
