//! A clock that a test moves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Clock, SystemClock};

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct ManualClock(Mutex<DateTime<Utc>>);

impl ManualClock {
    /// A clock that stands at `at`.
    #[must_use]
    pub fn at(at: DateTime<Utc>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(at)))
    }

    /// A clock that stands at an instant of no importance, 2027-01-15T08:00:00Z.
    #[must_use]
    pub fn standing() -> Arc<Self> {
        Self::at(DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default())
    }

    /// A clock that stands where the host's is now, for tests beside parts that go by the host's clock.
    #[must_use]
    pub fn host() -> Arc<Self> {
        Self::at(SystemClock.now())
    }

    /// Moves it, back where `by` is negative.
    pub fn advance(&self, by: TimeDelta) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = super::moved(*now, by);
    }

    /// Moves it forward by an elapsed time.
    pub fn pass(&self, time: Duration) {
        self.advance(TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX));
    }

    /// Sets it.
    pub fn set(&self, at: DateTime<Utc>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
