//! Limits on how often one client may send requests that cost other clients something.
//!
//! A limit is a number of requests in a period, per key. That many may come at once; the allowance then refills evenly over the
//! period. A key is a client's address ([`ClientAddress::key`](crate::client_address::ClientAddress::key)) or an account.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use governor::clock::{Clock, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::Rate;

/// Keys remembered per limit. Beyond that, the one that asked longest ago is forgotten.
const REMEMBERED_KEYS: u64 = 50_000;

/// Counts refusals; label `limit`.
const REFUSED: &str = "atcr_rate_limited_total";

/// A limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests; try again in {} s", crate::retry_after::whole_seconds(*retry_after))]
pub struct Limited {
    /// How long to wait until one more is allowed.
    pub retry_after: Duration,
}

/// The clock of a limit.
#[derive(Clone)]
pub struct Now(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Now {
    /// Asks `now` for the time.
    pub fn new(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }
}

/// What requests can be counted by.
pub trait Key: Hash + Eq + Clone + Send + Sync + 'static {}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Key for K {}

/// A limit per key. Clones share the counts.
#[derive(Clone)]
pub struct RateLimit<K: Key> {
    name: &'static str,
    limiter: Option<Arc<Limiter<K>>>,
}

struct Limiter<K: Key> {
    rate: RateLimiter<K, States<K>, Time, NoOpMiddleware<Duration>>,
    states: States<K>,
    time: Time,
    start: Duration,
    /// What one request takes of the allowance.
    one: Duration,
    /// Between the last of a burst and the moment from which on the burst is there again.
    tolerance: Duration,
}

impl<K: Key> RateLimit<K> {
    /// Limits each key to `rate`; an unlimited rate refuses nothing. `name` is the limit's label in the metrics.
    #[must_use]
    pub fn new(name: &'static str, rate: Rate, now: Now) -> Self {
        let limiter = rate
            .get()
            .map(|(count, per)| Arc::new(Limiter::new(count, per, now)));
        Self { name, limiter }
    }

    /// Counts one request of `key`, if the limit leaves room for it.
    ///
    /// # Errors
    /// [`Limited`]. A refused request is not counted, so that waiting helps.
    pub fn take(&self, key: &K) -> Result<(), Limited> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        limiter
            .rate
            .check_key(key)
            .map_err(|until| self.refused(until.wait_time_from(limiter.time.now())))
    }

    /// Counts `count` requests of `key`, or none if the limit leaves no room for all of them.
    ///
    /// # Errors
    /// [`Limited`]. A count beyond the limit itself never fits; it is told to wait for the whole period.
    pub fn take_many(&self, key: &K, count: NonZeroU32) -> Result<(), Limited> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        match limiter.rate.check_key_n(key, count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(self.refused(until.wait_time_from(limiter.time.now()))),
            Err(_) => Err(self.refused(limiter.tolerance.saturating_add(limiter.one))),
        }
    }

    /// Takes back one request of `key` that was counted.
    fn give_back(&self, key: &K) {
        if let Some(limiter) = &self.limiter {
            limiter.states.give_back(key, limiter.one);
        }
    }

    /// Whether the limit leaves room for one more request of `key`, which is not counted.
    ///
    /// # Errors
    /// [`Limited`]
    pub fn check(&self, key: &K) -> Result<(), Limited> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        match limiter.wait(key) {
            Duration::ZERO => Ok(()),
            wait => Err(self.refused(wait)),
        }
    }

    fn refused(&self, retry_after: Duration) -> Limited {
        metrics::counter!(REFUSED, "limit" => self.name).increment(1);
        Limited { retry_after }
    }
}

/// A limit on failures per key. Clones share the counts.
///
/// Consult it before the work that a failure costs. An attempt counts as a failure from its beginning, so that many at once cannot
/// pass the limit together, and is given back when it succeeds: callers that succeed are not counted.
#[derive(Clone, Debug)]
pub struct FailureLimit<K: Key>(RateLimit<K>);

