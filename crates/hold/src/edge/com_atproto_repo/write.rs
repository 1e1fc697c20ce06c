//! What the writing methods have in common.

use atcr_atproto::syntax::{AtUri, CidString, Nsid, RecordKey, Tid};
use atcr_hold_pds::CommitInfo;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::administration::{Expected, Swap, Written};
use crate::edge::error::EdgeError;

/// The commit a write is in.
#[derive(Debug, Serialize)]
pub struct CommitMeta {
    cid: CidString,
    rev: Tid,
}

impl From<CommitInfo> for CommitMeta {
    fn from(commit: CommitInfo) -> Self {
        Self {
            cid: commit.cid.into(),
            rev: commit.rev,
        }
    }
}

/// The output of `createRecord` and `putRecord`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WrittenRecord {
    uri: AtUri,
    cid: CidString,
    commit: CommitMeta,
    validation_status: &'static str,
}

impl WrittenRecord {
    pub(super) fn of(written: Written) -> Result<Self, EdgeError> {
        let Written { outcome, validations } = written;
        let record = outcome.records.into_iter().next();
        let (record, validation) = record.zip(validations.first()).ok_or_else(incomplete)?;
        Ok(Self {
            uri: record.uri,
            cid: record.cid.into(),
            commit: outcome.commit.into(),
            validation_status: validation.as_str(),
        })
    }
}

/// A write that was answered without its record.
pub(super) fn incomplete() -> EdgeError {
    EdgeError::Repo(atcr_hold_pds::RepoError::Corrupt {
        what: "a write answered without its record".to_owned(),
    })
}

pub(super) fn collection(text: &str) -> Result<Nsid, EdgeError> {
    text.parse().map_err(|error| EdgeError::InvalidRequest {
        message: format!("collection: {error}"),
    })
}

pub(super) fn rkey(text: &str) -> Result<RecordKey, EdgeError> {
    text.parse().map_err(|error| EdgeError::InvalidRequest {
        message: format!("rkey: {error}"),
    })
}

/// The `swapCommit` of an input, if it is a CID, and its `swapRecord`.
pub(super) fn swap(commit: Option<&str>, record: Expected) -> Result<Swap, EdgeError> {
    let commit = commit
        .map(str::parse)
        .transpose()
        .map_err(|_| EdgeError::InvalidRequest {
            message: "swapCommit must be a CID".to_owned(),
        })?;
    Ok(Swap { commit, record })
}

/// Reads a `swapRecord` that is there: `null` demands that there be no record. One that is left out demands nothing.
pub(super) fn swap_record<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Expected, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        None => Ok(Expected::Absent),
        Some(text) => text
            .parse()
            .map(Expected::Exactly)
            .map_err(|_| D::Error::custom("swapRecord must be a CID or null")),
    }
}
