//! A sign-in of a device while it is under way: pending → approved or denied → consumed.

use std::net::IpAddr;

use atcr_atproto::syntax::Did;
use chrono::{DateTime, TimeDelta, Utc};

use super::polling::POLL_INTERVAL;
use super::{DeviceName, UserCode};

/// How long a code is good.
pub const CODE_LIFETIME: TimeDelta = TimeDelta::minutes(10);

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
}
