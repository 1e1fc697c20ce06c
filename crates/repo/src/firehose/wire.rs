//! The bytes of messages.

use std::ops::Range;

use atcr_atproto::syntax::Cid;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::event::{AccountEvent, CommitEvent, IdentityEvent, Message, RecordOp, SyncEvent};
use crate::encoder::Encoder;
use crate::error::DataError;

/// Bytes of a `#commit` beside its CAR and its operations, and of an operation beside its path, at most.
const COMMIT: usize = 512;
const OPERATION: usize = 128;

// Fields stand in DAG-CBOR's order: by length, then by bytes.

#[derive(Serialize)]
struct Header<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    t: Option<&'a str>,
    op: i8,
}

#[derive(Deserialize)]
struct WireOp {
    cid: Option<Cid>,
    path: String,
    #[serde(default)]
    prev: Option<Cid>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCommit {
    ops: Vec<WireOp>,
    rev: String,
    seq: u64,
    repo: String,
    time: String,
    since: Option<String>,
    #[serde(with = "serde_bytes")]
    blocks: Vec<u8>,
    commit: Cid,
    #[serde(default)]
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
        let ops: usize = self.ops.iter().map(|op| OPERATION + op.path.len()).sum();
        let mut out = Encoder::with_capacity(COMMIT + self.blocks.len() + ops);
        out.map(2);
        out.text("t");
        out.text("#commit");
        out.text("op");
        out.number(1);

        out.map(if self.prev_data.is_some() { 12 } else { 11 });
        out.text("ops");
        out.array(self.ops.len());
        for op in &self.ops {
            op.encode(&mut out);
        }
        out.text("rev");
        out.text(self.rev.as_str());
        out.text("seq");
        out.number(self.seq);
        out.text("repo");
        out.text(self.repo.as_str());
        out.text("time");
        out.text(self.time.as_ref());
        out.text("blobs");
        out.array(0);
        out.text("since");
        match &self.since {
            Some(since) => out.text(since.as_str()),
            None => out.null(),
        }
        out.text("blocks");
        out.bytes(&self.blocks);
        let blocks = out.len() - self.blocks.len()..out.len();
        out.text("commit");
        out.link(&self.commit);
        out.text("rebase");
        out.no();
        out.text("tooBig");
        out.no();
        if let Some(prev_data) = &self.prev_data {
            out.text("prevData");
            out.link(prev_data);
        }
        Ok(EncodedCommit {
            frame: out.finish().into(),
            blocks,
        })
    }
}

impl RecordOp {
    fn encode(&self, out: &mut Encoder) {
        out.map(if self.prev.is_some() { 4 } else { 3 });
        out.text("cid");
        out.link_or_null(self.cid.as_ref());
        out.text("path");
        out.text(&self.path);
        if let Some(prev) = &self.prev {
            out.text("prev");
            out.link(prev);
        }
        out.text("action");
        out.text(self.action());
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
