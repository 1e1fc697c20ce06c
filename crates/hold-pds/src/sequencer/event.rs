//! What a commit is to a subscriber.

use atcr_atproto::syntax::{Cid, Datetime, Tid};
use bytes::Bytes;

/// One operation of a commit on one record: `prev` alone is a deletion, `cid` alone a creation, both an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordOp {
    /// `<collection>/<rkey>`.
    pub path: String,
    /// The record after the commit.
    pub cid: Option<Cid>,
    /// The record before the commit.
    pub prev: Option<Cid>,
}

impl RecordOp {
    /// `create`, `update` or `delete`, as a firehose spells it.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match (self.cid, self.prev) {
            (None, _) => "delete",
            (Some(_), None) => "create",
            (Some(_), Some(_)) => "update",
        }
    }
}

/// A commit, as a firehose tells it.
///
/// # Spec
/// `com.atproto.sync.subscribeRepos#commit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitEvent {
    /// Grows by one with each event.
    pub seq: u64,
    /// When the commit was made.
    pub time: Datetime,
    /// The commit object.
    pub commit: Cid,
    /// Its revision.
    pub rev: Tid,
    /// The revision before; `None` for the first commit.
    pub since: Option<Tid>,
    /// The root of the tree before; `None` for the first commit.
    pub prev_data: Option<Cid>,
    /// Sorted by path, each path once. Empty for the first commit and one that only changed the signing key.
    pub ops: Vec<RecordOp>,
    /// A CAR with the commit as root: commit, new tree nodes, new records, and the unchanged nodes that a reader needs to
    /// undo the operations.
    pub blocks: Bytes,
}
