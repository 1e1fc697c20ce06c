//! Devices: signed in from a browser, from then on with a secret of their own.

pub mod ports;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::syntax::Did;
use atcr_auth::device::{
    Approval, Decision, DeviceCode, DeviceName, DeviceSecret, PendingDevice, Turn, UserCode,
};
use atcr_auth::principal::{AuthMethod, Principal};
use chrono::TimeDelta;
use secrecy::SecretString;

use self::ports::{Device, DeviceStore, NewSecret};
use super::ports::{PdsCredential, SessionSource, SignIn};
use super::profile::Profiles;
use super::{SignInAttempt, SignedInAs};
use crate::error::SessionError;

/// How exactly the last use of a device is kept: ten layers are ten tokens, and need not be ten writes.
const USE_PRECISION: TimeDelta = TimeDelta::minutes(1);

/// How long an account's profile counts as seen to.
const PROFILE_SEEN_FOR: Duration = Duration::from_mins(15);

/// Accounts whose profile counts as seen to, at most.
const PROFILES_SEEN: u64 = 10_000;

/// What devices work with.
pub struct DeviceParts {
    /// Keeps them.
    pub store: Arc<dyn DeviceStore>,
    /// What acts for their accounts.
    pub sessions: Arc<dyn SessionSource>,
    /// Who their accounts are.
    pub identities: Arc<dyn IdentityResolver>,
    /// Their accounts' profiles.
    pub profiles: Arc<Profiles>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The registry's host, for the sentence that says how to sign in again.
    pub host: String,
}

/// Devices and their secrets.
pub struct Devices {
    parts: DeviceParts,
    profiles_seen: moka::sync::Cache<Did, ()>,
}

/// A sign-in that began.
#[derive(Clone, Debug)]
pub struct StartedDevice {
    /// For the device.
    pub code: DeviceCode,
    /// What waits for a decision.
    pub pending: PendingDevice,
}

/// The answer to one poll.
#[derive(Clone, Debug)]
pub enum Polled {
    /// No decision yet.
    Pending,
    /// The same, and too early.
    SlowDown,
    /// Unknown, over, or consumed: all the same to the device.
    Expired,
    /// A person said no.
    Denied,
    /// A person said yes; the secret is given this once.
    Approved {
        /// What the device signs in with.
        secret: DeviceSecret,
        /// Who said so.
        approval: Approval,
    },
}

impl Devices {
    /// Devices over `parts`.
    #[must_use]
    pub fn new(parts: DeviceParts) -> Self {
        Self {
            parts,
            profiles_seen: moka::sync::Cache::builder()
                .max_capacity(PROFILES_SEEN)
                .time_to_live(PROFILE_SEEN_FOR)
                .build(),
        }
    }

    /// Begins the sign-in of a device at `address`, as far as that is known.
    ///
    /// # Errors
    /// The database's.
    pub async fn start(
        &self,
        name: DeviceName,
        address: Option<IpAddr>,
    ) -> Result<StartedDevice, SessionError> {
        // A user code that is taken is rare. Three in a row mean that something else is wrong.
        for _ in 0..3 {
            let code = DeviceCode::generate();
            let pending = PendingDevice::begin(name.clone(), address, self.parts.clock.now());
            if self.parts.store.insert_pending(&code.hash(), &pending).await? {
                tracing::info!(?address, "a device asks to be signed in");
                return Ok(StartedDevice { code, pending });
            }
        }
        Err(SessionError::Internal {
            what: "no user code is free".to_owned(),
        })
    }

    /// Takes a device's poll.
    ///
    /// # Errors
    /// The database's.
    pub async fn poll(&self, code: &DeviceCode) -> Result<Polled, SessionError> {
        let (store, now) = (&self.parts.store, self.parts.clock.now());
        let hash = code.hash();
        let Some(mut pending) = store.find_pending(&hash).await? else {
            return Ok(Polled::Expired);
        };
        match pending.poll(now) {
            Turn::Expired => Ok(Polled::Expired),
            Turn::Denied => Ok(Polled::Denied),
            turn @ (Turn::Pending | Turn::SlowDown) => {
                store.note_poll(&hash, &pending).await?;
                Ok(if turn == Turn::Pending {
                    Polled::Pending
                } else {
                    Polled::SlowDown
                })
            }
            Turn::Approved(approval) => {
                let secret = DeviceSecret::generate();
                let kept = NewSecret {
                    id: secret.id().to_owned(),
                    hash: secret.hash(),
                };
                if !store.redeem(&hash, &approval, &kept, now).await? {
                    return Ok(Polled::Expired);
                }
                tracing::info!(did = %approval.did, device.id = kept.id, "a device is signed in");
                Ok(Polled::Approved { secret, approval })
            }
        }
    }

    /// The device that waits with `code` for a decision.
    ///
    /// # Errors
    /// The database's.
    pub async fn waiting(&self, code: &UserCode) -> Result<Option<PendingDevice>, SessionError> {
        let found = self.parts.store.find_by_user_code(code).await?;
        Ok(found.filter(|pending| pending.is_open(self.parts.clock.now())))
    }

