//! A sign-in of a device while it is under way: pending → approved or denied → consumed.

use std::net::IpAddr;

use atcr_atproto::syntax::Did;
use chrono::{DateTime, TimeDelta, Utc};

use super::{DeviceName, UserCode};

/// How long a code is good.
pub const CODE_LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// How long a device waits between two polls, unless it was told to slow down.
pub const POLL_INTERVAL: TimeDelta = TimeDelta::seconds(5);

/// What a device that polls too fast waits longer (RFC 8628 §3.5).
const SLOW_DOWN_BY: TimeDelta = TimeDelta::seconds(5);

/// The longest such wait; a device that was slowed down this far still gets a turn before its code ends.
const MAX_INTERVAL: TimeDelta = TimeDelta::seconds(60);

/// Earlier than asked by this much is no offence: clocks and networks are not exact.
const POLL_TOLERANCE: TimeDelta = TimeDelta::milliseconds(500);

/// Who approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The account.
    pub did: Did,
    /// Its handle, if it has one that agrees with the DID.
    pub handle: Option<String>,
}

/// What a person said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet.
    Pending,
    /// Yes.
    Approved(Approval),
    /// No.
    Denied,
}

/// A device that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingDevice {
    /// What people compare.
    pub user_code: UserCode,
    /// What the device calls itself.
    pub name: DeviceName,
    /// Where it asked from, if that is known.
    pub address: Option<IpAddr>,
    /// When it asked.
    pub created_at: DateTime<Utc>,
    /// From when on the code is good for nothing.
    pub expires_at: DateTime<Utc>,
    /// What a person said.
    pub decision: Decision,
    /// How long the device has to wait between two polls.
    pub interval: TimeDelta,
    /// When it polled last.
    pub polled_at: Option<DateTime<Utc>>,
}

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
    /// A device that begins to wait.
    #[must_use]
    pub fn begin(name: DeviceName, address: Option<IpAddr>, now: DateTime<Utc>) -> Self {
        Self {
            user_code: UserCode::generate(),
            name,
            address,
            created_at: now,
            expires_at: now + CODE_LIFETIME,
            decision: Decision::Pending,
            interval: POLL_INTERVAL,
            polled_at: None,
        }
    }

    /// Whether the user may still approve or deny.
    #[must_use]
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        self.decision == Decision::Pending && now < self.expires_at
    }

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
