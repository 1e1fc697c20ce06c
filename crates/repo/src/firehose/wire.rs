//! The bytes of messages.

use std::ops::Range;

use atcr_atproto::syntax::Cid;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::event::{AccountEvent, CommitEvent, IdentityEvent, Message, RecordOp, SyncEvent};
use crate::error::DataError;

/// Bytes of a `#commit` behind its `blocks`: `commit`, `rebase` and `tooBig`; then `prevData`, if there is one.
const BEHIND_BLOCKS: usize = 48 + 8 + 8;
const PREV_DATA: usize = 50;

// Fields stand in DAG-CBOR's order: by length, then by bytes.

#[derive(Serialize)]
struct Header<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    t: Option<&'a str>,
    op: i8,
}

#[derive(Serialize, Deserialize)]
struct WireOp {
    cid: Option<Cid>,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prev: Option<Cid>,
    action: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCommit {
    ops: Vec<WireOp>,
    rev: String,
    seq: u64,
    repo: String,
    time: String,
    #[serde(default)]
    blobs: Vec<Cid>,
    since: Option<String>,
    #[serde(with = "serde_bytes")]
    blocks: Vec<u8>,
    commit: Cid,
    #[serde(default)]
    rebase: bool,
    #[serde(default)]
    too_big: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prev_data: Option<Cid>,
}

#[derive(Serialize, Deserialize)]
struct WireIdentity {
    did: String,
    seq: u64,
    time: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handle: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct WireAccount {
    did: String,
    seq: u64,
    time: String,
    active: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct WireSync {
    did: String,
    rev: String,
    seq: u64,
    time: String,
    #[serde(with = "serde_bytes")]
    blocks: Vec<u8>,
}

#[derive(Serialize)]
struct WireInfo<'a> {
    name: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct WireError<'a> {
    error: &'a str,
    message: &'a str,
}

/// A `#commit` as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedCommit {
    /// The whole message.
    pub frame: Bytes,
    /// Where in it the CAR is.
    pub blocks: Range<usize>,
}

impl CommitEvent {
    /// The message.
    ///
    /// # Errors
    /// None in practice.
    pub fn encode(&self) -> Result<EncodedCommit, DataError> {
        let op = |op: &RecordOp| WireOp {
            cid: op.cid,
            path: op.path.clone(),
            prev: op.prev,
            action: op.action().to_owned(),
        };
        let wire = WireCommit {
            ops: self.ops.iter().map(op).collect(),
            rev: self.rev.to_string(),
            seq: self.seq,
            repo: self.repo.to_string(),
            time: self.time.to_string(),
            blobs: Vec::new(),
            since: self.since.as_ref().map(ToString::to_string),
            blocks: self.blocks.to_vec(),
            commit: self.commit,
            rebase: false,
            too_big: false,
            prev_data: self.prev_data,
        };
        let frame = message(Some("#commit"), 1, &wire)?;
        let behind = BEHIND_BLOCKS + self.prev_data.map_or(0, |_| PREV_DATA);
        let blocks = frame
            .len()
            .checked_sub(behind)
            .and_then(|end| Some(end.checked_sub(self.blocks.len())?..end))
            .filter(|range| frame.get(range.clone()) == Some(&*self.blocks))
            .ok_or(DataError::Malformed(
                "a message does not have its blocks where it should",
            ))?;
        Ok(EncodedCommit { frame, blocks })
    }
}

impl IdentityEvent {
    /// The message.
    ///
    /// # Errors
    /// None in practice.
    pub fn encode(&self) -> Result<Bytes, DataError> {
        let wire = WireIdentity {
            did: self.did.to_string(),
            seq: self.seq,
            time: self.time.to_string(),
            handle: self.handle.clone(),
        };
        message(Some("#identity"), 1, &wire)
    }
}

impl AccountEvent {
    /// The message.
    ///
    /// # Errors
    /// None in practice.
    pub fn encode(&self) -> Result<Bytes, DataError> {
        let wire = WireAccount {
            did: self.did.to_string(),
            seq: self.seq,
            time: self.time.to_string(),
            active: self.active,
            status: self.status.clone(),
        };
        message(Some("#account"), 1, &wire)
    }
}

impl SyncEvent {
    /// The message.
    ///
    /// # Errors
    /// None in practice.
    pub fn encode(&self) -> Result<Bytes, DataError> {
        let wire = WireSync {
            did: self.did.to_string(),
            rev: self.rev.to_string(),
            seq: self.seq,
            time: self.time.to_string(),
            blocks: self.blocks.to_vec(),
        };
        message(Some("#sync"), 1, &wire)
    }
}

/// An `#info` message, such as `OutdatedCursor`.
///
/// # Errors
/// None in practice.
pub fn info(name: &str, text: &str) -> Result<Bytes, DataError> {
    message(Some("#info"), 1, &WireInfo { name, message: text })
}

/// An error message, such as `FutureCursor`; the stream ends after it.
///
/// # Errors
/// None in practice.
pub fn error(name: &str, text: &str) -> Result<Bytes, DataError> {
    message(
        None,
        -1,
        &WireError {
            error: name,
            message: text,
        },
    )
}

fn message(t: Option<&str>, op: i8, body: &impl Serialize) -> Result<Bytes, DataError> {
    let fail = |_| DataError::Malformed("a message does not encode");
    let mut bytes = serde_ipld_dagcbor::to_vec(&Header { t, op }).map_err(fail)?;
    bytes.extend(serde_ipld_dagcbor::to_vec(body).map_err(fail)?);
    Ok(bytes.into())
}

/// Whether `frame`, which this module wrote, is an `#identity` message.
#[must_use]
pub fn is_identity(frame: &[u8]) -> bool {
    // The header: a map of `t` and `op`.
    frame.starts_with(b"\xa2at\x69#identitybop\x01")
}

impl Message {
    /// Reads a message of a kind that has a `seq`.
    ///
    /// # Errors
    /// [`DataError::Malformed`] for any other message.
    pub fn decode(frame: &[u8]) -> Result<Self, DataError> {
        let malformed = |_| DataError::Malformed("a name in a message");
        if let Some(wire) = body::<WireCommit>(frame, "#commit")? {
            return Ok(Self::Commit(Box::new(CommitEvent {
                seq: wire.seq,
                repo: wire.repo.parse().map_err(malformed)?,
                time: wire.time.parse().map_err(malformed)?,
                commit: wire.commit,
                rev: wire.rev.parse().map_err(malformed)?,
                since: wire
                    .since
                    .map(|since| since.parse())
                    .transpose()
                    .map_err(malformed)?,
                prev_data: wire.prev_data,
                ops: wire
                    .ops
                    .into_iter()
                    .map(|op| RecordOp {
                        path: op.path,
                        cid: op.cid,
                        prev: op.prev,
                    })
                    .collect(),
                blocks: wire.blocks.into(),
            })));
        }
        if let Some(wire) = body::<WireIdentity>(frame, "#identity")? {
            return Ok(Self::Identity(IdentityEvent {
                seq: wire.seq,
                did: wire.did.parse().map_err(malformed)?,
                time: wire.time.parse().map_err(malformed)?,
                handle: wire.handle,
            }));
        }
        if let Some(wire) = body::<WireAccount>(frame, "#account")? {
            return Ok(Self::Account(AccountEvent {
                seq: wire.seq,
                did: wire.did.parse().map_err(malformed)?,
                time: wire.time.parse().map_err(malformed)?,
                active: wire.active,
                status: wire.status,
            }));
        }
        if let Some(wire) = body::<WireSync>(frame, "#sync")? {
            return Ok(Self::Sync(SyncEvent {
                seq: wire.seq,
                did: wire.did.parse().map_err(malformed)?,
                time: wire.time.parse().map_err(malformed)?,
                rev: wire.rev.parse().map_err(malformed)?,
                blocks: wire.blocks.into(),
            }));
        }
        Err(DataError::Malformed("a message of another kind"))
    }