    /// Says yes or no to the device that waits with `code`.
    ///
    /// # Returns
    /// Whether there was one to decide about.
    ///
    /// # Errors
    /// The database's.
    pub async fn decide(&self, code: &UserCode, decision: Decision) -> Result<bool, SessionError> {
        self.parts
            .store
            .decide(code, &decision, self.parts.clock.now())
            .await
    }

    /// The devices of `did`, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn list(&self, did: &Did) -> Result<Vec<Device>, SessionError> {
        self.parts.store.list(did).await
    }

    /// Whether `did` has a device, or is about to have one.
    ///
    /// # Errors
    /// The database's.
    pub async fn any(&self, did: &Did) -> Result<bool, SessionError> {
        self.parts.store.any(did, self.parts.clock.now()).await
    }

    /// Signs the device `id` of `did` out.
    ///
    /// # Returns
    /// Whether there was one.
    ///
    /// # Errors
    /// The database's.
    pub async fn revoke(&self, did: &Did, id: &str) -> Result<bool, SessionError> {
        let is_gone = self.parts.store.delete(did, id).await?;
        if is_gone {
            tracing::info!(%did, device.id = id, "a device was signed out");
        }
        Ok(is_gone)
    }

    /// Signs every device of `did` out.
    ///
    /// # Errors
    /// The database's.
    pub async fn revoke_all(&self, did: &Did) -> Result<(), SessionError> {
        self.parts.store.delete_all(did).await
    }

    /// Signs the device with this secret out.
    ///
    /// # Returns
    /// Whose it was; `None` if it is no device's (any more).
    ///
    /// # Errors
    /// The database's.
    pub async fn revoke_secret(&self, secret: &SecretString) -> Result<Option<Did>, SessionError> {
        let Some(Ok(secret)) = DeviceSecret::parse(secret) else {
            return Ok(None);
        };
        let Some(device) = self.known(&secret).await? else {
            return Ok(None);
        };
        self.revoke(&device.did, &device.id).await?;
        Ok(Some(device.did))
    }

    /// Checks that the device `id` of `did` is signed in still: what it was given lives longer than that.
    ///
    /// # Errors
    /// [`SessionError::Rejected`] if it is not; the database's.
    pub async fn require(&self, did: &Did, id: &str) -> Result<(), SessionError> {
        // One probe of the key, and nothing remembered: another process on the database may be the one that signs it out.
        let found = self.parts.store.find(id).await?;
        if found.is_some_and(|known| known.device.did == *did) {
            Ok(())
        } else {
            Err(self.signed_out())
        }
    }

    fn signed_out(&self) -> SessionError {
        SessionError::rejected(format!(
            "this device is no longer signed in; run docker-credential-atcr login {}",
            self.parts.host
        ))
    }

    async fn known(&self, secret: &DeviceSecret) -> Result<Option<Device>, SessionError> {
        let found = self.parts.store.find(secret.id()).await?;
        Ok(found
            .filter(|known| secret.matches(&known.secret_hash))
            .map(|known| known.device))
    }

    /// Sees to what every sign-in sees to, at most once in a while.
    async fn welcome(&self, credential: &PdsCredential) {
        let did = &credential.did;
        // Marked before it is done, so that of ten tokens asked for at once one waits for it.
        if !self.profiles_seen.entry(did.clone()).or_insert(()).is_fresh() {
            return;
        }
        let mut mark = SeenMark {
            seen: &self.profiles_seen,
            did,
            stays: false,
        };
        if let Ok(sailor) = self.parts.identities.resolve_did(did).await {
            mark.stays = self.parts.profiles.ensure(credential, &sailor).await;
        }
    }
}

/// Takes the mark of an account back unless it is to stay: what failed, or what a client did not wait for, is tried again.
struct SeenMark<'a> {
    seen: &'a moka::sync::Cache<Did, ()>,
    did: &'a Did,
    stays: bool,
}

impl Drop for SeenMark<'_> {
    fn drop(&mut self) {
        if !self.stays {
            self.seen.invalidate(self.did);
        }
    }
}

#[async_trait]
impl SignIn for Devices {
    async fn sign_in(&self, attempt: &SignInAttempt) -> Result<Option<SignedInAs>, SessionError> {
        let secret = match DeviceSecret::parse(&attempt.password) {
            None if DeviceSecret::is_of_another_server(&attempt.password) => return Err(self.signed_out()),
            None => return Ok(None),
            Some(parsed) => parsed.map_err(|_| self.signed_out())?,
        };
        // The user name is ignored: handles change, and the secret identifies the account.
        let device = self.known(&secret).await?.ok_or_else(|| self.signed_out())?;
        let did = &device.did;
        let Some(credential) = self.parts.sessions.credential(did).await? else {
            return Err(self.parts.sessions.ended());
        };
        let principal = Principal::Sailor {
            did: did.clone(),
            auth_method: AuthMethod::OAuth,
        };
        self.welcome(&credential).await;
        let now = self.parts.clock.now();
        let address = attempt.client.own;
        let is_noted =
            device.last_address == address && device.last_used_at.is_some_and(|at| now - at < USE_PRECISION);
        if !is_noted {
            self.parts.store.note_use(&device.id, address, now).await?;
        }
        Ok(Some(SignedInAs {
            principal,
            device: Some(device.id),
        }))
    }
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devices").finish_non_exhaustive()
    }
}
