//! A cache of sessions, so that not every request reads the database.
//!
//! A read may return an older state than a write or deletion that happened meanwhile. Its result is cached only if
//! there was none.

use std::sync::{Arc, Mutex, PoisonError};

use atcr_atproto::syntax::Did;

/// Sessions kept in memory; the others are read from the database when they are needed.
const CAPACITY: u64 = 10_000;

/// A session of an account.
pub(crate) trait OfAccount: Send + Sync + 'static {
    /// The account.
    fn did(&self) -> &Did;
}

/// How much had changed when a read began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u64);

/// The sessions in memory, one per account.
pub(crate) struct LiveSessions<T> {
    known: moka::sync::Cache<Did, Arc<T>>,
    /// Counts the changes of this process to any session: a read that another account's change spoils is merely made again.
    changes: Mutex<u64>,
}

impl<T: OfAccount> Default for LiveSessions<T> {
    fn default() -> Self {
        Self {
            known: moka::sync::Cache::new(CAPACITY),
            changes: Mutex::new(0),
        }
    }
}

impl<T: OfAccount> LiveSessions<T> {
    pub(crate) fn get(&self, did: &Did) -> Option<Arc<T>> {
        self.known.get(did)
    }

    /// Asked before a read, for [`LiveSessions::remember_read`].
    pub(crate) fn generation(&self) -> Generation {
        Generation(*self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remembers what a read brought that began at `since`.
    pub(crate) fn remember_read(&self, session: &Arc<T>, since: Generation) {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if *changes == since.0 {
            self.known.insert(session.did().clone(), Arc::clone(session));
        }
    }

    /// Remembers what this process made.
    pub(crate) fn remember(&self, session: T) -> Arc<T> {
        let session = Arc::new(session);
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes += 1;
        self.known.insert(session.did().clone(), Arc::clone(&session));
        session
    }

    /// Forgets the session of `did`, also for reads that are under way.
    pub(crate) fn forget(&self, did: &Did) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes += 1;
        self.known.invalidate(did);
    }
}
