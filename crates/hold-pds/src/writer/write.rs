//! What a caller asks of the writer, and what it answers.

use atcr_atproto::lexicon::Record;
use atcr_atproto::syntax::{AtUri, Cid, Nsid, RecordKey};
use serde_json::Value;

use crate::error::RepoError;
use crate::head::CommitInfo;

/// One change of one record.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordWrite {
    /// Writes a new record; refused with [`RepoError::RecordExists`] if there is one.
    Create {
        /// Where.
        collection: Nsid,
        /// Under which key; `None` for a new TID.
        rkey: Option<RecordKey>,
        /// The record as JSON, with `$link` and `$bytes`. `$type` is added when absent.
        value: Value,
    },
    /// Writes a record, new or not. Writing what is there already changes nothing.
    Put {
        /// Where.
        collection: Nsid,
        /// Under which key.
        rkey: RecordKey,
        /// As for [`Create`](Self::Create).
        value: Value,
    },
    /// Makes sure that there is no such record; not an error if there is none.
    Delete {
        /// Where.
        collection: Nsid,
        /// Under which key.
        rkey: RecordKey,
    },
}

impl RecordWrite {
    /// [`Create`](Self::Create) of a typed record.
    ///
    /// # Errors
    /// None in practice: every record type names a collection and has a JSON form.
    pub fn create<R: Record>(rkey: Option<RecordKey>, record: &R) -> Result<Self, RepoError> {
        Ok(Self::Create {
            collection: R::NSID.parse()?,
            rkey,
            value: record.to_value()?,
        })
    }

    /// [`Put`](Self::Put) of a typed record.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn put<R: Record>(rkey: RecordKey, record: &R) -> Result<Self, RepoError> {
        Ok(Self::Put {
            collection: R::NSID.parse()?,
            rkey,
            value: record.to_value()?,
        })
    }

    /// [`Delete`](Self::Delete) of a typed record.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn delete<R: Record>(rkey: RecordKey) -> Result<Self, RepoError> {
        Ok(Self::Delete {
            collection: R::NSID.parse()?,
            rkey,
        })
    }

    /// The collection.
    #[must_use]
    pub fn collection(&self) -> &Nsid {
        match self {
            Self::Create { collection, .. }
            | Self::Put { collection, .. }
            | Self::Delete { collection, .. } => collection,
        }
    }
}

/// Whether a person waits for a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Urgency {
    /// It is committed at once.
    #[default]
    Interactive,
    /// It shares a commit with others, within the budget of events.
    Background,
}

/// What must be true of the repository for the writes of a call to happen at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The newest commit is this one.
    Commit(Cid),
    /// The record has this CID, or does not exist.
    Record {
        /// Where.
        collection: Nsid,
        /// Under which key.
        rkey: RecordKey,
        /// `None`: there is none.
        cid: Option<Cid>,
    },
}

/// A record's address and content hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRef {
    /// `at://<did>/<collection>/<rkey>`.
    pub uri: AtUri,
    /// The CID of the record's DAG-CBOR.
    pub cid: Cid,
}

/// What came of a call's writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOutcome {
    /// The commit they are in, on disk; the newest one if they changed nothing.
    pub commit: CommitInfo,
    /// One for each create and put, in the order of the call.
    pub records: Vec<RecordRef>,
    /// How many of the deletes found a record.
    pub deleted: usize,
}
