//! What the hold has promised of each blob: whether it may count on it.
//!
//! ```text
//! live (no entry) ── nothing names it ──► condemned ── grace, second reading ──► leaving ── removed ──► absent
//!    ▲                                        │                                     └── failed ── held ──► live
//!    └── any promise, upload, name, undo ─────┘
//! ```
//! A client that is told "exists" sends nothing, and names the blob in a manifest on another server much later. So the answer
//! lifts a condemnation before it is given, and a blob that is leaving does not exist any more, whatever the store has. It can
//! be read for as long as the store has it.
//! A live blob costs one look into memory.
//!
//! # Ordering
//! Every change takes `changing`, and goes on to its end when whoever asked for it leaves. A condemnation changes the entry first and
//! then its row, all others the row first: when a row was perhaps written, a promise goes on to ask for it. A promise that finds no
//! entry needs nothing: a condemnation that comes later is carried out only by a reading that begins longer after it than a push takes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use atcr_oci::Digest;
use tokio::sync::Mutex;

use super::SessionsError;

/// Promises that lift a condemnation before a client is told to send the blob: who cannot write must not keep garbage for ever.
const MAX_TOUCHES: u32 = 3;

/// Why somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client wants to know whether it has to send the blob.
    Exists,
    /// Somebody wants to know what there is, and does not count on it.
    Look,
    /// A client wants its bytes.
    Read,
    /// A client has sent the bytes, or a manifest names them.
    Kept,
}

/// What came of a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promised {
    /// What the store has may be counted on.
    Yes,
    /// The blob is about to go: for whoever asks, it is not there.
    No,
}

/// A blob that nothing names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condemned {
    /// The hold's uptime when it was condemned, in seconds.
    pub since: u64,
    /// The run that did it.
    pub run: i64,
    /// Promises that lifted earlier condemnations since anything named it.
    pub touches: u32,
}

/// Where a blob stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing names it; it can be read.
    Condemned(Condemned),
    /// The store is, was or will be asked to remove it, and an answer may come late until the uptime given, if one is.
    Leaving(Option<u64>),
}

/// The table behind the standings.
#[async_trait]
pub trait StandingTable: fmt::Debug + Send + Sync {
    /// Every blob that is condemned or leaving.
    ///
    /// # Errors
    /// The table's, as in every method here.
    async fn load(&self) -> Result<Vec<(Digest, Standing)>, SessionsError>;

    /// Condemns live blobs, whatever a row that an earlier failure left says of them. Returns each with what it is now.
    async fn condemn(
        &self,
        digests: &[Digest],
        since: u64,
        run: i64,
    ) -> Result<Vec<(Digest, Condemned)>, SessionsError>;

    /// Lifts a condemnation, and counts it as a touch or forgets the touches.
    async fn lift(&self, digest: &Digest, is_touch: bool) -> Result<(), SessionsError>;

    /// Lifts every condemnation of a run that still stands.
    async fn lift_run(&self, run: i64) -> Result<Vec<Digest>, SessionsError>;

    /// Marks condemned blobs as leaving, and returns those that were still condemned since the given times. Survives a power failure.
    async fn leave(&self, digests: &[(Digest, u64)]) -> Result<Vec<Digest>, SessionsError>;

    /// Forgets blobs that are gone, or no longer leaving.
    async fn forget(&self, digests: &[Digest]) -> Result<(), SessionsError>;
}

/// Where each blob stands. Clones share it. Without a table nothing is ever condemned.
#[derive(Clone, Debug, Default)]
pub struct Standings {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    table: Option<Arc<dyn StandingTable>>,
    entries: RwLock<HashMap<Digest, Standing>>,
    changing: Mutex<()>,
}

impl Standings {
    /// The standings in `table`. Blobs that were leaving when the process ended are leaving until the uptime `held_until`.
    ///
    /// # Errors
    /// The table's.
    pub async fn open(table: Arc<dyn StandingTable>, held_until: u64) -> Result<Self, SessionsError> {
        let mut entries: HashMap<_, _> = table.load().await?.into_iter().collect();
        for standing in entries.values_mut() {
            if let Standing::Leaving(until) = standing {
                *until = Some(held_until);
            }
        }
        Ok(Self {
            shared: Arc::new(Shared {
                table: Some(table),
                entries: RwLock::new(entries),
                changing: Mutex::default(),
            }),
        })
    }

    /// Where a blob stands; `None` if it is live.
    #[must_use]
    pub fn of(&self, digest: &Digest) -> Option<Standing> {
        let entries = self.shared.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(digest).copied()
    }

    /// All blobs that are not live.
    #[must_use]
    pub fn all(&self) -> Vec<(Digest, Standing)> {
        let entries = self.shared.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries
            .iter()
            .map(|(digest, standing)| (digest.clone(), *standing))
            .collect()
    }

