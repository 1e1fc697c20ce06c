//! Browsers that are signed in.
//!
//! A browser keeps a random token in a cookie. The database has its hash, in a row that expires regardless of the
//! browser. The row only names the account: the account's one OAuth session acts at its server.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::syntax::Did;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

use crate::error::SessionError;

/// How long a browser stays signed in.
pub const LIFETIME: TimeDelta = TimeDelta::days(30);

/// SHA-256 of a token.
pub type TokenHash = [u8; 32];

/// A browser that is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSession {
    /// Who.
    pub did: Did,
    /// The handle at sign-in, if there is one that agrees with the DID.
    pub handle: Option<String>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

/// Web sessions at rest.
#[async_trait]
pub trait WebSessionStore: Send + Sync {
    /// Keeps `session`, and drops those that ended before `now`.
    ///
    /// # Errors
    /// The database's.
    async fn insert(
        &self,
        hash: &TokenHash,
        session: &WebSession,
        now: DateTime<Utc>,
    ) -> Result<(), SessionError>;

    /// The session of a token, if it is good at `now`.
    ///
    /// # Errors
    /// The database's.
    async fn find(&self, hash: &TokenHash, now: DateTime<Utc>) -> Result<Option<WebSession>, SessionError>;

    /// Ends a session.
    ///
    /// # Errors
    /// The database's.
    async fn delete(&self, hash: &TokenHash) -> Result<(), SessionError>;

    /// Ends every session of `did`.
    ///
    /// # Errors
    /// The database's.
    async fn delete_all(&self, did: &Did) -> Result<(), SessionError>;

    /// Whether `did` has a session that is good at `now`.
    ///
    /// # Errors
    /// The database's.
    async fn any(&self, did: &Did, now: DateTime<Utc>) -> Result<bool, SessionError>;
}

/// Opens, finds and ends web sessions.
#[derive(Clone)]
pub struct WebSessions {
    store: Arc<dyn WebSessionStore>,
    clock: Arc<dyn Clock>,
}

impl WebSessions {
    /// Keeps sessions in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn WebSessionStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Signs a browser in.
    ///
    /// # Returns
    /// What the browser keeps: always a new value, so that a value planted beforehand is worth nothing.
    ///
    /// # Errors
    /// The database's.
    pub async fn open(&self, did: Did, handle: Option<String>) -> Result<SecretString, SessionError> {
        let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let now = self.clock.now();
        let session = WebSession {
            did,
            handle,
            created_at: now,
            expires_at: now + LIFETIME,
        };
        self.store.insert(&hash(&token), &session, now).await?;
        Ok(SecretString::from(token))
    }

    /// The session of what a browser keeps.
    ///
    /// # Errors
    /// The database's.
    pub async fn find(&self, token: &SecretString) -> Result<Option<WebSession>, SessionError> {
        self.store
            .find(&hash(token.expose_secret()), self.clock.now())
            .await
    }

    /// Signs a browser out.
    ///
    /// # Errors
    /// The database's.
    pub async fn close(&self, token: &SecretString) -> Result<(), SessionError> {
        self.store.delete(&hash(token.expose_secret())).await
    }

    /// Signs every browser of `did` out.
    ///
    /// # Errors
    /// The database's.
    pub async fn close_all(&self, did: &Did) -> Result<(), SessionError> {
        self.store.delete_all(did).await
    }

    /// Whether any browser of `did` is signed in.
    ///
    /// # Errors
    /// The database's.
    pub async fn any(&self, did: &Did) -> Result<bool, SessionError> {
        self.store.any(did, self.clock.now()).await
    }
}

fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

impl std::fmt::Debug for WebSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSessions").finish_non_exhaustive()
    }
}
