//! Who changed what on the admin site. Each entry has a hash over itself and the hash before. The hashes have no key: whoever can write the
//! database can also make them all anew. They show that to somebody who kept a hash elsewhere, and damage that nobody intended to everybody.
//!
//! An entry is written before the change: a log that says too much is better than one that says too little. A change that then fails has a
//! second entry.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
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
/// Newest entries that every look checks. Those before were found whole at most [`BELIEVED_FOR`] ago.
const ALWAYS_CHECKED: u64 = 10_000;
/// How long the check of old entries is believed.
const BELIEVED_FOR: TimeDelta = TimeDelta::hours(1);

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
    checked: Arc<Mutex<Option<Checked>>>,
}

/// The log is whole up to an entry.
#[derive(Clone, Copy, Debug)]
struct Checked {
    seq: u64,
    hash: Hash,
    /// When the check began.
    at: DateTime<Utc>,
}

impl AuditLog {
    /// Keeps entries in `table`.
    #[must_use]
    pub fn new(table: Arc<dyn AuditTable>, clock: Arc<dyn Clock>) -> Self {
        Self {
            table,
            clock,
            checked: Arc::default(),
        }
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

    /// Checks the newest [`ALWAYS_CHECKED`] entries, and those before once an hour.
    ///
    /// # Errors
    /// The database's.
    pub async fn verify(&self) -> Result<Verdict, TableError> {
        let now = self.clock.now();
        let known = *self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.filter(|known| now - known.at < BELIEVED_FOR);
        let mut reached = known.unwrap_or(Checked {
            seq: 0,
            hash: [0; 32],
            at: now,
        });
        // Places to go on from another time: they have to be far enough from the end, which is not known yet.
        let mut places = VecDeque::from([reached]);
        loop {
            let entries = self.table.oldest(reached.seq, CHECKED_AT_ONCE).await?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                if entry.seq != reached.seq + 1 || entry.hash != hash(&reached.hash, &entry) {
                    return Ok(Verdict::Broken { at: reached.seq + 1 });
                }
                reached = Checked {
                    seq: entry.seq,
                    hash: entry.hash,
                    at: reached.at,
                };
            }
            places.push_back(reached);
            while places
                .get(1)
                .is_some_and(|next| next.seq + ALWAYS_CHECKED <= reached.seq)
            {
                places.pop_front();
            }
        }
        if let Some(place) = places.pop_front().filter(|place| place.seq > 0) {
            let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
            *checked = Some(place);
        }
        Ok(Verdict::Whole {
            entries: reached.seq,
            head: if reached.seq == 0 {
                String::new()
            } else {
                hex(&reached.hash)
            },
        })
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

#[cfg(test)]
mod tests {
    use atcr_atproto::clock::ManualClock;

    use super::*;

    /// A log of a length, one entry of which may have been changed, that counts what is read.
    #[derive(Debug, Default)]
    struct Kept {
        entries: Mutex<Vec<Entry>>,
        read: Mutex<usize>,
    }

    #[async_trait]
    impl AuditTable for Kept {
        async fn append(&self, _: Entry, _: Seal) -> Result<Entry, TableError> {
            Err(TableError::Corrupt { column: "none" })
        }

        async fn newest(&self, _: Option<u64>, _: u32) -> Result<Vec<Entry>, TableError> {
            Ok(Vec::new())
        }

        async fn oldest(&self, above: u64, limit: u32) -> Result<Vec<Entry>, TableError> {
            let entries = self.entries.lock().expect("whole");
            let found: Vec<Entry> = entries
                .iter()
                .filter(|entry| entry.seq > above)
                .take(limit as usize)
                .cloned()
                .collect();
            *self.read.lock().expect("whole") += found.len();
            Ok(found)
        }
    }

    impl Kept {
        fn grow(&self, count: usize) {
            let mut entries = self.entries.lock().expect("whole");
            for _ in 0..count {
                let entry = Entry {
                    seq: 0,
                    at: DateTime::UNIX_EPOCH,
                    actor: "did:web:captain.test".to_owned(),
                    action: "crew.add".to_owned(),
                    subject: "did:web:bob.test".to_owned(),
                    detail: String::new(),
                    hash: [0; 32],
                };
                let entry = seal(entries.last(), entry);
                entries.push(entry);
            }
        }

        fn change(&self, seq: usize) {
            self.entries.lock().expect("whole")[seq - 1].detail += "x";
        }

        fn read(&self) -> usize {
            std::mem::take(&mut self.read.lock().expect("whole"))
        }
    }

    #[tokio::test]
    async fn a_look_checks_the_newest_entries_and_old_ones_once_an_hour() {
        let (kept, clock) = (Arc::new(Kept::default()), ManualClock::host());
        let log = AuditLog::new(kept.clone(), clock.clone());
        kept.grow(25_500);
        let whole = log.verify().await.expect("read");
        assert!(matches!(whole, Verdict::Whole { entries: 25_500, .. }));
        assert_eq!(kept.read(), 25_500);
        assert_eq!(log.verify().await.expect("read"), whole);
        assert_eq!(kept.read(), 10_500);
        kept.change(20_000);
        let broken = log.verify().await.expect("read");
        assert_eq!(broken, Verdict::Broken { at: 20_000 });
        // An old one shows within the hour, also if somebody looks all the time.
        kept.change(7);
        clock.advance(TimeDelta::minutes(50));
        assert_eq!(log.verify().await.expect("read"), broken);
        clock.advance(TimeDelta::minutes(10));
        assert_eq!(log.verify().await.expect("read"), Verdict::Broken { at: 7 });
    }
}
