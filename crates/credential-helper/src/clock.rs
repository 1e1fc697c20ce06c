//! Time, so that tests can hold it.

use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};

/// Time as a device flow needs it.
pub trait Clock {
    /// A point in time to measure from.
    fn now(&self) -> Instant;
    /// Waits.
    fn sleep(&self, duration: Duration);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// The time of day, RFC 3339 in UTC, in seconds.
#[must_use]
pub fn timestamp() -> String {
    DateTime::<Utc>::from(std::time::SystemTime::now()).to_rfc3339_opts(SecondsFormat::Secs, true)
}
