//! Sessions in memory, so that not every request reads the database.
//!
//! What a read brings may be older than what was written or deleted while it was under way; it is remembered only if nothing was.

use std::sync::{Arc, Mutex, PoisonError};

use atcr_atproto::dpop::DpopProver;
use atcr_atproto::syntax::Did;
use atcr_auth::oauth::OAuthSession;

/// Sessions kept in memory; the others are read from the database when they are needed.
const CAPACITY: u64 = 10_000;

/// A session and what proves possession of its key.
pub(super) struct Live {
    pub(super) session: OAuthSession,
    /// Which of its account's sessions the database has.
    pub(super) version: i64,
    /// False: the database still has the session at `version`, whose refresh token is spent, and this one takes its place there.
    pub(super) is_written: bool,
    pub(super) prover: DpopProver,
}

/// How much had changed when a read began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(u64);

/// The sessions in memory.
pub(super) struct LiveSessions {
    known: moka::sync::Cache<Did, Arc<Live>>,
    /// Counts the changes of this process to any session: a read that another account's change spoils is merely made again.
    changes: Mutex<u64>,
}

impl Default for LiveSessions {
    fn default() -> Self {
        Self {
            known: moka::sync::Cache::new(CAPACITY),
            changes: Mutex::new(0),
        }
    }
}

impl LiveSessions {
    pub(super) fn get(&self, did: &Did) -> Option<Arc<Live>> {
        self.known.get(did)
    }

    /// The session of `did`, if the database does not have it yet.
    pub(super) fn unwritten(&self, did: &Did) -> Option<Arc<Live>> {
        self.get(did).filter(|live| !live.is_written)
    }

    /// Asked before a read, for [`LiveSessions::remember_read`].
    pub(super) fn generation(&self) -> Generation {
        Generation(*self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remembers what a read brought that began at `since`.
    pub(super) fn remember_read(&self, live: &Arc<Live>, since: Generation) {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if *changes == since.0 {
            self.known.insert(live.session.did.clone(), Arc::clone(live));
        }
    }

    /// Remembers what this process made.
    pub(super) fn remember(&self, live: Live) -> Arc<Live> {
        let live = Arc::new(live);
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes += 1;
        self.known.insert(live.session.did.clone(), Arc::clone(&live));
        live
    }

    /// Forgets the session of `did`, also for reads that are under way.
    pub(super) fn forget(&self, did: &Did) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes += 1;
        self.known.invalidate(did);
    }
}
