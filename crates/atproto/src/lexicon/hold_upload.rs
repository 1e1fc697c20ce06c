//! Inputs and outputs of the upload methods, `io.atcr.hold.{initiate,complete,abort}Upload` and `getPartUploadUrl`.
//!
//! `size`, `store` and `part` are additions of this project. A hold that does not know them leaves them out, and
//! [`InitiateUploadOutput::store_traits`] then assumes S3.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::lenient;
use crate::bounds::{
    MAX_HEADER_BYTES, MAX_PART_NUMBER, MAX_PART_SIZE_LIMIT, MAX_TARGET_HEADERS, MAX_UPLOAD_ID_BYTES,
    MAX_URL_BYTES, MIN_PART_SIZE_LIMIT,
};

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
    /// Names the upload from here on. Opaque; at most [`MAX_UPLOAD_ID_BYTES`], although the lexicon has 256.
    #[serde(deserialize_with = "short_text::<MAX_UPLOAD_ID_BYTES, _>")]
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

/// What a hold's store can do. Read from JSON it is within [`StoreTraits::bounded`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "WireTraits")]
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

/// [`StoreTraits`] as they are on the wire.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireTraits {
    min_part_size: u64,
    max_part_size: Option<u64>,
    #[serde(default)]
    hashes: bool,
    #[serde(default)]
    streaming: bool,
}

impl TryFrom<WireTraits> for StoreTraits {
    type Error = UnusableStore;

    fn try_from(wire: WireTraits) -> Result<Self, UnusableStore> {
        Self {
            min_part_size: wire.min_part_size,
            max_part_size: wire.max_part_size,
            hashes: wire.hashes,
            streaming: wire.streaming,
        }
        .bounded()
    }
}

/// A store whose parts are of sizes in which nothing can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableStore {
    /// Parts up to the smallest are collected before they are sent.
    #[error("the store's smallest part is larger than {MIN_PART_SIZE_LIMIT} bytes")]
    SmallestTooLarge,
    /// A blob of some size would have more parts than there are numbers.
    #[error("the store's largest part is smaller than its smallest, or than {S3_MIN_PART_SIZE} bytes")]
    LargestTooSmall,
}

impl StoreTraits {
    /// The traits within our bounds: a largest part beyond [`MAX_PART_SIZE_LIMIT`] is clamped.
    ///
    /// # Errors
    /// [`UnusableStore`] for a smallest part beyond [`MIN_PART_SIZE_LIMIT`], and a largest below [`S3_MIN_PART_SIZE`] or below the
    /// smallest.
    pub fn bounded(self) -> Result<Self, UnusableStore> {
        if self.min_part_size > MIN_PART_SIZE_LIMIT {
            return Err(UnusableStore::SmallestTooLarge);
        }
        let least = self.min_part_size.max(S3_MIN_PART_SIZE);
        if self.max_part_size.is_some_and(|largest| largest < least) {
            return Err(UnusableStore::LargestTooSmall);
        }
        Ok(Self {
            max_part_size: self.max_part_size.map(|largest| largest.min(MAX_PART_SIZE_LIMIT)),
            ..self
        })
    }
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
    /// Where the part goes; valid for a quarter of an hour. At most [`MAX_URL_BYTES`].
    #[serde(deserialize_with = "short_text::<MAX_URL_BYTES, _>")]
    pub url: String,
    /// The HTTP method; `PUT` unless said. At most 16 bytes.
    #[serde(default = "put", deserialize_with = "short_text::<16, _>")]
    pub method: String,
    /// Headers to send along, at most [`MAX_TARGET_HEADERS`]. Check them with [`crate::store_target::PartTarget`].
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "few_headers"
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

/// A string of at most `MAX` bytes.
fn short_text<'de, const MAX: usize, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() > MAX {
        return Err(D::Error::custom(format_args!("longer than {MAX} bytes")));
    }
    Ok(text)
}

fn few_headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let headers = lenient::annotations(deserializer)?;
    let is_short =
        |(name, value): (&String, &String)| name.len() <= MAX_HEADER_BYTES && value.len() <= MAX_HEADER_BYTES;
    if headers.len() > MAX_TARGET_HEADERS || !headers.iter().all(is_short) {
        return Err(D::Error::custom("too many headers, or too long ones"));
    }
    Ok(headers)
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
    /// The parts, in order; at most [`MAX_PART_NUMBER`].
    #[serde(deserialize_with = "numbered_parts")]
    pub parts: Vec<UploadedPart>,
}

