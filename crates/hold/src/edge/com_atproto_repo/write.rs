//! What the three writing methods have in common.

use atcr_atproto::syntax::{AtUri, Cid, CidString, Nsid, RecordKey, Tid};
use atcr_hold_pds::WriteOutcome;
use atcr_hold_pds::repo::CommitInfo;
use serde::{Deserialize, Deserializer, Serialize};

use crate::administration::Swap;
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
    pub(super) fn of(outcome: WriteOutcome) -> Result<Self, EdgeError> {
        let record = outcome.records.into_iter().next().ok_or_else(|| {
            EdgeError::Repo(atcr_hold_pds::RepoError::Corrupt {
                what: "a write answered without its record".to_owned(),
            })
        })?;
        Ok(Self {
            uri: record.uri,
            cid: record.cid.into(),
            commit: outcome.commit.into(),
            validation_status: "valid",
        })
    }
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

/// The `swapCommit` and `swapRecord` of an input, if they are CIDs.
pub(super) fn swap(commit: Option<String>, record: Option<Option<String>>) -> Result<Swap, EdgeError> {
    let cid = |text: String| {
        text.parse::<Cid>().map_err(|_| EdgeError::InvalidRequest {
            message: "swapCommit and swapRecord must be CIDs".to_owned(),
        })
    };
    Ok(Swap {
        commit: commit.map(cid).transpose()?,
        record: record.map(|expected| expected.map(cid).transpose()).transpose()?,
    })
}

/// Tells `null`, which is a demand, from a field that is absent.
pub(super) fn nullable<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