/// Work that counts as a failure unless it succeeds. Dropping it is a failure.
#[derive(Debug)]
#[must_use = "an attempt that is dropped counts as a failure"]
pub struct Attempt<K: Key> {
    limit: FailureLimit<K>,
    key: K,
}

impl<K: Key> FailureLimit<K> {
    /// Limits the failures of each key to `rate`. `name` is the limit's label in the metrics.
    #[must_use]
    pub fn new(name: &'static str, rate: Rate, now: Now) -> Self {
        Self(RateLimit::new(name, rate, now))
    }

    /// Begins an attempt of `key`.
    ///
    /// # Errors
    /// [`Limited`] if failures, and attempts that are under way, leave no room.
    pub fn begin(&self, key: K) -> Result<Attempt<K>, Limited> {
        self.0.take(&key)?;
        Ok(Attempt {
            limit: self.clone(),
            key,
        })
    }
}

impl<K: Key> Attempt<K> {
    /// Gives the attempt back.
    pub fn succeeded(self) {
        self.limit.0.give_back(&self.key);
    }
}

impl<K: Key> Limiter<K> {
    fn new(count: NonZeroU32, per: Duration, now: Now) -> Self {
        // More than one a nanosecond is no limit; the rate's own bounds keep it from being zero otherwise.
        let one = (per / count.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(one)
            .unwrap_or_else(|| Quota::per_second(NonZeroU32::MAX))
            .allow_burst(count);
        let states = States::default();
        let time = Time(now);
        Self {
            start: time.now(),
            rate: RateLimiter::new(quota, states.clone(), time.clone()),
            states,
            time,
            one,
            tolerance: one.saturating_mul(count.get() - 1),
        }
    }

    /// How long until [`RateLimiter::check_key`] would take one more.
    fn wait(&self, key: &K) -> Duration {
        let now: Duration = self.time.now().duration_since(self.start).into();
        self.states
            .theoretical_arrival(key)
            .map(|at| at.saturating_sub(self.tolerance).saturating_sub(now))
            .unwrap_or_default()
    }
}

impl<K: Key> fmt::Debug for RateLimit<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("name", &self.name)
            .field("is_unlimited", &self.limiter.is_none())
            .finish_non_exhaustive()
    }
}

/// A limit's clock: the time since the Unix epoch.
#[derive(Clone)]
struct Time(Now);

impl Clock for Time {
    type Instant = Duration;

    fn now(&self) -> Duration {
        let since_epoch = (self.0.0)().signed_duration_since(DateTime::UNIX_EPOCH);
        since_epoch.to_std().unwrap_or_default()
    }
}

/// The counts, of as many keys as there is room for: clients choose how many keys there are.
#[derive(Clone)]
struct States<K>(Cache<K, Arc<InMemoryState>>);

impl<K: Key> Default for States<K> {
    fn default() -> Self {
        // Least recently used: a policy that keeps the popular ones would never begin to count a new one while it is full.
        Self(
            Cache::builder()
                .max_capacity(REMEMBERED_KEYS)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
        )
    }
}

impl<K: Key> States<K> {
    /// When a request would be due if all of the key's had come evenly, measured from the limit's start.
    fn theoretical_arrival(&self, key: &K) -> Option<Duration> {
        let state = self.0.get(key)?;
        let read = state.measure_and_replace(&NotKeyed::NonKey, Err::<((), Nanos), _>);
        read.err()?.map(Duration::from)
    }
}

impl<K: Key> States<K> {
    /// Moves the key's theoretical arrival back by `one`.
    fn give_back(&self, key: &K, one: Duration) {
        if let Some(state) = self.0.get(key) {
            let one = Nanos::from(one);
            // A state that is not set has nothing to give back.
            let _ = state.measure_and_replace(&NotKeyed::NonKey, |arrival| match arrival {
                Some(arrival) => Ok(((), arrival.saturating_sub(one))),
                None => Err(()),
            });
        }
    }
}

impl<K: Key> StateStore for States<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let state = self.0.get_with_by_ref(key, Arc::default);
        state.measure_and_replace(&NotKeyed::NonKey, f)
    }
}

#[cfg(test)]
mod tests;
