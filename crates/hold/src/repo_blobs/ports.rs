//! What the blobs of the repository ask of the object store and of a table.

use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use atcr_atproto::lexicon::BlobRef;
use atcr_atproto::syntax::Cid;
use chrono::{DateTime, Utc};

use crate::blobs::{ObjectBytes, ObjectKey, SessionsError, StoreError};

/// Port: objects that the hold itself writes and reads, beside those of its clients.
#[async_trait]
pub trait OwnObjects: fmt::Debug + Send + Sync {
    /// Stores the `size` bytes of a file under `key`, durably and in one step for readers. An object that is there already
    /// is kept.
    ///
    /// # Errors
    /// `Unavailable`, `Full`.
    async fn put_file(&self, key: &ObjectKey, file: &Path, size: u64) -> Result<(), StoreError>;

    /// Length and bytes of an object; `None` if it is not there.
    ///
    /// # Errors
    /// `Unavailable`, also within the stream.
    async fn read(&self, key: &ObjectKey) -> Result<Option<(u64, ObjectBytes)>, StoreError>;

    /// Removes an object; succeeds if it is gone already.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn remove(&self, key: &ObjectKey) -> Result<(), StoreError>;
}

/// Port: the table of blobs that are in the store.
#[async_trait]
pub trait UploadedBlobs: fmt::Debug + Send + Sync {
    /// Notes that the blob was uploaded; one that is there already gets the new type and time.
    ///
    /// # Errors
    /// The table's, as in every method here.
    async fn note(&self, blob: &BlobRef, now: DateTime<Utc>) -> Result<(), SessionsError>;

    /// Finds a blob by its name.
    async fn get(&self, cid: &Cid) -> Result<Option<BlobRef>, SessionsError>;

    /// Names of blobs that were uploaded before `before`, in order, after the name `after`, at most `limit`; without those that another
    /// table of the hold keeps.
    async fn uploaded_before(
        &self,
        before: DateTime<Utc>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Cid>, SessionsError>;

    /// Forgets the blob, if it was uploaded before `before`.
    async fn forget(&self, cid: &Cid, before: DateTime<Utc>) -> Result<(), SessionsError>;
}
