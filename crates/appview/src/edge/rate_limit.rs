//! How often one client may do what costs others something.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use moka::sync::Cache;

/// Clients remembered at most, per limit.
const CAPACITY: u64 = 50_000;

/// At most so many in a window, per key. The window begins with the first.
pub struct RateLimit<K> {
    limit: u32,
    window: TimeDelta,
    windows: Cache<K, Arc<Mutex<Window>>>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: DateTime<Utc>,
    count: u32,
}

/// A limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// How long to wait.
    pub retry_after: Duration,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> RateLimit<K> {
    /// `limit` in `window`.
    #[must_use]
    pub fn new(limit: u32, window: TimeDelta) -> Self {
        Self {
            limit,
            window,
            windows: Cache::new(CAPACITY),
        }
    }

    /// Counts one, if the limit leaves room for it.
    ///
    /// # Errors
    /// [`Limited`]: it is not counted, so that waiting helps.
    pub fn take(&self, key: &K, now: DateTime<Utc>) -> Result<(), Limited> {
        self.with(key, now, |window| {
            if window.count >= self.limit {
                return Err(self.limited(*window, now));
            }
            window.count += 1;
            Ok(())
        })
    }

    /// Whether the limit leaves room for one, which is not counted.
    ///
    /// # Errors
    /// [`Limited`]
    pub fn check(&self, key: &K, now: DateTime<Utc>) -> Result<(), Limited> {
        self.with(key, now, |window| {
            if window.count >= self.limit {
                Err(self.limited(*window, now))
            } else {
                Ok(())
            }
        })
    }

    fn limited(&self, window: Window, now: DateTime<Utc>) -> Limited {
        let left = (window.began + self.window - now).to_std().unwrap_or_default();
        Limited {
            retry_after: left.max(Duration::from_secs(1)),
        }
    }

    fn with<T>(&self, key: &K, now: DateTime<Utc>, then: impl FnOnce(&mut Window) -> T) -> T {
        let fresh = Window { began: now, count: 0 };
        let entry = self.windows.get_with_by_ref(key, || Arc::new(Mutex::new(fresh)));
        // A counter is whole at any point, so a panic elsewhere has not spoilt it.
        let mut window = entry.lock().unwrap_or_else(PoisonError::into_inner);
        if now - window.began >= self.window || now < window.began {
            *window = fresh;
        }
        then(&mut window)
    }
}

impl<K> std::fmt::Debug for RateLimit<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimit")
            .field("limit", &self.limit)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

/// The client that an address stands for: of IPv6 its network, since one customer has a whole one.
#[must_use]
pub fn client_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

/// The limits of pages and of the device flow, per client.
#[derive(Debug)]
pub struct Limits {
    /// Sign-ins begun: each makes us ask other servers.
    pub sign_ins: RateLimit<IpAddr>,
    /// Device codes made.
    pub device_codes: RateLimit<IpAddr>,
    /// Polls with codes that we never gave.
    pub unknown_polls: RateLimit<IpAddr>,
    /// User codes that nobody waits with, by address.
    pub code_guesses: RateLimit<IpAddr>,
    /// The same, by account.
    pub code_guesses_of_account: RateLimit<String>,
}

impl Default for Limits {
    fn default() -> Self {
        let window = TimeDelta::minutes(10);
        Self {
            sign_ins: RateLimit::new(60, window),
            device_codes: RateLimit::new(30, window),
            unknown_polls: RateLimit::new(100, window),
            // A person mistypes a few times. With the 2³⁰ codes there are, a thousand addresses guess one of a hundred open
            // codes in ten minutes with a chance of one in a thousand; and what they get is to sign a stranger's machine in.
            code_guesses: RateLimit::new(10, window),
            code_guesses_of_account: RateLimit::new(10, window),
        }
    }
}

#[cfg(test)]
mod tests;
