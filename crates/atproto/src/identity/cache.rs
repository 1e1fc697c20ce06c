//! Values that expire, each resolved by one caller at a time.

use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use moka::future::Cache;
use moka::ops::compute::Op;

use crate::clock::Clock;

/// A bounded cache whose values carry their own expiry, judged by the [`Clock`] port.
///
/// Concurrent callers that miss the same key wait for one look-up; if it fails they share its error, and nothing is
/// stored. If the caller that looks up is dropped, one of the waiting ones takes over.
pub struct ExpiringCache<K, V> {
    entries: Cache<K, Entry<V>>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Entry<V> {
    value: V,
    expires_at: DateTime<Utc>,
}

impl<K, V> ExpiringCache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// A cache of at most `capacity` values. `longest` bounds the life of a value by elapsed time as well, should the
    /// clock be set back.
    #[must_use]
    pub fn new(capacity: u64, longest: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            entries: Cache::builder()
                .max_capacity(capacity)
                .time_to_live(longest)
                .build(),
            clock,
        }
    }

    /// The value of `key`, unless absent or expired.
    pub async fn get(&self, key: &K) -> Option<V> {
        let entry = self.entries.get(key).await?;
        (entry.expires_at > self.clock.now()).then_some(entry.value)
    }

    /// The value of `key`, looked up by `init` if absent or expired. `init` gives the value and the instant from which
    /// it is no longer served; a value with an instant in the past goes to the callers that wait now and to no later ones.
    ///
    /// # Errors
    /// The error of `init`, shared by every caller that waited for it.
    pub async fn get_or_try_insert<E>(
        &self,
        key: &K,
        init: impl Future<Output = Result<(V, DateTime<Utc>), E>>,
    ) -> Result<V, Arc<E>>
    where
        E: Send + Sync + 'static,
    {
        if let Some(value) = self.get(key).await {
            return Ok(value);
        }
        self.remove_if_expired(key).await;
        let init = async { init.await.map(|(value, expires_at)| Entry { value, expires_at }) };
        Ok(self.entries.try_get_with_by_ref(key, init).await?.value)
    }

    /// Stores a value and replaces an existing one.
    pub async fn insert(&self, key: K, value: V, expires_at: DateTime<Utc>) {
        self.entries.insert(key, Entry { value, expires_at }).await;
    }

    /// Forgets `key`. A look-up already under way may still store its result.
    pub async fn invalidate(&self, key: &K) {
        self.entries.invalidate(key).await;
    }

    /// Removes the entry only if it is still the expired one, not what another caller stored meanwhile.
    async fn remove_if_expired(&self, key: &K) {
        let now = self.clock.now();
        self.entries
            .entry_by_ref(key)
            .and_compute_with(|entry| {
                let expired = entry.is_some_and(|entry| entry.into_value().expires_at <= now);
                std::future::ready(if expired { Op::Remove } else { Op::Nop })
            })
            .await;
    }
}

impl<K, V> fmt::Debug for ExpiringCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpiringCache").finish_non_exhaustive()
    }
}
