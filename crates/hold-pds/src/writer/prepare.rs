//! Turns a caller's writes into blocks and paths. The caller does this, so that the writer's one task has less work.

use std::collections::HashSet;

use atcr_atproto::clock::TidClock;
use atcr_atproto::data_model::{DAG_CBOR, cid_of, record_to_ipld};
use atcr_atproto::syntax::{AtUri, Cid, Did, Nsid, RecordKey};
use serde_json::Value;

use super::limits::{MAX_OPS, MAX_RECORD_BYTES};
use super::{Precondition, RecordWrite};
use crate::error::RepoError;
use atcr_repo::Block;

/// A write that only depends on the tree any more.
#[derive(Debug)]
pub(crate) struct PreparedWrite {
    pub(crate) uri: AtUri,
    pub(crate) path: String,
    pub(crate) change: Change,
}

#[derive(Debug)]
pub(crate) enum Change {
    Create(Block),
    Put(Block),
    Delete,
}

/// A [`Precondition`] with its path.
#[derive(Debug)]
pub(crate) enum PreparedPrecondition {
    Commit(Cid),
    Record { path: String, cid: Option<Cid> },
}

/// All of a call.
#[derive(Debug)]
pub(crate) struct PreparedCall {
    pub(crate) writes: Vec<PreparedWrite>,
    pub(crate) preconditions: Vec<PreparedPrecondition>,
    /// Of all its records.
    pub(crate) record_bytes: usize,
}

pub(crate) fn prepare(
    did: &Did,
    tids: &TidClock,
    writes: Vec<RecordWrite>,
    preconditions: Vec<Precondition>,
) -> Result<PreparedCall, RepoError> {
    if writes.len() > MAX_OPS {
        return Err(RepoError::TooManyWrites {
            reason: "more than 200 records",
        });
    }
    let writes = writes
        .into_iter()
        .map(|write| prepare_write(did, tids, write))
        .collect::<Result<Vec<_>, _>>()?;
    let mut paths = HashSet::new();
    if let Some(twice) = writes.iter().find(|write| !paths.insert(write.path.as_str())) {
        return Err(RepoError::DuplicatePath {
            path: twice.path.clone(),
        });
    }
    let preconditions = preconditions
        .into_iter()
        .map(|precondition| match precondition {
            Precondition::Commit(cid) => PreparedPrecondition::Commit(cid),
            Precondition::Record {
                collection,
                rkey,
                cid,
            } => PreparedPrecondition::Record {
                path: path(&collection, &rkey),
                cid,
            },
        })
        .collect();
    let record_bytes = writes.iter().map(|write| write.change.record_bytes()).sum();
    Ok(PreparedCall {
        writes,
        preconditions,
        record_bytes,
    })
}

impl Change {
    fn record_bytes(&self) -> usize {
        match self {
            Self::Create(block) | Self::Put(block) => block.bytes.len(),
            Self::Delete => 0,
        }
    }
}

fn prepare_write(did: &Did, tids: &TidClock, write: RecordWrite) -> Result<PreparedWrite, RepoError> {
    let (collection, rkey, change) = match write {
        RecordWrite::Create {
            collection,
            rkey,
            value,
        } => {
            let block = encode(&collection, value)?;
            (
                collection,
                rkey.unwrap_or_else(|| tids.next_tid().into()),
                Change::Create(block),
            )
        }
        RecordWrite::Put {
            collection,
            rkey,
            value,
        } => {
            let block = encode(&collection, value)?;
            (collection, rkey, Change::Put(block))
        }
        RecordWrite::Delete { collection, rkey } => (collection, rkey, Change::Delete),
    };
    Ok(PreparedWrite {
        uri: AtUri::record(did, collection.as_str(), &rkey)?,
        path: path(&collection, &rkey),
        change,
    })
}

fn path(collection: &Nsid, rkey: &RecordKey) -> String {
    format!("{collection}/{rkey}")
}

fn encode(collection: &Nsid, mut value: Value) -> Result<Block, RepoError> {
    if let Value::Object(fields) = &mut value {
        let found = fields
            .entry("$type")
            .or_insert_with(|| Value::String(collection.to_string()));
        if *found != collection.as_str() {
            return Err(RepoError::OtherType {
                collection: collection.to_string(),
            });
        }
    }
    let record = record_to_ipld(&value)?;
    let bytes = serde_ipld_dagcbor::to_vec(&record)
        .map_err(|error| RepoError::corrupt(format!("a record does not encode: {error}")))?;
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(RepoError::RecordTooLarge {
            size: bytes.len(),
            limit: MAX_RECORD_BYTES,
        });
    }
    Ok(Block {
        cid: cid_of(DAG_CBOR, &bytes),
        bytes: bytes.into(),
    })
}
