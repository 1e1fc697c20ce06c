//! Inputs and outputs of the upload methods, `io.atcr.hold.{initiate,complete,abort}Upload` and `getPartUploadUrl`.
//!
//! `size`, `store` and `part` are additions of this project. A hold that does not know them leaves them out, and
//! [`InitiateUploadOutput::store_traits`] then assumes S3.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lenient;

/// The header of `completeUpload` in which an AppView vouches for the bytes: a token of its own that names the upload,
/// the digest and the size.
pub const CONTENT_PROOF_HEADER: &str = "x-atcr-content-proof";

/// Smallest part that S3 takes, but for the last: 5 MiB.
pub const S3_MIN_PART_SIZE: u64 = 5 * 1024 * 1024;

/// Input of `io.atcr.hold.initiateUpload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitiateUploadInput {
    /// A digest, or while that is not known yet a temporary name: `uploads/temp-<uuid>`. At most 128 bytes.
    pub digest: String,
    /// Length in bytes, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// Output of `io.atcr.hold.initiateUpload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitiateUploadOutput {
    /// Names the upload from here on. At most 256 bytes, opaque.
    pub upload_id: String,
    /// What the store can do; absent from holds that do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreTraits>,
    /// Where part 1 goes, which saves the first `getPartUploadUrl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<FirstPart>,
}

impl InitiateUploadOutput {
    /// What the store can do: as said, else what every S3 can.
    #[must_use]
    pub fn store_traits(&self) -> StoreTraits {
        self.store.unwrap_or_default()
    }
}

/// What a hold's store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreTraits {
    /// Every part but the last has at least this many bytes.
    pub min_part_size: u64,
    /// Every part has at most this many bytes; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_part_size: Option<u64>,
    /// The store hashes what it stores, so that no proof of content is needed.
    #[serde(default)]
    pub hashes: bool,
    /// A part may be of unknown length and any size; parts come in order, and sending the last number again replaces it.
    #[serde(default)]
    pub streaming: bool,
}

impl Default for StoreTraits {
    fn default() -> Self {
        Self {
            min_part_size: S3_MIN_PART_SIZE,
            max_part_size: None,
            hashes: false,
            streaming: false,
        }
    }
}

/// The URL of part 1.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FirstPart {
    /// 1.
    pub part_number: u32,
    /// Where to send it.
    #[serde(flatten)]
    pub target: GetPartUploadUrlOutput,
}

impl std::fmt::Debug for FirstPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirstPart")
            .field("part_number", &self.part_number)
            .finish_non_exhaustive()
    }
}

/// Input of `io.atcr.hold.getPartUploadUrl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetPartUploadUrlInput {
    /// The upload.
    pub upload_id: String,
    /// 1–10,000.
    pub part_number: u32,
}

/// Output of `io.atcr.hold.getPartUploadUrl`. The URL is a credential: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetPartUploadUrlOutput {
    /// Where the part goes; valid for a quarter of an hour.
    pub url: String,
    /// The HTTP method; `PUT` unless said.
    #[serde(default = "put")]
    pub method: String,
    /// Headers to send along.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "lenient::annotations"
    )]
    pub headers: BTreeMap<String, String>,
}

impl std::fmt::Debug for GetPartUploadUrlOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GetPartUploadUrlOutput")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

fn put() -> String {
    "PUT".to_owned()
}

/// Input of `io.atcr.hold.completeUpload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompleteUploadInput {
    /// The upload.
    pub upload_id: String,
    /// The digest of all its bytes.
    pub digest: String,
    /// The parts, in order.
    pub parts: Vec<UploadedPart>,
}

/// One part of a [`CompleteUploadInput`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadedPart {
    /// 1–10,000.
    pub part_number: u32,
    /// The `ETag` that the store answered, with or without quotes.
    pub etag: String,
}

/// Output of `io.atcr.hold.completeUpload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompleteUploadOutput {
    /// `completed`.
    pub status: String,
    /// The digest under which the blob can be had.
    pub digest: String,
}

impl CompleteUploadOutput {
    /// The one answer there is.
    #[must_use]
    pub fn completed(digest: impl Into<String>) -> Self {
        Self {
            status: "completed".to_owned(),
            digest: digest.into(),
        }
    }
}

/// Input of `io.atcr.hold.abortUpload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AbortUploadInput {
    /// The upload.
    pub upload_id: String,
}

/// Output of `io.atcr.hold.abortUpload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AbortUploadOutput {
    /// `aborted`.
    pub status: String,
}

impl AbortUploadOutput {
    /// The one answer there is.
    #[must_use]
    pub fn aborted() -> Self {
        Self {
            status: "aborted".to_owned(),
        }
    }
}

/// Output of `com.atproto.sync.getBlob` on a hold when `method` was given: where the blob can be had. A credential.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobUrlOutput {
    /// The URL, signed for that method.
    pub url: String,
}

impl std::fmt::Debug for BlobUrlOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobUrlOutput").finish_non_exhaustive()
    }
}

/// Error names of the upload methods.
pub mod error {
    /// The digest is missing, malformed, or not that of the bytes.
    pub const INVALID_DIGEST: &str = "InvalidDigest";
    /// No such upload, or somebody else's.
    pub const INVALID_UPLOAD_ID: &str = "InvalidUploadId";
    /// The part number is not 1–10,000.
    pub const INVALID_PART_NUMBER: &str = "InvalidPartNumber";
    /// The parts named are not the parts sent.
    pub const MISSING_PARTS: &str = "MissingParts";
    /// The store failed to take a part.
    pub const UPLOAD_FAILED: &str = "UploadFailed";
    /// The store failed to finish.
    pub const COMPLETION_FAILED: &str = "CompletionFailed";
    /// The store failed to discard.
    pub const ABORT_FAILED: &str = "AbortFailed";
    /// The user's quota is used up.
    pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";
    /// No such blob (`com.atproto.sync.getBlob`).
    pub const BLOB_NOT_FOUND: &str = "BlobNotFound";
}
