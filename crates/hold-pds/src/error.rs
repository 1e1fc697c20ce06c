//! Everything that can go wrong with a repository.

use std::path::PathBuf;
use std::sync::Arc;

use atcr_atproto::data_model::DataModelError;
use atcr_atproto::lexicon::RecordError;
use atcr_atproto::syntax::{Cid, Did, SyntaxError};
use atcr_repo::DataError;

/// Why a repository did not do what was asked.
///
/// Cheap to clone, since one failed sync fails every write that waited for it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RepoError {
    /// Another process has the repository open.
    #[error("another process has the repository in {} open", dir.display())]
    Locked {
        /// The repository's folder.
        dir: PathBuf,
    },
    /// The folder holds the repository of somebody else.
    #[error("the repository is that of {found}, not of {expected}")]
    OtherDid {
        /// Whose it should be.
        expected: Did,
        /// Whose it is.
        found: String,
    },
    /// The disk refused. For a write: nothing of it was stored, unless the repository became [`Failed`](Self::Failed).
    #[error("{action} {}: {source}", path.display())]
    Disk {
        /// What was being done: `read`, `append to`, ….
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The index refused. A write that ends in this one may have been stored all the same.
    #[error("the repository's index: {0}")]
    Index(#[source] Arc<sqlx::Error>),
    /// The index cannot be brought to this version's schema.
    #[error("the repository's index cannot be migrated: {0}")]
    Migration(#[source] Arc<sqlx::migrate::MigrateError>),
    /// What is stored is not what was written. Retrying cannot help.
    #[error("the repository is damaged: {what}")]
    Corrupt {
        /// What is wrong, and where.
        what: String,
    },
    /// A sync failed, so nobody knows what is on the disk: no writes until the repository is opened again.
    #[error("the repository takes no more writes, because an earlier one could not be synced to the disk")]
    Failed,
    /// The repository was closed.
    #[error("the repository is closed")]
    Closed,
    /// The value is not a record.
    #[error("not a record: {0}")]
    InvalidRecord(#[from] DataModelError),
    /// The record's `$type` is not the collection it is written to.
    #[error("a record of {collection} cannot have another $type")]
    OtherType {
        /// The collection.
        collection: String,
    },
    /// A record of this crate's own types is malformed.
    #[error(transparent)]
    RecordShape(#[from] Arc<RecordError>),
    /// A name is malformed.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// The record is larger than [`crate::writer::limits::MAX_RECORD_BYTES`].
    #[error("a record of {size} bytes is larger than the {limit} that are allowed")]
    RecordTooLarge {
        /// Its encoded size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// More writes than one commit may have, or more bytes.
    #[error("the writes do not fit in one commit: {reason}")]
    TooManyWrites {
        /// Which limit.
        reason: &'static str,
    },
    /// One call names the same record twice.
    #[error("{path} is written twice in one call")]
    DuplicatePath {
        /// `<collection>/<rkey>`.
        path: String,
    },
    /// The record to be created exists.
    #[error("{path} exists")]
    RecordExists {
        /// `<collection>/<rkey>`.
        path: String,
    },
    /// The repository's newest commit is not the expected one.
    #[error("the newest commit is {found}")]
    CommitSwapped {
        /// What it is.
        found: Cid,
    },
    /// A record is not the expected one.
    #[error("{path} is not the expected record")]
    RecordSwapped {
        /// `<collection>/<rkey>`.
        path: String,
    },
}

impl From<sqlx::Error> for RepoError {
    fn from(error: sqlx::Error) -> Self {
        Self::Index(Arc::new(error))
    }
}

impl From<sqlx::migrate::MigrateError> for RepoError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Migration(Arc::new(error))
    }
}

impl From<RecordError> for RepoError {
    fn from(error: RecordError) -> Self {
        Self::RecordShape(Arc::new(error))
    }
}

impl From<DataError> for RepoError {
    fn from(error: DataError) -> Self {
        Self::corrupt(error.to_string())
    }
}

impl RepoError {
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}