fn numbered_parts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<UploadedPart>, D::Error> {
    let parts = Vec::<UploadedPart>::deserialize(deserializer)?;
    if parts.len() > MAX_PART_NUMBER as usize {
        return Err(D::Error::custom("more parts than there are numbers"));
    }
    Ok(parts)
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
    /// The URL, signed for that method. At most [`MAX_URL_BYTES`].
    #[serde(deserialize_with = "short_text::<MAX_URL_BYTES, _>")]
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
    /// No such upload, or another caller's.
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn initiated(store: Value) -> Result<InitiateUploadOutput, serde_json::Error> {
        serde_json::from_value(json!({ "uploadId": "up-1", "store": store }))
    }

    #[test]
    fn a_store_s_part_sizes_are_within_our_bounds() {
        const MIB: u64 = 1024 * 1024;
        for (min, max, read) in [
            (0, None, None),
            (5 * MIB, Some(5 * 1024 * MIB), Some(5 * 1024 * MIB)),
            (64 * MIB, Some(64 * MIB), Some(64 * MIB)),
            (0, Some(u64::MAX), Some(5 * 1024 * MIB)),
        ] {
            let traits = initiated(json!({ "minPartSize": min, "maxPartSize": max })).unwrap();
            let traits = traits.store_traits();
            assert_eq!((traits.min_part_size, traits.max_part_size), (min, read));
        }
        for store in [
            json!({ "minPartSize": 64 * MIB + 1 }),
            json!({ "minPartSize": 1_u64 << 60 }),
            json!({ "minPartSize": u64::MAX, "maxPartSize": u64::MAX }),
            json!({ "minPartSize": -1 }),
            json!({ "minPartSize": 1e30 }),
            json!({ "minPartSize": 0, "maxPartSize": 0 }),
            json!({ "minPartSize": 0, "maxPartSize": 1 }),
            json!({ "minPartSize": 16 * MIB, "maxPartSize": 8 * MIB }),
        ] {
            assert!(initiated(store.clone()).is_err(), "{store}");
        }
    }

    #[test]
    fn an_upload_has_no_more_parts_than_there_are_numbers() {
        let complete = |parts: usize| {
            let part = json!({ "partNumber": 1, "etag": "x" });
            let input = json!({ "uploadId": "up-1", "digest": "sha256:", "parts": vec![part; parts] });
            serde_json::from_value::<CompleteUploadInput>(input)
        };
        assert!(complete(10_000).is_ok());
        assert!(complete(10_001).is_err());
    }

    #[test]
    fn what_a_hold_names_is_no_longer_than_we_take() {
        let part = |url: String, headers: Value| {
            serde_json::from_value::<GetPartUploadUrlOutput>(json!({ "url": url, "headers": headers }))
        };
        let url = |len: usize| format!("https://s3.example.com/{}", "x".repeat(len - 23));
        assert!(part(url(MAX_URL_BYTES), json!({})).is_ok());
        assert!(part(url(MAX_URL_BYTES + 1), json!({})).is_err());
        let many = |n: usize| {
            (0..n)
                .map(|n| (format!("x-amz-{n}"), json!("x")))
                .collect::<Value>()
        };
        assert!(part(url(100), many(MAX_TARGET_HEADERS)).is_ok());
        assert!(part(url(100), many(MAX_TARGET_HEADERS + 1)).is_err());
        assert!(part(url(100), json!({ "x-amz-a": "x".repeat(MAX_HEADER_BYTES + 1) })).is_err());
        let id = |len: usize| {
            serde_json::from_value::<InitiateUploadOutput>(json!({ "uploadId": "x".repeat(len) }))
        };
        assert!(id(MAX_UPLOAD_ID_BYTES).is_ok());
        assert!(id(MAX_UPLOAD_ID_BYTES + 1).is_err());
        let blob = |len: usize| serde_json::from_value::<BlobUrlOutput>(json!({ "url": url(len) }));
        assert!(blob(MAX_URL_BYTES).is_ok());
        assert!(blob(MAX_URL_BYTES + 1).is_err());
    }
}
