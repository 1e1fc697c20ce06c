//! Events of a repository, as subscribers receive them.

use atcr_atproto::syntax::{Cid, Datetime, Did, Tid};
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

/// A commit.
///
/// # Spec
/// `com.atproto.sync.subscribeRepos#commit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitEvent {
    /// Greater than that of every event before it; there are gaps.
    pub seq: u64,
    /// Whose repository it is.
    pub repo: Did,
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
    /// Sorted by path, each path once. Empty for the first commit and one that changed no record.
    pub ops: Vec<RecordOp>,
    /// A CAR with the commit as root: commit, new tree nodes, new records, and the unchanged nodes that a reader needs to
    /// undo the operations.
    pub blocks: Bytes,
}

/// The account's identity (DID document, handle, signing key) may have changed: resolve it again.
///
/// # Spec
/// `com.atproto.sync.subscribeRepos#identity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityEvent {
    /// As for [`CommitEvent::seq`].
    pub seq: u64,
    /// The account.
    pub did: Did,
    /// When it happened.
    pub time: Datetime,
    /// Its handle, if it has one that is valid.
    pub handle: Option<String>,
}

/// The account's status on this host.
///
/// # Spec
/// `com.atproto.sync.subscribeRepos#account`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountEvent {
    /// As for [`CommitEvent::seq`].
    pub seq: u64,
    /// The account.
    pub did: Did,
    /// When it happened.
    pub time: Datetime,
    /// Whether its repository is served.
    pub active: bool,
    /// The reason if the account is not active: `deactivated`, `takendown`, ….
    pub status: Option<String>,
}

/// The current state, for readers that have lost track.
///
/// # Spec
/// `com.atproto.sync.subscribeRepos#sync`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncEvent {
    /// As for [`CommitEvent::seq`].
    pub seq: u64,
    /// The account.
    pub did: Did,
    /// When it happened.
    pub time: Datetime,
    /// The revision of the commit.
    pub rev: Tid,
    /// A CAR with the commit object as root and only block.
    pub blocks: Bytes,
}

/// Any message that has a `seq`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A commit.
    Commit(Box<CommitEvent>),
    /// A change of identity.
    Identity(IdentityEvent),
    /// A change of status.
    Account(AccountEvent),
    /// The current state.
    Sync(SyncEvent),
}