    /// Promises a blob: lifts its condemnation. To be asked **before** the store is.
    ///
    /// # Errors
    /// The table's; nothing is promised.
    ///
    /// # Cancel safety
    /// Dropped, the condemnation may be lifted.
    pub async fn promise(&self, digest: &Digest, purpose: Purpose) -> Result<Promised, SessionsError> {
        let (Some(_), Some(table)) = (self.of(digest), self.table()) else {
            return Ok(Promised::Yes);
        };
        let (standings, digest) = (self.clone(), digest.clone());
        to_its_end(async move {
            let _changing = standings.shared.changing.lock().await;
            match (standings.of(&digest), purpose) {
                (None, _) | (Some(Standing::Condemned(_)), Purpose::Look) => Ok(Promised::Yes),
                // Not a promise: what the store still has can be read.
                (Some(Standing::Leaving(_)), Purpose::Read) => Ok(Promised::Yes),
                (Some(Standing::Leaving(_)), _) => Ok(Promised::No),
                (Some(Standing::Condemned(at)), Purpose::Exists) if at.touches >= MAX_TOUCHES => {
                    Ok(Promised::No)
                }
                // Reading goes on for as long as there is anything to read, but keeps it no longer.
                (Some(Standing::Condemned(at)), Purpose::Read) if at.touches >= MAX_TOUCHES => {
                    Ok(Promised::Yes)
                }
                (Some(Standing::Condemned(_)), _) => {
                    table.lift(&digest, purpose != Purpose::Kept).await?;
                    standings.set(&digest, None);
                    if purpose != Purpose::Kept {
                        tracing::info!(%digest, ?purpose, "a blob that nothing names was asked for; it stays for now");
                    }
                    Ok(Promised::Yes)
                }
            }
        })
        .await
    }

    /// Condemns blobs since the uptime `now`, which is asked when no promise can overlook it any more; one that is condemned or leaving
    /// stays as it is.
    ///
    /// # Errors
    /// The table's. The blobs are condemned all the same, so that promises look at their rows, but perhaps not after a restart.
    pub(crate) async fn condemn(
        &self,
        digests: &[Digest],
        now: impl Fn() -> u64 + Send + 'static,
        run: i64,
    ) -> Result<(), SessionsError> {
        let Some(table) = self.table() else {
            return Ok(());
        };
        let (standings, mut digests) = (self.clone(), digests.to_vec());
        to_its_end(async move {
            let _changing = standings.shared.changing.lock().await;
            digests.retain(|digest| standings.of(digest).is_none());
            let set = |since| {
                let touches = 0;
                for digest in &digests {
                    let condemned = Condemned { since, run, touches };
                    standings.set(digest, Some(Standing::Condemned(condemned)));
                }
            };
            // Promises that found no entry were given before this.
            set(now());
            let since = now();
            set(since);
            for (digest, condemned) in table.condemn(&digests, since, run).await? {
                standings.set(&digest, Some(Standing::Condemned(condemned)));
            }
            Ok(())
        })
        .await
    }

    /// Lifts what a run condemned, as far as it still stands.
    ///
    /// # Errors
    /// The table's.
    pub(crate) async fn lift_run(&self, run: i64) -> Result<Vec<Digest>, SessionsError> {
        let Some(table) = self.table() else {
            return Ok(Vec::new());
        };
        let standings = self.clone();
        to_its_end(async move {
            let _changing = standings.shared.changing.lock().await;
            let lifted = table.lift_run(run).await?;
            for digest in &lifted {
                standings.set(digest, None);
            }
            Ok(lifted)
        })
        .await
    }

    /// Takes blobs away from promises, of those that are still condemned since the times given. Only these may be removed from the store,
    /// since the row survives a power failure. Each has to be [forgotten](Self::forget) or [held](Self::hold) afterwards.
    ///
    /// # Errors
    /// The table's: nothing may be removed.
    pub(crate) async fn leave(&self, digests: &[(Digest, u64)]) -> Result<Vec<Digest>, SessionsError> {
        let Some(table) = self.table() else {
            return Ok(Vec::new());
        };
        let (standings, digests) = (self.clone(), digests.to_vec());
        to_its_end(async move {
            let _changing = standings.shared.changing.lock().await;
            let leaving = table.leave(&digests).await?;
            for digest in &leaving {
                standings.set(digest, Some(Standing::Leaving(None)));
            }
            for (digest, since) in digests {
                let is_left_behind = matches!(
                    standings.of(&digest), Some(Standing::Condemned(at)) if at.since == since
                );
                // Its row says something else, since a change failed. It is live until it is condemned again.
                if is_left_behind && table.lift(&digest, false).await.is_ok() {
                    standings.set(&digest, None);
                }
            }
            Ok(leaving)
        })
        .await
    }

