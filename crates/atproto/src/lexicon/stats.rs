//! `io.atcr.hold.stats`: how often a repository was pulled and pushed.

use serde::{Deserialize, Serialize};

use super::{Record, nsid, record_key};
use crate::syntax::{Datetime, Did, RecordKey, SyntaxError};

/// Counts of one repository, as seen by one hold.
///
/// # Spec
/// `io.atcr.hold.stats`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatsRecord {
    /// The repository's owner.
    pub owner_did: Did,
    /// The image name without the identity.
    pub repository: String,
    /// Manifest downloads.
    pub pull_count: u64,
    /// Manifest uploads.
    pub push_count: u64,
    /// The latest download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_pull: Option<Datetime>,
    /// The latest upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_push: Option<Datetime>,
    /// When the record was last written.
    pub updated_at: Datetime,
}

impl Record for StatsRecord {
    const NSID: &'static str = nsid::HOLD_STATS;
}

impl StatsRecord {
    /// Counts of zero.
    #[must_use]
    pub fn new(owner: Did, repository: impl Into<String>, now: Datetime) -> Self {
        Self {
            owner_did: owner,
            repository: repository.into(),
            pull_count: 0,
            push_count: 0,
            last_pull: None,
            last_push: None,
            updated_at: now,
        }
    }

    /// Counts one download at `now`.
    pub fn count_pull(&mut self, now: Datetime) {
        self.pull_count = self.pull_count.saturating_add(1);
        self.last_pull = Some(now.clone());
        self.updated_at = now;
    }

    /// Counts one upload at `now`.
    pub fn count_push(&mut self, now: Datetime) {
        self.push_count = self.push_count.saturating_add(1);
        self.last_push = Some(now.clone());
        self.updated_at = now;
    }
}

/// The key of the counts of `owner`'s `repository`.
///
/// # Errors
/// None in practice: a hash is always a record key.
pub fn rkey(owner: &Did, repository: &str) -> Result<RecordKey, SyntaxError> {
    record_key::of_repository(owner, repository)
}
