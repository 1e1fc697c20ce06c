//! The host's clock, which a test can put ahead.

use std::sync::atomic::{AtomicI64, Ordering};

use atcr_atproto::clock::{Clock, SystemClock};
use chrono::{DateTime, TimeDelta, Utc};

/// The host's time and what was added to it.
#[derive(Debug, Default)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn advance(&self, by: TimeDelta) {
        self.0.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::milliseconds(self.0.load(Ordering::SeqCst))
    }
}
