//! Who changed what on the admin site. Each entry has a hash over itself and the hash before, so that an entry that was changed or taken
//! out later shows, as far as somebody knows a later hash.
//!
//! An entry is written before the change: a log that says too much is better than one that says too little. A change that then fails has a
//! second entry.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use chrono::{DateTime, SubsecRound as _, Utc};
use sha2::{Digest as _, Sha256};

use super::TableError;
use super::sessions::Hash;
use super::sign_in::Captain;

/// Entries; label `action`.
const CHANGES: &str = "hold_admin_changes_total";
/// Longest detail that is kept, in characters.
const MAX_DETAIL: usize = 1000;
/// Entries that are checked at once.
const CHECKED_AT_ONCE: u32 = 1000;

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// 1, 2, 3, ….
    pub seq: u64,
    /// When, to the millisecond.
    pub at: DateTime<Utc>,
    /// The captain's DID.
    pub actor: String,
    /// What: `crew.add`, `crew.edit`, ….
    pub action: String,
    /// To what: a member's DID, a relay.
    pub subject: String,
    /// How.
    pub detail: String,
    /// The hash.
    pub hash: Hash,
}

/// The hash of an entry after one with the hash `before`.
#[must_use]
pub fn hash(before: &Hash, entry: &Entry) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(b"atcr hold audit\0");
    hasher.update(before);
    hasher.update(entry.seq.to_be_bytes());
    hasher.update(entry.at.timestamp_millis().to_be_bytes());
    for text in [&entry.actor, &entry.action, &entry.subject, &entry.detail] {
        // With their lengths, so that no two entries are the same bytes.
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text);
    }
    hasher.finalize().into()
}

/// Makes the number and the hash of an entry, which follow from the last one.
pub type Seal = fn(Option<&Entry>, Entry) -> Entry;

/// Port: the log at rest. Every error is the database's.
#[async_trait]
pub trait AuditTable: fmt::Debug + Send + Sync {
    /// Appends `entry`, whose number and hash `seal` makes of the last entry, in one step.
    async fn append(&self, entry: Entry, seal: Seal) -> Result<Entry, TableError>;

    /// At most `limit` entries below the number `below`, the newest first.
    async fn newest(&self, below: Option<u64>, limit: u32) -> Result<Vec<Entry>, TableError>;

    /// At most `limit` entries from above the number `above`, the oldest first.
    async fn oldest(&self, above: u64, limit: u32) -> Result<Vec<Entry>, TableError>;
}

/// Whether the log is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every entry follows from the one before; the last has this hash.
    Whole {
        /// How many there are.
        entries: u64,
        /// The last one's hash in hex; empty without any.
        head: String,
    },
    /// The entry with that number, or one before it, was changed or is missing.
    Broken {
        /// The number.
        at: u64,
    },
}

/// The audit log.
#[derive(Clone, Debug)]
pub struct AuditLog {
    table: Arc<dyn AuditTable>,
    clock: Arc<dyn Clock>,
}

impl AuditLog {
    /// Keeps entries in `table`.
    #[must_use]
    pub fn new(table: Arc<dyn AuditTable>, clock: Arc<dyn Clock>) -> Self {
        Self { table, clock }
    }

    /// Notes what `captain` is about to do.
    ///
    /// # Errors
    /// The database's; then the change must not be made.
    pub async fn note(
        &self,
        captain: &Captain,
        action: &str,
        subject: &str,
        detail: &str,
    ) -> Result<(), TableError> {
        let entry = Entry {
            seq: 0,
            at: self.clock.now().trunc_subsecs(3),
            actor: captain.session.did.to_string(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail: detail.chars().take(MAX_DETAIL).collect(),
            hash: [0; 32],
        };
        let entry = self.table.append(entry, seal).await?;
        metrics::counter!(CHANGES, "action" => entry.action.clone()).increment(1);
        tracing::info!(
            seq = entry.seq,
            actor = entry.actor,
            action = entry.action,
            subject = entry.subject,
            detail = entry.detail,
            "changed on the admin site"
        );
        Ok(())
    }

    /// A page of the log, the newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn page(&self, below: Option<u64>, limit: u32) -> Result<Vec<Entry>, TableError> {
        self.table.newest(below, limit).await
    }

    /// Checks every entry.
    ///
    /// # Errors
    /// The database's.
    pub async fn verify(&self) -> Result<Verdict, TableError> {
        let (mut seq, mut before) = (0, [0; 32]);
        loop {
            let entries = self.table.oldest(seq, CHECKED_AT_ONCE).await?;
            if entries.is_empty() {
                return Ok(Verdict::Whole {
                    entries: seq,
                    head: if seq == 0 { String::new() } else { hex(&before) },
                });
            }
            for entry in entries {
                if entry.seq != seq + 1 || entry.hash != hash(&before, &entry) {
                    return Ok(Verdict::Broken { at: seq + 1 });
                }
                (seq, before) = (entry.seq, entry.hash);
            }
        }
    }
}

fn seal(last: Option<&Entry>, mut entry: Entry) -> Entry {
    let before = last.map_or([0; 32], |last| last.hash);
    entry.seq = last.map_or(0, |last| last.seq) + 1;
    entry.hash = hash(&before, &entry);
    entry
}

/// A hash as people compare it.
#[must_use]
pub fn hex(hash: &Hash) -> String {
    data_encoding::HEXLOWER.encode(hash)
}