    /// Keeps those of the blobs that are leaving, and are not forgotten yet, away from promises until the uptime `until`: their removal
    /// failed, and may still come to effect.
    pub(crate) fn hold(&self, digests: &[Digest], until: u64) {
        for digest in digests {
            // Nobody else changes what is leaving.
            if self.of(digest) == Some(Standing::Leaving(None)) {
                self.set(digest, Some(Standing::Leaving(Some(until))));
            }
        }
    }

    /// Forgets blobs that are gone from the store.
    ///
    /// # Errors
    /// The table's.
    pub(crate) async fn forget(&self, digests: &[Digest]) -> Result<(), SessionsError> {
        let Some(table) = self.table() else {
            return Ok(());
        };
        let (standings, digests) = (self.clone(), digests.to_vec());
        to_its_end(async move {
            let _changing = standings.shared.changing.lock().await;
            table.forget(&digests).await?;
            for digest in &digests {
                standings.set(digest, None);
            }
            Ok(())
        })
        .await
    }

    /// Gives blobs back to promises whose removal failed and cannot come to effect any more at the uptime `now`.
    ///
    /// # Errors
    /// The table's.
    pub(crate) async fn release_held(&self, now: u64) -> Result<(), SessionsError> {
        let is_over = |standing| matches!(standing, Standing::Leaving(Some(until)) if until <= now);
        let over: Vec<_> = self
            .all()
            .into_iter()
            .filter(|(_, standing)| is_over(*standing))
            .map(|(digest, _)| digest)
            .collect();
        if over.is_empty() {
            return Ok(());
        }
        self.forget(&over).await
    }

    fn table(&self) -> Option<Arc<dyn StandingTable>> {
        self.shared.table.clone()
    }

    fn set(&self, digest: &Digest, standing: Option<Standing>) {
        let mut entries = self
            .shared
            .entries
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match standing {
            Some(standing) => entries.insert(digest.clone(), standing),
            None => entries.remove(digest),
        };
    }
}

/// Does a step of which a part must not be left out, also when its caller leaves.
async fn to_its_end<T: Send + 'static>(
    step: impl Future<Output = Result<T, SessionsError>> + Send + 'static,
) -> Result<T, SessionsError> {
    match tokio::spawn(step).await {
        Ok(outcome) => outcome,
        Err(error) => Err(SessionsError::Database(Box::new(error))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use atcr_oci::Algorithm;

    use super::*;

    /// Remembers since when the last one was condemned.
    #[derive(Debug, Default)]
    struct Since(AtomicU64);

    #[async_trait]
    impl StandingTable for Since {
        async fn load(&self) -> Result<Vec<(Digest, Standing)>, SessionsError> {
            Ok(Vec::new())
        }

        async fn condemn(
            &self,
            digests: &[Digest],
            since: u64,
            run: i64,
        ) -> Result<Vec<(Digest, Condemned)>, SessionsError> {
            self.0.store(since, Ordering::SeqCst);
            let touches = 0;
            let condemned = Condemned { since, run, touches };
            Ok(digests.iter().map(|digest| (digest.clone(), condemned)).collect())
        }

        async fn lift(&self, _: &Digest, _: bool) -> Result<(), SessionsError> {
            Ok(())
        }

        async fn lift_run(&self, _: i64) -> Result<Vec<Digest>, SessionsError> {
            Ok(Vec::new())
        }

        async fn leave(&self, _: &[(Digest, u64)]) -> Result<Vec<Digest>, SessionsError> {
            Ok(Vec::new())
        }

        async fn forget(&self, _: &[Digest]) -> Result<(), SessionsError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_blob_is_condemned_since_no_promise_can_overlook_it() {
        let table = Arc::new(Since::default());
        let standings = Standings::open(table.clone(), 0).await.expect("opens");
        let uptime = Arc::new(AtomicU64::new(1));
        let digest = Digest::of(Algorithm::Sha256, b"blob");
        let blobs = [digest.clone()];
        let (asked, overlooked) = (uptime.clone(), standings.clone());
        let now = move || {
            if overlooked.of(&digest).is_none() {
                // A promise is given at the last moment.
                asked.fetch_add(1, Ordering::SeqCst);
            }
            asked.load(Ordering::SeqCst)
        };
        let changing = standings.shared.changing.lock().await;
        let mut condemning = Box::pin(standings.condemn(&blobs, now, 7));
        assert!(futures_util::poll!(condemning.as_mut()).is_pending());
        // Promises are given while it waits for its turn.
        uptime.store(10, Ordering::SeqCst);
        drop(changing);
        condemning.await.expect("condemned");
        assert_eq!(table.0.load(Ordering::SeqCst), 11);
        let Some(Standing::Condemned(condemned)) = standings.of(&blobs[0]) else {
            panic!("it is condemned");
        };
        assert_eq!(condemned.since, 11);
    }
}
