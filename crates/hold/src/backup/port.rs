//! Where a backup is kept.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::blobs::{ObjectBytes, StoreError};

/// A name that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: String,
    /// How many bytes it has.
    pub bytes: u64,
}

/// Port: a place with names. Names have letters, digits and `/._-`.
#[async_trait]
pub trait BackupStore: std::fmt::Debug + Send + Sync {
    /// Where it is, for people.
    fn place(&self) -> String;

    /// Stores `size` bytes under `name`, in place of what was there. After an error the old content is there, or the new.
    ///
    /// # Errors
    /// The store's, and that of `content`.
    async fn put(&self, name: &str, content: ObjectBytes, size: u64) -> Result<(), StoreError>;

    /// Stores `content` under a name that is free; false if it is not.
    ///
    /// # Errors
    /// The store's. The content may be there then.
    async fn create(&self, name: &str, content: Bytes) -> Result<bool, StoreError>;

    /// What has that name; `None` if nothing has.
    ///
    /// # Errors
    /// The store's.
    async fn get(&self, name: &str) -> Result<Option<ObjectBytes>, StoreError>;

    /// All names below `folder`, in no order.
    ///
    /// # Errors
    /// The store's; `Unavailable` when there are more than `limit`.
    async fn list(&self, folder: &str, limit: usize) -> Result<Vec<Listed>, StoreError>;

    /// Removes a name; none is fine.
    ///
    /// # Errors
    /// The store's.
    async fn delete(&self, name: &str) -> Result<(), StoreError>;

    /// Removes what writes below `folder` have left that began before `before` and never ended; returns how many. None if the store does not
    /// tell of them.
    ///
    /// # Errors
    /// The store's.
    async fn remove_unfinished(&self, folder: &str, before: DateTime<Utc>) -> Result<usize, StoreError>;
}

/// Content that is in memory.
#[must_use]
pub fn one_piece(bytes: Bytes) -> ObjectBytes {
    stream::once(std::future::ready(Ok(bytes))).boxed()
}

/// All of `content`, if it has no more than `limit` bytes.
///
/// # Errors
/// The store's; `Unavailable` for content that is longer.
pub async fn read_whole(mut content: ObjectBytes, limit: usize) -> Result<Bytes, StoreError> {
    let mut whole = BytesMut::new();
    while let Some(piece) = content.try_next().await? {
        if whole.len() + piece.len() > limit {
            return Err(StoreError::unavailable(
                "read the backup",
                "an object is too long",
            ));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}
