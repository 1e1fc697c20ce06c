//! What a sign-in leaves behind, and what is kept while one is under way. Both hold secrets: seal what `to_bytes` gives.

use std::fmt;
use std::sync::Arc;

use atcr_atproto::dpop::DpopKey;
use atcr_atproto::syntax::Did;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::error::OAuthError;

/// A session with an account's PDS.
#[derive(Clone)]
pub struct OAuthSession {
    /// The account.
    pub did: Did,
    /// Its PDS, where the access token is good.
    pub pds: Url,
    /// The authorization server that gave the tokens.
    pub issuer: String,
    /// The `client_id` they were given to.
    pub client_id: String,
    /// The key with which that client proved who it is, as did:key; `None` of a public client, and where it was not noted.
    pub client_key: Option<String>,
    /// The scopes that were asked for.
    pub requested_scope: String,
    /// The scopes that were granted, as the server says.
    pub granted_scope: String,
    /// Authorises requests, with a proof of `dpop_key`.
    pub access_token: SecretString,
    /// Gets the next pair of tokens; works once.
    pub refresh_token: Option<SecretString>,
    /// When the access token expires, if the server says.
    pub expires_at: Option<DateTime<Utc>>,
    /// What the tokens are bound to.
    pub dpop_key: Arc<DpopKey>,
}

/// A sign-in between the redirect to the server and the way back.
#[derive(Clone)]
pub struct PendingSignIn {
    /// Names the sign-in in the redirect; a secret until then.
    pub state: SecretString,
    /// The account that must sign in; `None` accepts any account that the server signs in.
    pub did: Option<Did>,
    /// The PDS at which the sign-in began.
    pub pds: Url,
    /// The server that must answer.
    pub issuer: String,
    /// The scopes that were asked for.
    pub requested_scope: String,
    /// Proves that the client that trades the code began the sign-in.
    pub code_verifier: SecretString,
    /// What the tokens will be bound to.
    pub dpop_key: Arc<DpopKey>,
}

#[derive(Serialize, Deserialize)]
struct StoredSession {
    did: Did,
    pds: Url,
    issuer: String,
    client_id: String,
    #[serde(default)]
    client_key: Option<String>,
    requested_scope: String,
    granted_scope: String,
    access_token: String,
    refresh_token: Option<String>,
    expires_at: Option<DateTime<Utc>>,
    dpop_key: String,
}

#[derive(Serialize, Deserialize)]
struct StoredSignIn {
    state: String,
    did: Option<Did>,
    pds: Url,
    issuer: String,
    requested_scope: String,
    code_verifier: String,
    dpop_key: String,
}

const UNWRITABLE: OAuthError = OAuthError::Internal("a session cannot be written");
const UNREADABLE: OAuthError = OAuthError::Internal("a stored session cannot be read");

fn key(text: String) -> Result<Arc<DpopKey>, OAuthError> {
    DpopKey::from_multikey(&SecretString::from(text))
        .map(Arc::new)
        .map_err(|_| UNREADABLE)
}

impl OAuthSession {
    /// The whole session, including its secrets.
    ///
    /// # Errors
    /// Never in practice.
    pub fn to_bytes(&self) -> Result<Vec<u8>, OAuthError> {
        serde_json::to_vec(&StoredSession {
            did: self.did.clone(),
            pds: self.pds.clone(),
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            client_key: self.client_key.clone(),
            requested_scope: self.requested_scope.clone(),
            granted_scope: self.granted_scope.clone(),
            access_token: self.access_token.expose_secret().to_owned(),
            refresh_token: self
                .refresh_token
                .as_ref()
                .map(|token| token.expose_secret().to_owned()),
            expires_at: self.expires_at,
            dpop_key: self.dpop_key.to_multikey().expose_secret().to_owned(),
        })
        .map_err(|_| UNWRITABLE)
    }

    /// What [`OAuthSession::to_bytes`] wrote.
    ///
    /// # Errors
    /// `Internal` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OAuthError> {
        let stored: StoredSession = serde_json::from_slice(bytes).map_err(|_| UNREADABLE)?;
        Ok(Self {
            did: stored.did,
            pds: stored.pds,
            issuer: stored.issuer,
            client_id: stored.client_id,
            client_key: stored.client_key,
            requested_scope: stored.requested_scope,
            granted_scope: stored.granted_scope,
            access_token: SecretString::from(stored.access_token),
            refresh_token: stored.refresh_token.map(SecretString::from),
            expires_at: stored.expires_at,
            dpop_key: key(stored.dpop_key)?,
        })
    }
}

impl PendingSignIn {
    /// All of it, secrets included.
    ///
    /// # Errors
    /// Never in practice.
    pub fn to_bytes(&self) -> Result<Vec<u8>, OAuthError> {
        serde_json::to_vec(&StoredSignIn {
            state: self.state.expose_secret().to_owned(),
            did: self.did.clone(),
            pds: self.pds.clone(),
            issuer: self.issuer.clone(),
            requested_scope: self.requested_scope.clone(),
            code_verifier: self.code_verifier.expose_secret().to_owned(),
            dpop_key: self.dpop_key.to_multikey().expose_secret().to_owned(),
        })
        .map_err(|_| UNWRITABLE)
    }

    /// What [`PendingSignIn::to_bytes`] wrote.
    ///
    /// # Errors
    /// `Internal` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OAuthError> {
        let stored: StoredSignIn = serde_json::from_slice(bytes).map_err(|_| UNREADABLE)?;
        Ok(Self {
            state: SecretString::from(stored.state),
            did: stored.did,
            pds: stored.pds,
            issuer: stored.issuer,
            requested_scope: stored.requested_scope,
            code_verifier: SecretString::from(stored.code_verifier),
            dpop_key: key(stored.dpop_key)?,
        })
    }
}

impl fmt::Debug for OAuthSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthSession")
            .field("did", &self.did)
            .field("issuer", &self.issuer)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PendingSignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingSignIn")
            .field("did", &self.did)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
