//! The time port, and identifiers made from time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

use crate::syntax::{Datetime, Tid};

/// Where the current time comes from. Passed around as `Arc<dyn Clock>`; tests substitute a clock that stands still.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The current instant. Not monotonic: the host's clock may be set back.
    fn now(&self) -> DateTime<Utc>;

    /// Microseconds since 1970; 0 for a clock that stands before it.
    fn now_micros(&self) -> u64 {
        u64::try_from(self.now().timestamp_micros()).unwrap_or(0)
    }

    /// The current instant as a record field, with milliseconds.
    fn now_datetime(&self) -> Datetime {
        Datetime::new(self.now())
    }
}

/// The host's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one adapter behind the Clock port"
    )]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// The instant that a peer names in Unix seconds, clamped to the calendar's first or last instant.
#[must_use]
pub fn instant(unix_seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(unix_seconds, 0).unwrap_or(if unix_seconds < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    })
}

/// `at` moved by `by`, which may be negative, clamped to the calendar. `at + by` would panic beyond it, so use this for times
/// that a peer names.
#[must_use]
pub fn moved(at: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    at.checked_add_signed(by).unwrap_or(if by < TimeDelta::zero() {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    })
}

/// Source of [`Tid`]s that only ever grow, even if the clock goes back.
///
/// Concurrent callers each get a value of their own. Two sources that may run at once (two processes, say) must differ
/// in their clock id; a random one makes a collision improbable, not impossible.
///
/// # Spec
/// atproto TID: 53 bits of microseconds since 1970, 10 bits of clock id, sortable base32.
#[derive(Debug)]
pub struct TidClock {
    clock: Arc<dyn Clock>,
    clock_id: u16,
    last_micros: AtomicU64,
}

impl TidClock {
    /// A source with a random clock id.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_clock_id(clock, rand::random())
    }

    /// A source with the given clock id, of which the low 10 bits are used.
    #[must_use]
    pub fn with_clock_id(clock: Arc<dyn Clock>, clock_id: u16) -> Self {
        Self {
            clock,
            clock_id: clock_id & Tid::MAX_CLOCK_ID,
            last_micros: AtomicU64::new(0),
        }
    }

    /// Makes every later TID greater than `tid`: call it at start with the newest TID already in use (a repository's
    /// `rev`), so that a clock set back while the process was down cannot produce an older one.
    pub fn advance_past(&self, tid: &Tid) {
        self.last_micros.fetch_max(tid.micros(), Ordering::SeqCst);
    }

    /// The next TID: now, or one microsecond after the previous one if the clock has not moved on.
    pub fn next_tid(&self) -> Tid {
        let now = self.clock.now_micros();
        let mut last = self.last_micros.load(Ordering::SeqCst);
        loop {
            let candidate = now.max(last + 1);
            match self
                .last_micros
                .compare_exchange_weak(last, candidate, Ordering::SeqCst, Ordering::SeqCst)
            {
                Ok(_) => return Tid::from_parts(candidate, self.clock_id),
                Err(seen) => last = seen,
            }
        }
    }
}

#[cfg(any(test, feature = "test-util"))]
mod manual;

#[cfg(any(test, feature = "test-util"))]
pub use manual::ManualClock;

#[cfg(test)]
mod tests;
