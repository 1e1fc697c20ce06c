//! Why something is not proven.

use atcr_atproto::crypto::PublicKey;
use atcr_atproto::syntax::{Did, Tid};
use atcr_oci::Digest;

use super::record::MAX_PROOF_BYTES;
use crate::blocks::BlocksError;

/// Why the evidence does not prove what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The proof is longer than any record's is.
    #[error("the proof is longer than {MAX_PROOF_BYTES} bytes")]
    TooLong,
    /// The proof is no CAR with a commit.
    #[error("the proof is malformed: {0}")]
    Malformed(&'static str),
    /// A block does not hash to its name.
    #[error("a block of the proof does not hash to its name")]
    WrongHash,
    /// The DID document has no key that could have signed.
    #[error("the DID document of {0} has no signing key that is understood")]
    NoKey(Did),
    /// The commit is of another account.
    #[error("the proof is of {found}, not of {did}")]
    AnotherAccount {
        /// Whose proof was asked for.
        did: Did,
        /// As the commit says, shortened.
        found: String,
    },
    /// The account's key did not sign the commit.
    #[error("the commit is not signed by the key of {did}, {key}")]
    BadSignature {
        /// The account.
        did: Did,
        /// Its key.
        key: Box<PublicKey>,
    },
    /// The revision is more than five minutes ahead of the clock.
    #[error("the proof is of revision {0}, which is in the future")]
    FromTheFuture(Tid),
    /// The revision is older than asked.
    #[error("the proof is of revision {rev}, which is older than {asked}")]
    OlderRevision {
        /// The commit's.
        rev: Tid,
        /// The oldest that is taken.
        asked: Tid,
    },
    /// A node on the way to the record is missing or malformed.
    #[error("the way through the repository's tree to the record is broken: {0}")]
    BrokenPath(&'static str),
    /// The account's server, or its signed tree, says that there is no such record.
    #[error("the account has no record {path}")]
    NoSuchRecord {
        /// `<collection>/<rkey>`.
        path: String,
    },
    /// The tree names a record that is not in the proof.
    #[error("the proof leads to a record that it does not have")]
    RecordMissing,
    /// The record is not one of its collection.
    #[error("the record {path} cannot be read: {reason}")]
    RecordMalformed {
        /// `<collection>/<rkey>`.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The record is not under a key of the image.
    #[error("the record {path} is not under a key of this image")]
    AnotherKey {
        /// `<collection>/<rkey>`.
        path: String,
    },
    /// The record is of another repository, tag or digest.
    #[error("the record {path} says {found}, not {expected}")]
    AnotherImage {
        /// `<collection>/<rkey>`.
        path: String,
        /// As the record says, shortened.
        found: String,
        /// What was asked.
        expected: String,
    },
    /// The record does not say where the manifest's bytes are.
    #[error("the record {path} names no bytes")]
    NoBytes {
        /// `<collection>/<rkey>`.
        path: String,
    },
    /// The bytes are not those that the record is of.
    #[error("the manifest's bytes do not hash to {0}")]
    BytesDiffer(Digest),
}

impl Refusal {
    /// A name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "proof_too_long",
            Self::Malformed(_) => "proof_malformed",
            Self::WrongHash => "wrong_hash",
            Self::NoKey(_) => "no_key",
            Self::AnotherAccount { .. } => "another_account",
            Self::BadSignature { .. } => "bad_signature",
            Self::FromTheFuture(_) => "from_the_future",
            Self::OlderRevision { .. } => "older_revision",
            Self::BrokenPath(_) => "broken_path",
            Self::NoSuchRecord { .. } => "no_such_record",
            Self::RecordMissing => "record_missing",
            Self::RecordMalformed { .. } => "record_malformed",
            Self::AnotherKey { .. } => "another_key",
            Self::AnotherImage { .. } => "another_image",
            Self::NoBytes { .. } => "no_bytes",
            Self::BytesDiffer(_) => "bytes_differ",
        }
    }

    /// Whether another key of the same image may still have its record.
    pub(super) fn is_elsewhere(&self) -> bool {
        matches!(self, Self::NoSuchRecord { .. } | Self::AnotherImage { .. })
    }
}

impl From<BlocksError> for Refusal {
    fn from(error: BlocksError) -> Self {
        match error {
            BlocksError::TooLong => Self::TooLong,
            BlocksError::Malformed(what) => Self::Malformed(what),
            BlocksError::WrongHash => Self::WrongHash,
        }
    }
}

/// A stranger's words, at most 200 characters and none that controls a terminal.
pub(super) fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
