//! Which account a person has: the way to the account's own server and back, and nothing that comes of it.
//!
//! What a server does with the answer is its own: the registry keeps the session, a hold only wants to know who it is.

use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_atproto::identity::{IdentityResolver, ResolvedIdentity};
use atcr_atproto::syntax::AtIdentifier;
use atcr_auth::oauth::{Answer, OAuthClient, OAuthError, OAuthSession, PendingSignIn};
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::ports::{OAuthRequestStore, StateHash};
use super::{BrowserBinding, CallbackQuery, FlowStart, OAuthFlowError};
use crate::error::SessionError;

/// How long a person may take at the account server.
const OPEN_FOR: TimeDelta = TimeDelta::minutes(15);

/// Longest name that is looked up, in bytes.
const MAX_NAME_LEN: usize = 512;

/// What the way there and back works with.
pub struct AccountSignIn {
    /// Speaks OAuth.
    pub client: Arc<OAuthClient>,
    /// Who is behind a name.
    pub identities: Arc<dyn IdentityResolver>,
    /// Sign-ins under way.
    pub requests: Arc<dyn OAuthRequestStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// A sign-in under way, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    return_to: String,
    /// SHA-256 of the browser's binding.
    browser: StateHash,
    sign_in: String,
}

impl AccountSignIn {
    /// The account that `name` is of, a handle or a DID as people paste it.
    ///
    /// # Errors
    /// [`OAuthFlowError::UnknownAccount`], [`OAuthFlowError::ServerUnavailable`].
    pub async fn resolve(&self, name: &str) -> Result<Arc<ResolvedIdentity>, OAuthFlowError> {
        let name = &*bare_name(name);
        let unknown = |reason: String| OAuthFlowError::UnknownAccount {
            name: name.chars().take(80).collect(),
            reason,
        };
        if name.len() > MAX_NAME_LEN {
            return Err(unknown("this is too long for a handle or a DID".to_owned()));
        }
        let identifier: AtIdentifier = name
            .parse()
            .map_err(|_| unknown("write a handle, like alice.example.com, or a DID".to_owned()))?;
        self.identities.resolve(&identifier).await.map_err(|error| {
            if error.is_transient() {
                OAuthFlowError::ServerUnavailable {
                    host: identifier.to_string(),
                    reason: error.to_string(),
                }
            } else {
                unknown(error.to_string())
            }
        })
    }

    /// Announces a sign-in of `account` at its authorization server, and keeps what is needed when the browser comes back.
    /// `name` is what was typed.
    ///
    /// # Returns
    /// Where to send the browser.
    ///
    /// # Errors
    /// See [`OAuthFlowError`]; nothing is kept then.
    pub async fn begin(
        &self,
        account: &ResolvedIdentity,
        name: &str,
        start: FlowStart,
    ) -> Result<Url, OAuthFlowError> {
        let begun = self.client.begin(account, &bare_name(name)).await;
        let (url, sign_in) = begun.map_err(flow_error)?;
        let kept = Kept {
            return_to: start.return_to,
            browser: hash(&start.browser.0),
            sign_in: text(sign_in.to_bytes().map_err(flow_error)?)?,
        };
        let kept = serde_json::to_vec(&kept).map_err(|_| internal("a sign-in cannot be written"))?;
        let now = self.clock.now();
        self.requests
            .insert(&hash(sign_in.state.expose_secret()), &kept, now + OPEN_FOR, now)
            .await?;
        Ok(url)
    }

    /// Checks `callback` against the request that it answers and trades the code. A state is good once, whatever comes of it.
    ///
    /// # Returns
    /// The session with the account's server, which is the caller's to keep or to give back, and where to go.
    ///
    /// # Errors
    /// See [`OAuthFlowError`].
    ///
    /// # Security
    /// `browser` must be what [`FlowStart::browser`] was, or the callback belongs to a sign-in that another browser began.
    pub async fn finish(
        &self,
        callback: CallbackQuery,
        browser: &BrowserBinding,
    ) -> Result<(OAuthSession, String), OAuthFlowError> {
        let state = callback.state.as_deref().ok_or(OAuthFlowError::NoSuchRequest)?;
        let kept = self
            .requests
            .take(&hash(state), self.clock.now())
            .await?
            .ok_or(OAuthFlowError::NoSuchRequest)?;
        let kept: Kept =
            serde_json::from_slice(&kept).map_err(|_| internal("a stored sign-in cannot be read"))?;
        if hash(&browser.0) != kept.browser {
            return Err(OAuthFlowError::OtherBrowser);
        }
        let sign_in = PendingSignIn::from_bytes(kept.sign_in.as_bytes()).map_err(flow_error)?;
        let code = callback.code.map(SecretString::from);
        let answer = Answer {
            iss: callback.iss.as_deref(),
            code: code.as_ref(),
            error: callback.error.as_deref(),
            error_description: callback.error_description.as_deref(),
        };
        let session = self.client.finish(&sign_in, answer).await.map_err(flow_error)?;
        Ok((session, kept.return_to))
    }

    /// Revokes the tokens of `session` at its server, as far as that can be reached.
    pub async fn give_back(&self, session: &OAuthSession) {
        self.client.revoke(session).await;
    }
}

/// A name as people paste it: with an `@`, an `at://`, or invisible marks around it. Returns it without
/// these, and a handle in small letters.
#[must_use]
pub fn bare_name(name: &str) -> String {
    let is_noise = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let name = name.trim_matches(is_noise);
    let name = name.strip_prefix("at://").unwrap_or(name);
    let name = name.strip_prefix('@').unwrap_or(name);
    if name.starts_with("did:") {
        name.to_owned()
    } else {
        name.to_lowercase()
    }
}

fn hash(text: &str) -> StateHash {
    Sha256::digest(text).into()
}

fn text(bytes: Vec<u8>) -> Result<String, OAuthFlowError> {
    String::from_utf8(bytes).map_err(|_| internal("a sign-in cannot be written"))
}

fn internal(what: &str) -> OAuthFlowError {
    OAuthFlowError::Internal(SessionError::Internal {
        what: what.to_owned(),
    })
}

fn flow_error(error: OAuthError) -> OAuthFlowError {
    match error {
        OAuthError::Unavailable { host, reason, .. } => OAuthFlowError::ServerUnavailable { host, reason },
        OAuthError::Unsuitable { host, reason } => OAuthFlowError::ServerRefused { host, reason },
        OAuthError::Refused {
            host,
            error,
            description,
        } => OAuthFlowError::ServerRefused {
            host,
            reason: description.map_or_else(|| error.clone(), |text| format!("{text} ({error})")),
        },
        OAuthError::Denied { host, reason } => OAuthFlowError::Denied { host, reason },
        OAuthError::Untrusted { host, reason } => OAuthFlowError::Untrusted { host, reason },
        OAuthError::ClockSkew { host, seconds } => {
            tracing::error!(
                host,
                seconds,
                "sign-ins fail because the clock of this server is off"
            );
            OAuthFlowError::ClockSkew { host, seconds }
        }
        OAuthError::Ended { reason } => internal(&reason),
        OAuthError::Internal(what) => internal(what),
    }
}

impl std::fmt::Debug for AccountSignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountSignIn").finish_non_exhaustive()
    }
}
