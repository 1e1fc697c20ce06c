//! The newest commit.

use atcr_atproto::syntax::{Cid, Tid};

/// A commit's name and revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitInfo {
    /// The CID of the commit object.
    pub cid: Cid,
    /// Its revision; greater than that of every commit before it, whatever the clock does.
    pub rev: Tid,
}

/// The newest commit, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seq: u64,
    pub(crate) commit: Cid,
    pub(crate) rev: Tid,
    pub(crate) data: Cid,
}

impl Head {
    pub(crate) fn info(&self) -> CommitInfo {
        CommitInfo {
            cid: self.commit,
            rev: self.rev.clone(),
        }
    }
}
