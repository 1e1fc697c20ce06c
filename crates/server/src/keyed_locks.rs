//! One lock per key, held across awaits and forgotten when it is free.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, Weak};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// The size at which the map is first searched for free locks.
const SWEEP_AT: usize = 1024;

/// Locks by key: the write lane of an account, the end of an upload.
#[derive(Debug)]
pub struct KeyedLocks<K> {
    locks: std::sync::Mutex<Locks<K>>,
}

#[derive(Debug)]
struct Locks<K> {
    by_key: HashMap<K, Weak<Mutex<()>>>,
    /// The map is swept when it reaches this size, so that the cost of a sweep is spread over as many insertions.
    sweep_at: usize,
}

impl<K> Default for KeyedLocks<K> {
    fn default() -> Self {
        Self {
            locks: std::sync::Mutex::new(Locks {
                by_key: HashMap::new(),
                sweep_at: SWEEP_AT,
            }),
        }
    }
}

impl<K: Eq + Hash> KeyedLocks<K> {
    /// Waits for the lock of `key`. Dropping the guard releases it.
    ///
    /// # Cancel safety
    /// Safe: a dropped call gives up its place in the queue.
    pub async fn lock<Q>(&self, key: &Q) -> OwnedMutexGuard<()>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        self.of(key).lock_owned().await
    }

    fn of<Q>(&self, key: &Q) -> Arc<Mutex<()>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        // The map is whole at any point, so a panic elsewhere has not spoilt it.
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.by_key.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        if locks.by_key.len() >= locks.sweep_at {
            locks.by_key.retain(|_, lock| lock.strong_count() > 0);
            locks.sweep_at = SWEEP_AT.max(2 * locks.by_key.len());
        }
        let lock = Arc::new(Mutex::new(()));
        locks.by_key.insert(key.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn the_second_holder_of_a_key_waits_and_other_keys_do_not() {
        let locks: KeyedLocks<String> = KeyedLocks::default();
        let first = locks.lock("a").await;
        assert!(locks.lock("a").now_or_never().is_none());
        assert!(locks.lock("b").now_or_never().is_some());
        drop(first);
        assert!(locks.lock("a").now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_lock_in_use_outlives_a_sweep_and_free_ones_do_not() {
        let locks: KeyedLocks<usize> = KeyedLocks::default();
        let held = locks.lock(&0).await;
        for key in 1..10 * SWEEP_AT {
            drop(locks.lock(&key).await);
        }
        assert!(locks.locks.lock().unwrap().by_key.len() <= SWEEP_AT);
        assert!(locks.lock(&0).now_or_never().is_none());
        drop(held);
    }
}
