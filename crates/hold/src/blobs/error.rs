//! What can go wrong with blobs. Knows nothing of HTTP.

use atcr_oci::Digest;
use thiserror::Error;

/// A failure that came from below: a driver, a network, a disk.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why the blob service refused or failed.
#[derive(Debug, Error)]
pub enum BlobError {
    /// The identifier given at the start of an upload is empty, too long or not path-safe.
    #[error("the upload's identifier is empty, too long or has characters that are not allowed")]
    InvalidIdentifier,
    /// No such upload, or another account's, or one that ended with another digest.
    #[error("there is no such upload")]
    InvalidUploadId,
    /// Part numbers go from 1 to 10,000.
    #[error("part number {0} is not between 1 and 10000")]
    InvalidPartNumber(u32),
    /// The parts named at completion are not those that the store received.
    #[error("the parts do not add up: {reason}")]
    MissingParts {
        /// Which part, and what is wrong with it.
        reason: String,
    },
    /// The bytes hash to something else. The upload is gone.
    #[error("the content is not {claimed}; it is {actual}")]
    DigestMismatch {
        /// What the uploader said.
        claimed: Digest,
        /// What the bytes are.
        actual: Digest,
    },
    /// The blob is promised to the caller and cannot be read yet.
    #[error("the blob is being checked; try again in a while")]
    StillPromised,
    /// Nothing named the blob for long, and it is being removed at this moment.
    #[error("the blob is being removed because nothing named it; try again in a few minutes")]
    BeingRemoved,
    /// The object store failed.
    #[error("the object store failed")]
    Store(#[source] StoreError),
    /// The table of uploads failed.
    #[error("the table of uploads failed")]
    Sessions(#[from] SessionsError),
    /// The process is stopping, or the work panicked.
    #[error("the upload's completion was interrupted; try again")]
    Interrupted,
}

/// Why an object store refused or failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Discarded, published, or never begun.
    #[error("the store knows no such upload")]
    UnknownUpload,
    /// A part is missing or is not the one that was named.
    #[error("{reason}")]
    PartMismatch {
        /// Which part, and what is wrong with it.
        reason: String,
    },
    /// A part other than the last is smaller than the store takes.
    #[error("a part other than the last is smaller than the store takes")]
    PartTooSmall,
    /// No space is left.
    #[error("the store is full")]
    Full(#[source] Source),
    /// The store cannot be reached, or answered with a failure; `action` says to what.
    #[error("the store failed to {action}")]
    Unavailable {
        /// What was asked of it, for the log.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Source,
    },
}

impl StoreError {
    /// An [`StoreError::Unavailable`].
    pub(crate) fn unavailable(action: &'static str, source: impl Into<Source>) -> Self {
        Self::Unavailable {
            action,
            source: source.into(),
        }
    }
}

impl From<StoreError> for BlobError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::UnknownUpload => Self::InvalidUploadId,
            StoreError::PartMismatch { reason } => Self::MissingParts { reason },
            StoreError::PartTooSmall => Self::MissingParts {
                reason: error.to_string(),
            },
            StoreError::Full(_) | StoreError::Unavailable { .. } => Self::Store(error),
        }
    }
}

/// Why the table of uploads failed.
#[derive(Debug, Error)]
pub enum SessionsError {
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] Source),
    /// A stored value does not parse.
    #[error("a stored upload has a bad {column}")]
    Corrupt {
        /// Which column.
        column: &'static str,
    },
}
