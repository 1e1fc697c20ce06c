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
    /// The folder holds another account's repository.
    #[error("the repository is that of {found}, not of {expected}")]
    OtherDid {
        /// Whose it should be.
        expected: Did,
        /// Whose it is.
        found: String,
    },
    /// The disk refused. For a write: nothing of it was stored.
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
    /// The index refused.
    #[error("the repository's index: {0}")]
    Index(#[source] Arc<sqlx::Error>),
    /// The index takes long to follow the log. The same question may be answered later.
    #[error("the index of records is behind; try again")]
    IndexBehind,
    /// What is stored is not what was written. Retrying cannot help.
    #[error("the repository is damaged: {what}")]
    Corrupt {
        /// What is wrong, and where.
        what: String,
    },
    /// A part of the repository's folder is missing. Nothing becomes new on its own.
    #[error(
        "the repository in {} is not complete: {missing} is missing. Restore the folder from a backup. To begin a new \
         repository instead, move `repo` and `hold.sqlite*` away (do not delete them) and keep `objects` and the signing key: \
         the objects are what was pushed",
        folder.display()
    )]
    Incomplete {
        /// The repository's folder.
        folder: PathBuf,
        /// The file.
        missing: String,
    },
    /// There is no repository, and none is to be made.
    #[error("there is no repository in {}", folder.display())]
    NoRepository {
        /// The folder.
        folder: PathBuf,
    },
    /// There is a repository where one was to be restored.
    #[error("there is a repository in {} already; move it away first", folder.display())]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder's repository has no event yet, and events are known that it should have.
    #[error(
        "the repository in {} is empty, but event {known} of it is known from its backup: run `atcr-hold repo restore` after \
         moving the folder away, or `atcr-hold identity recover` to begin with an empty repository",
        folder.display()
    )]
    NotRestored {
        /// The folder.
        folder: PathBuf,
        /// The newest event that is known.
        known: u64,
    },
    /// A restore has begun and not ended.
    #[error("a restore of the repository in {} did not end; run `atcr-hold repo restore` again", folder.display())]
    HalfRestored {
        /// The folder.
        folder: PathBuf,
    },
    /// A file to import is not what it should be. Nothing was written.
    #[error("{}: {what}", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The newest commit was signed by another key.
    #[error(
        "another key signed the repository: restore the signing key that belongs to it, or run `atcr-hold identity recover`"
    )]
    OtherKey,
    /// The clock is behind the newest commit: relays would refuse a revision made now.
    #[error("the clock is {seconds} seconds behind the newest commit; set the clock")]
    ClockBehind {
        /// How far.
        seconds: u64,
    },
    /// The operator's side of the identity has to be put right first. Nothing was written.
    #[error("writes are paused: {reason}")]
    Paused {
        /// Why.
        reason: Arc<str>,
    },
    /// The disk refused at a moment that leaves open what is on it: the write may have happened, or not.
    #[error("the write may have been stored or not")]
    PerhapsWritten(#[source] Arc<RepoError>),
    /// A subscriber has not read events before they were dropped.
    #[error("the events asked for are not kept any more")]
    TooSlow,
    /// This process was told to write no more.
    #[error("the repository is not written any more: {reason}")]
    Halted {
        /// Why.
        reason: String,
    },
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
