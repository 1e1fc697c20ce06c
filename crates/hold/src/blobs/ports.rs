//! What the blob service asks of an object store and of the table of running uploads.
//!
//! An upload lives in the store under an unfinished key until its bytes are known: `begin`, parts sent by the URL's
//! holder straight to the store, `assemble`, and then either `publish` under the content address or `discard`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_oci::{Algorithm, Digest};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::Stream;
use url::Url;

use super::error::{SessionsError, StoreError};
use super::object_key::ObjectKey;
use super::upload::ContentProof;

/// The largest part number; S3's limit, kept by every store.
pub const MAX_PART_NUMBER: u32 = 10_000;

/// What an uploader has to know about a store to cut its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreTraits {
    /// The least size, in bytes, of every part but the last.
    pub min_part_size: u64,
    /// The largest size of a part, in bytes; `None` without a limit.
    pub max_part_size: Option<u64>,
    /// The store hashes what it stores, so that no proof of content is needed.
    pub hashes: bool,
    /// A part may be of unknown length and any size, and parts must arrive in order: 1, 2, 3, ….
    pub streaming: bool,
}

/// Where and how to send one part. It is a credential, and never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct PartUrl {
    /// The address, signed.
    pub url: Url,
    /// The HTTP method.
    pub method: &'static str,
    /// Headers that the request must carry.
    pub headers: BTreeMap<String, String>,
}

impl fmt::Debug for PartUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartUrl")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// A signed address to read one object at. It is a credential, and never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct PresignedUrl {
    /// The address, signed for one method.
    pub url: Url,
    /// When the store begins to refuse it.
    pub expires_at: DateTime<Utc>,
}

impl fmt::Debug for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresignedUrl")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// What a download URL may be used for; the method is part of the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DownloadMethod {
    /// Reading, whole or in ranges.
    Get,
    /// Asking for size and presence.
    Head,
}

impl DownloadMethod {
    /// The HTTP method's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
        }
    }
}

/// A part as its sender knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartTag {
    /// 1 … 10,000.
    pub part_number: u32,
    /// The store's answer to the part, with or without its quotes.
    pub etag: String,
}

/// An upload inside a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUpload {
    /// Where its bytes are until they are published.
    pub key: ObjectKey,
    /// The store's own name for it; empty when only the object at `key` is left.
    pub id: String,
}

/// The joined bytes of an upload, not visible yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// Length in bytes.
    pub size: u64,
    /// The digest, if the store hashed the bytes as they came.
    pub digest: Option<Digest>,
    /// Names exactly these bytes, where the store can check that it still has them when it publishes.
    pub version: Option<String>,
}

/// An upload that a store still holds.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// Which.
    pub upload: StoreUpload,
    /// When it last changed, as far as the store knows.
    pub since: DateTime<Utc>,
}

/// An object that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectStat {
    /// Length in bytes.
    pub size: u64,
}

/// The bytes of an object, in pieces of at most a few hundred KiB.
pub type ObjectBytes = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// A session that was not used for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleUpload {
    /// Its name.
    pub id: String,
    /// When it was used last, in milliseconds since 1970.
    pub last_used_millis: i64,
}

/// A place that keeps objects and lets clients send and fetch their bytes by signed URL.
#[async_trait]
pub trait ObjectStore: fmt::Debug + Send + Sync {
    /// What uploaders must know.
    fn traits(&self) -> StoreTraits;

    /// Starts an upload at `key`, which must be new. `algorithm` is what the content will probably be named by.
    ///
    /// # Errors
    /// `Unavailable`, `Full`.
    async fn begin(&self, key: &ObjectKey, algorithm: Algorithm) -> Result<StoreUpload, StoreError>;

    /// The URL for part `part_number` (1 … [`MAX_PART_NUMBER`]); valid until `expires_at`. Does not ask the store.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be signed.
    async fn part_url(
        &self,
        upload: &StoreUpload,
        part_number: u32,
        expires_at: DateTime<Utc>,
    ) -> Result<PartUrl, StoreError>;

    /// The length, in bytes, of what [`assemble`](Self::assemble) will join; `None` if the store cannot say it. Changes nothing.
    ///
    /// # Errors
    /// - `PartMismatch`: the parts are not those that were sent
    /// - `Unavailable`
    async fn measure(&self, upload: &StoreUpload, parts: &[PartTag]) -> Result<Option<u64>, StoreError>;

    /// Joins the parts, which must be all that were sent, and makes the bytes durable. From then on no part is taken, except that
    /// a store may take the last one again, which makes what was assembled before unpublishable. May be repeated.
    ///
    /// # Errors
    /// - `UnknownUpload`: discarded, or published before
    /// - `PartMismatch`, `PartTooSmall`: the parts are not those that were sent
    /// - `Unavailable`, `Full`
    async fn assemble(&self, upload: &StoreUpload, parts: &[PartTag]) -> Result<Assembled, StoreError>;

    /// Reads back the bytes in `range` of what was assembled; `range` is not empty and ends within it.
    ///
    /// # Errors
    /// `UnknownUpload`, also when the bytes are no longer those that were assembled; `Unavailable`, also within the stream.
    async fn read_assembled(
        &self,
        upload: &StoreUpload,
        assembled: &Assembled,
        range: Range<u64>,
    ) -> Result<ObjectBytes, StoreError>;

    /// Moves what was assembled to `key`, durably and in one step for readers; an object that is already there is kept.
    ///
    /// # Errors
    /// `UnknownUpload`: discarded or published before, or no longer what was assembled · `Unavailable`, `Full`
    async fn publish(
        &self,
        upload: &StoreUpload,
        assembled: &Assembled,
        key: &ObjectKey,
    ) -> Result<(), StoreError>;

