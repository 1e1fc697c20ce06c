//! How often a device may ask whether it was approved, and what it is told.

use chrono::{DateTime, TimeDelta, Utc};

use super::flow::{Approval, Decision, PendingDevice};

/// How long a device waits between two polls, unless it was told to slow down.
pub const POLL_INTERVAL: TimeDelta = TimeDelta::seconds(5);

/// What a device that polls too fast waits longer (RFC 8628 §3.5).
const SLOW_DOWN_BY: TimeDelta = TimeDelta::seconds(5);

/// The longest such wait; a device that was slowed down this far still gets a turn before its code ends.
const MAX_INTERVAL: TimeDelta = TimeDelta::seconds(60);

/// Earlier than asked by this much is no offence: clocks and networks are not exact.
const POLL_TOLERANCE: TimeDelta = TimeDelta::milliseconds(500);

/// The answer to one poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Ask again after the interval.
    Pending,
    /// That was too early; the interval is longer now.
    SlowDown,
    /// The code's time is over.
    Expired,
    /// A person said no.
    Denied,
    /// A person said yes: the secret may be made, once.
    Approved(Approval),
}

impl PendingDevice {
    /// Takes a poll. The caller keeps the change of `interval` and `polled_at`.
    pub fn poll(&mut self, now: DateTime<Utc>) -> Turn {
        if now >= self.expires_at {
            return Turn::Expired;
        }
        let is_early = self
            .polled_at
            .is_some_and(|last| now - last < self.interval - POLL_TOLERANCE);
        self.polled_at = Some(now);
        match &self.decision {
            Decision::Denied => Turn::Denied,
            Decision::Approved(approval) => Turn::Approved(approval.clone()),
            Decision::Pending if is_early => {
                self.interval = (self.interval + SLOW_DOWN_BY).min(MAX_INTERVAL);
                Turn::SlowDown
            }
            Decision::Pending => Turn::Pending,
        }
    }
}
