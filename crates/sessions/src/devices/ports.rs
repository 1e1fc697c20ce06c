//! What devices need from outside.

use std::net::IpAddr;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_auth::device::{Approval, Decision, DeviceName, PendingDevice, UserCode};
use chrono::{DateTime, Utc};

use crate::error::SessionError;

/// SHA-256 of a device code or a device's secret.
pub type SecretHash = [u8; 32];

/// A device that is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The public part of its secret.
    pub id: String,
    /// Whose it is.
    pub did: Did,
    /// What it calls itself.
    pub name: DeviceName,
    /// Where it signed in from, if that is known.
    pub address: Option<IpAddr>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it last got a token, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// From where, if that is known.
    pub last_address: Option<IpAddr>,
}

/// A device and what its secret is checked against.
#[derive(Clone, Debug)]
pub struct KnownDevice {
    /// The device.
    pub device: Device,
    /// SHA-256 of its secret.
    pub secret_hash: Vec<u8>,
}

/// A secret about to be given out.
#[derive(Clone, Debug)]
pub struct NewSecret {
    /// Its public part.
    pub id: String,
    /// Its hash.
    pub hash: SecretHash,
}

/// Devices at rest, those on their way included.
#[async_trait]
pub trait DeviceStore: Send + Sync {
    /// Keeps a device that begins to wait, and drops those whose time is over at its beginning.
    ///
    /// # Returns
    /// Whether it was kept; its user code may be another one's.
    ///
    /// # Errors
    /// The database's.
    async fn insert_pending(&self, code: &SecretHash, device: &PendingDevice) -> Result<bool, SessionError>;

    /// The device that waits with the code of this hash, over or not.
    ///
    /// # Errors
    /// The database's.
    async fn find_pending(&self, code: &SecretHash) -> Result<Option<PendingDevice>, SessionError>;

    /// The device that waits with `code`, over or not.
    ///
    /// # Errors
    /// The database's.
    async fn find_by_user_code(&self, code: &UserCode) -> Result<Option<PendingDevice>, SessionError>;

    /// Keeps when a device polled and how long it has to wait.
    ///
    /// # Errors
    /// The database's.
    async fn note_poll(&self, code: &SecretHash, device: &PendingDevice) -> Result<(), SessionError>;

    /// Keeps a decision about the device that waits with `code`.
    ///
    /// # Returns
    /// Whether one was waiting for a decision, with its time not over at `now`. Of two decisions one counts.
    ///
    /// # Errors
    /// The database's.
    async fn decide(
        &self,
        code: &UserCode,
        decision: &Decision,
        now: DateTime<Utc>,
    ) -> Result<bool, SessionError>;

    /// Turns an approved device into one that is signed in with `secret`, in one step.
    ///
    /// # Returns
    /// Whether there was one, its time not over at `now`. Of two polls one gets it.
    ///
    /// # Errors
    /// The database's.
    async fn redeem(
        &self,
        code: &SecretHash,
        approval: &Approval,
        secret: &NewSecret,
        now: DateTime<Utc>,
    ) -> Result<bool, SessionError>;

    /// The device with this id.
    ///
    /// # Errors
    /// The database's.
    async fn find(&self, id: &str) -> Result<Option<KnownDevice>, SessionError>;

    /// The devices of `did`, newest first.
    ///
    /// # Errors
    /// The database's.
    async fn list(&self, did: &Did) -> Result<Vec<Device>, SessionError>;

    /// Keeps when a device was used, and where from, as far as that is known.
    ///
    /// # Errors
    /// The database's.
    async fn note_use(
        &self,
        id: &str,
        address: Option<IpAddr>,
        now: DateTime<Utc>,
    ) -> Result<(), SessionError>;

    /// Signs the device `id` of `did` out.
    ///
    /// # Returns
    /// Whether there was one.
    ///
    /// # Errors
    /// The database's.
    async fn delete(&self, did: &Did, id: &str) -> Result<bool, SessionError>;

    /// Whether `did` has a device, or one that was approved and has not fetched its secret at `now`.
    ///
    /// # Errors
    /// The database's.
    async fn any(&self, did: &Did, now: DateTime<Utc>) -> Result<bool, SessionError>;

    /// Signs every device of `did` out, those included that were approved and have not fetched their secret.
    ///
    /// # Errors
    /// The database's.
    async fn delete_all(&self, did: &Did) -> Result<(), SessionError>;
}