    /// The event's number.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Commit(event) => event.seq,
            Self::Identity(event) => event.seq,
            Self::Account(event) => event.seq,
            Self::Sync(event) => event.seq,
        }
    }
}

/// The kinds that have a `seq`, the most frequent one first.
pub(super) const KINDS: [&str; 4] = ["#commit", "#identity", "#account", "#sync"];

/// The body, if the message is of kind `t`. The two fields of the header may stand in either order: not everybody sorts them.
pub(super) fn body_of<'f>(frame: &'f [u8], t: &str) -> Option<&'f [u8]> {
    let sorted = || {
        let rest = frame.strip_prefix(b"\xa2at")?;
        text(rest, t)?.strip_prefix(b"bop\x01")
    };
    let other = || {
        let rest = frame.strip_prefix(b"\xa2bop\x01at")?;
        text(rest, t)
    };
    sorted().or_else(other)
}

/// The name of the error, if the message is one; the stream ends with it.
pub(super) fn error_name(frame: &[u8]) -> Result<Option<String>, DataError> {
    #[derive(Deserialize)]
    struct Body {
        error: String,
    }
    let Some(body) = frame.strip_prefix(b"\xa1bop\x20") else {
        return Ok(None);
    };
    serde_ipld_dagcbor::from_slice::<Body>(body)
        .map(|body| Some(body.error))
        .map_err(|_| DataError::Malformed("the body of a message"))
}

/// What follows the short text `t`.
fn text<'f>(bytes: &'f [u8], t: &str) -> Option<&'f [u8]> {
    let (head, rest) = bytes.split_first()?;
    // Texts of up to 23 bytes have their length in the first byte.
    let is_head = usize::from(*head) == 0x60 + t.len() && t.len() < 24;
    rest.strip_prefix(t.as_bytes()).filter(|_| is_head)
}

/// The body, if the message is of kind `t`.
fn body<T: DeserializeOwned>(frame: &[u8], t: &str) -> Result<Option<T>, DataError> {
    match body_of(frame, t) {
        None => Ok(None),
        Some(body) => serde_ipld_dagcbor::from_slice(body)
            .map(Some)
            .map_err(|_| DataError::Malformed("the body of a message")),
    }
}