    /// Removes an upload and its bytes; succeeds if it is gone already.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn discard(&self, upload: &StoreUpload) -> Result<(), StoreError>;

    /// Looks for a published object.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError>;

    /// A URL to read the object at `key`, until `expires_at`. Does not ask whether the object is there.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be signed.
    async fn download_url(
        &self,
        key: &ObjectKey,
        method: DownloadMethod,
        expires_at: DateTime<Utc>,
    ) -> Result<PresignedUrl, StoreError>;

    /// Uploads that the store still holds, known to the hold or not, at most `limit`.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn list_unfinished(&self, limit: usize) -> Result<Vec<Unfinished>, StoreError>;

    /// Whether the store answers.
    ///
    /// # Errors
    /// `Unavailable` when it does not.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// A blob in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// Its name.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
}

/// Some of the blobs of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobPage {
    /// The blobs. One that is kept in both layouts is in two pages.
    pub blobs: Vec<StoredBlob>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<String>,
}

/// A store's published blobs: what is there, and how one of them goes. Nothing but keys of blobs is ever listed or removed.
#[async_trait]
pub trait BlobInventory: fmt::Debug + Send + Sync {
    /// A page of the blobs, some 1,000 of them, from `after`, which is the `next` of the page before.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn list_blobs(&self, after: Option<&str>) -> Result<BlobPage, StoreError>;

    /// Removes a blob from both layouts; succeeds if it is gone already.
    ///
    /// # Errors
    /// `Unavailable`: it may be gone, or go until [`late_removal`](Self::late_removal) is over.
    async fn remove_blob(&self, digest: &Digest) -> Result<(), StoreError>;

    /// How long after a failed removal it may still come to effect.
    fn late_removal(&self) -> Duration;
}

/// An upload as the hold remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadSession {
    /// The unguessable name given to the uploader.
    pub id: String,
    /// The account that began it; only this account may continue it.
    pub owner: Did,
    /// Where its bytes are.
    pub upload: StoreUpload,
    /// When its owner last used it.
    pub last_used_at: DateTime<Utc>,
    /// Set once the blob is published; the session is then kept for a while to answer repetitions.
    pub finished: Option<FinishedUpload>,
}

/// What became of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedUpload {
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's length in bytes.
    pub size: u64,
}

/// An upload that was acknowledged and is not finished: its owner was told that the blob exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The upload's name.
    pub upload_id: String,
    /// The account that began it, and the only one that is told of it.
    pub owner: Did,
    /// What its bytes are said to hash to.
    pub digest: Digest,
    /// The length, in bytes, of its parts together.
    pub size: u64,
    /// The parts, in order.
    pub parts: Vec<PartTag>,
    /// A trusted AppView's statement, if it came with one.
    pub vouched: Option<ContentProof>,
    /// When it was acknowledged.
    pub promised_at: DateTime<Utc>,
}

/// A promised blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromisedBlob {
    /// Where its bytes are until it is published.
    pub upload: StoreUpload,
    /// Its length in bytes.
    pub size: u64,
}

/// How many promises may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromiseLimits {
    /// Of one account.
    pub per_account: u32,
    /// Of all accounts together.
    pub in_all: u32,
}

/// The table of uploads, and of those that were promised.
#[async_trait]
pub trait UploadSessions: fmt::Debug + Send + Sync {
    /// Adds a session; its id and key are new.
    ///
    /// # Errors
    /// The table's, as in every method here.
    async fn insert(&self, session: &UploadSession) -> Result<(), SessionsError>;

    /// Finds a session by its id.
    async fn get(&self, id: &str) -> Result<Option<UploadSession>, SessionsError>;

    /// Notes that the session was used.
    async fn touch(&self, id: &str, now: DateTime<Utc>) -> Result<(), SessionsError>;

    /// Notes what became of the session. Closes its promise.
    async fn finish(
        &self,
        id: &str,
        finished: &FinishedUpload,
        now: DateTime<Utc>,
    ) -> Result<(), SessionsError>;

    /// Forgets the session and its promise, if it is there.
    async fn remove(&self, id: &str) -> Result<(), SessionsError>;

    /// Names of sessions without a promise that were not used since `before`, oldest first, starting after `after`, at most `limit`.
    async fn idle_since(
        &self,
        before: DateTime<Utc>,
        after: Option<&IdleUpload>,
        limit: u32,
    ) -> Result<Vec<IdleUpload>, SessionsError>;

    /// Whether a session that is not finished has its bytes at `key`.
    async fn is_running(&self, key: &ObjectKey) -> Result<bool, SessionsError>;

    /// Opens a promise, and returns when the row survives a power failure. False, and nothing is written, if the upload is finished
    /// or gone, or if there is no room within `limits`. A promise that is open already stays as it is, which is true.
    async fn promise(&self, promise: &Promise, limits: PromiseLimits) -> Result<bool, SessionsError>;

    /// The open promise of an upload.
    async fn promise_of(&self, upload_id: &str) -> Result<Option<Promise>, SessionsError>;

    /// The blob `digest`, if it is promised to `owner`.
    async fn promised(&self, owner: &Did, digest: &Digest) -> Result<Option<PromisedBlob>, SessionsError>;

    /// Whether the blob `digest` is promised to any account.
    async fn is_promised(&self, digest: &Digest) -> Result<bool, SessionsError>;

    /// The digests of all blobs that are promised to `owner`.
    async fn promised_digests(&self, owner: &Did) -> Result<Vec<Digest>, SessionsError>;

    /// The uploads that have an open promise, oldest promise first.
    async fn promised_uploads(&self) -> Result<Vec<String>, SessionsError>;
}
