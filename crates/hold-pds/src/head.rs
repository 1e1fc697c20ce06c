//! The newest commit.

use atcr_atproto::syntax::{Cid, Tid};

/// A commit's name and revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitInfo {
    /// The CID of the commit object.
    pub cid: Cid,
    /// Its revision; greater than that of every commit before it, even if the clock goes back.
    pub rev: Tid,
}

/// The newest commit, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its event.
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

/// A revision as a number, in the same order.
pub(crate) fn rev_number(rev: &Tid) -> u64 {
    (rev.micros() << 10) | u64::from(rev.clock_id())
}

/// The revision of a number.
pub(crate) fn rev_of(number: u64) -> Tid {
    let clock_id = u16::try_from(number & u64::from(Tid::MAX_CLOCK_ID)).unwrap_or(0);
    Tid::from_parts(number >> 10, clock_id)
}
