//! Refresh tokens of the registry's own token endpoint: what a client may keep instead of the password.
//!
//! Only the hash of a token is kept. A token is valid while the account has a session with its PDS: after that, the client has to
//! sign in again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

use super::Sessions;
use crate::error::SessionError;

/// What a token begins with, so that a leaked one is recognised for what it is.
const PREFIX: &str = "atcr_refresh_";

/// How long a token is good: 90 days, about as long as a session with a PDS.
const LIFETIME: Duration = Duration::from_hours(90 * 24);

/// SHA-256 of a token.
pub type TokenHash = [u8; 32];

/// Refresh tokens at rest.
#[async_trait]
pub trait RefreshTokenStore: Send + Sync {
    /// Keeps a token of `principal`, a sailor, and drops tokens that expired before `now`.
    ///
    /// # Errors
    /// The database's.
    async fn insert(
        &self,
        hash: &TokenHash,
        principal: &Principal,
        expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), SessionError>;

    /// Whose token it is, if it is good at `now`.
    ///
    /// # Errors
    /// The database's.
    async fn find(&self, hash: &TokenHash, now: DateTime<Utc>) -> Result<Option<Principal>, SessionError>;

    /// Forgets every token of `did`.
    ///
    /// # Errors
    /// The database's.
    async fn delete_all(&self, did: &Did) -> Result<(), SessionError>;
}

/// Issues and redeems refresh tokens.
pub struct RefreshTokens {
    store: Arc<dyn RefreshTokenStore>,
    sessions: Sessions,
    clock: Arc<dyn Clock>,
}

impl RefreshTokens {
    /// Keeps tokens in `store`; they live no longer than the session in `sessions`.
    #[must_use]
    pub fn new(store: Arc<dyn RefreshTokenStore>, sessions: Sessions, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            sessions,
            clock,
        }
    }

    /// A new token of `principal`.
    ///
    /// # Errors
    /// The database's.
    pub async fn issue(&self, principal: &Principal) -> Result<SecretString, SessionError> {
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let now = self.clock.now();
        self.store
            .insert(&hash(&token), principal, now + LIFETIME, now)
            .await?;
        Ok(SecretString::from(token))
    }

    /// Whose token it is. The same token may be redeemed again and again.
    ///
    /// # Errors
    /// [`SessionError::Rejected`] for a token that is not good, [`SessionError::Ended`] when the session behind it
    /// is gone.
    pub async fn redeem(&self, token: &SecretString) -> Result<Principal, SessionError> {
        let principal = self
            .store
            .find(&hash(token.expose_secret()), self.clock.now())
            .await?
            .ok_or_else(|| SessionError::rejected("the refresh token is not good; sign in again"))?;
        self.sessions.credential(&principal).await?;
        Ok(principal)
    }

    /// Ends every token of `did`.
    ///
    /// # Errors
    /// The database's.
    pub async fn revoke_all(&self, did: &Did) -> Result<(), SessionError> {
        self.store.delete_all(did).await
    }
}

fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

impl std::fmt::Debug for RefreshTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefreshTokens").finish_non_exhaustive()
    }
}
