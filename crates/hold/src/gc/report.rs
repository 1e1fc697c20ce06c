//! What a run did, and why.

use std::collections::BTreeMap;

use atcr_atproto::syntax::Did;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Accounts named in a report.
const MAX_NAMED: usize = 100;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Accounts are read.
    Reading,
    /// The store is listed.
    Listing,
    /// The plan stands; nothing was done.
    Planned,
    /// It is carried out.
    Running,
    /// It would remove so much that the captain has to confirm it.
    Waiting,
    /// Carried out.
    Done,
    /// Its condemnations were lifted.
    Undone,
}

impl RunState {
    /// As it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Listing => "listing",
            Self::Planned => "planned",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Undone => "undone",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Reading,
            Self::Listing,
            Self::Planned,
            Self::Running,
            Self::Waiting,
            Self::Done,
            Self::Undone,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
    }
}

/// So many blobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// How many.
    pub blobs: u64,
    /// Their lengths together.
    pub bytes: u64,
}

impl Sum {
    /// One more.
    pub(super) fn add(&mut self, bytes: u64) {
        self.blobs += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// How the accounts were read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountsRead {
    /// Read whole.
    pub read: u64,
    /// At the same revision as before.
    pub unchanged: u64,
    /// Released by the captain.
    pub released: u64,
    /// Not read, and why. What they ever named is kept. The first hundred.
    pub unread: BTreeMap<Did, String>,
    /// Those of them that may push: what was condemned since they were read last is not removed before they are read again.
    pub holding_up: Vec<Did>,
}

impl AccountsRead {
    pub(super) fn not_read(&mut self, did: &Did, reason: String) {
        if self.unread.len() < MAX_NAMED {
            self.unread.insert(did.clone(), reason);
        }
    }

    pub(super) fn holds_up(&mut self, did: &Did) {
        if self.holding_up.len() < MAX_NAMED {
            self.holding_up.push(did.clone());
        }
    }
}

/// What a run found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// How the accounts were read.
    pub accounts: AccountsRead,
    /// What the store has.
    pub stored: Sum,
    /// Blobs that nothing names and that are not condemned yet.
    pub to_condemn: Sum,
    /// Condemned ones whose time has not come.
    pub waiting: Sum,
    /// Condemned ones that something names.
    pub to_lift: Sum,
    /// Condemned ones whose time has come.
    pub to_remove: Sum,
    /// What would be removed, by who named it last; the largest first. Nobody, for what was uploaded and never named.
    pub owners: Vec<OwnerSum>,
    /// What nothing names, and nothing ever named as far as is known here.
    pub never_named: Sum,
    /// Condemned by this run.
    pub condemned: Sum,
    /// Removed by this run.
    pub removed: Sum,
    /// Layer records whose manifests are not listed any more: as many as are proven gone are deleted.
    pub records_to_delete: u64,
    /// Layer records that were deleted, since their manifests are gone.
    pub records_deleted: u64,
    /// What the run did not do of its plan: how often, by reason.
    pub differences: BTreeMap<String, u64>,
    /// Why it waits for the captain.
    pub brake: Option<String>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// What one account leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerSum {
    /// The account.
    pub did: Option<Did>,
    /// What would be removed.
    #[serde(flatten)]
    pub sum: Sum,
}

impl Report {
    pub(super) fn differs(&mut self, reason: &str) {
        *self.differences.entry(reason.to_owned()).or_default() += 1;
    }

    /// Keeps the largest of `owners`.
    pub(super) fn set_owners(&mut self, owners: BTreeMap<Option<Did>, Sum>) {
        let mut owners: Vec<_> = owners
            .into_iter()
            .map(|(did, sum)| OwnerSum { did, sum })
            .collect();
        owners.sort_by_key(|owner| std::cmp::Reverse(owner.sum.bytes));
        owners.truncate(MAX_NAMED);
        self.owners = owners;
    }
}

/// A run, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its number.
    pub id: i64,
    /// When it began.
    pub began_at: DateTime<Utc>,
    /// How far it is.
    pub state: RunState,
    /// What it found and did.
    pub report: Report,
}

/// What the collection does now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether a run is under way, and what it is at.
    pub under_way: Option<Progress>,
    /// Whether it runs every night.
    pub nightly: bool,
    /// Blobs that are condemned.
    pub condemned: u64,
    /// Blobs whose removal is under way, or failed a moment ago.
    pub leaving: u64,
    /// The last run.
    pub last: Option<Run>,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Its number.
    pub run: i64,
    /// What it is at.
    pub state: RunState,
    /// Accounts read, blobs listed, or blobs condemned and removed so far.
    pub done: u64,
    /// Accounts that are being read.
    #[serde(default)]
    pub reading: Vec<Did>,
}
