//! [`SignInFlow`] over the OAuth client: the account, its server, and the steps after the callback.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::identity::{IdentityResolver, ResolvedIdentity};
use atcr_atproto::syntax::{AtIdentifier, Did};
use atcr_auth::oauth::{Answer, OAuthClient, OAuthError, PendingSignIn};
use atcr_auth::principal::{AuthMethod, Principal};
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::ports::{Crew, OAuthRequestStore, StateHash};
use super::renewal::OAuthSessions;
use super::{BrowserBinding, CallbackQuery, FinishedSignIn, FlowStart, OAuthFlowError, SignInFlow};
use crate::error::SessionError;
use crate::ports::SessionSource;
use crate::profile::Profiles;

/// Making a new sailor crew, in logs and metrics.
const JOIN_CREW: Task = Task::new("join_crew");

/// How long a person may take at the account server.
const OPEN_FOR: TimeDelta = TimeDelta::minutes(15);

/// Longest name that is looked up, in bytes.
const MAX_NAME_LEN: usize = 512;

/// What the flow works with.
pub struct FlowParts {
    /// Speaks OAuth.
    pub client: Arc<OAuthClient>,
    /// Who is behind a name.
    pub identities: Arc<dyn IdentityResolver>,
    /// Sign-ins under way.
    pub requests: Arc<dyn OAuthRequestStore>,
    /// What comes of them.
    pub sessions: OAuthSessions,
    /// Profiles of new sailors.
    pub profiles: Arc<Profiles>,
    /// The hold they will push to.
    pub crew: Arc<dyn Crew>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Runs what the caller does not wait for.
    pub shutdown: Shutdown,
}

/// Signing in through the account's own server.
pub struct OAuthFlow(FlowParts);

/// A sign-in under way, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    return_to: String,
    /// SHA-256 of the browser's binding.
    browser: StateHash,
    sign_in: String,
}

impl OAuthFlow {
    /// A flow over `parts`.
    #[must_use]
    pub fn new(parts: FlowParts) -> Self {
        Self(parts)
    }

    async fn resolve(&self, name: &str) -> Result<Arc<ResolvedIdentity>, OAuthFlowError> {
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
        self.0.identities.resolve(&identifier).await.map_err(|error| {
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

    /// What a finished sign-in sets off. None of it can fail the sign-in.
    async fn welcome(&self, did: &Did) -> Option<String> {
        let sailor = self.0.identities.resolve_did(did).await.ok()?;
        let principal = Principal::Sailor {
            did: did.clone(),
            auth_method: AuthMethod::OAuth,
        };
        match self.0.sessions.credential(did).await {
            Ok(Some(credential)) => {
                self.0.profiles.ensure(&credential, &sailor).await;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%did, %error, "no profile was written"),
        }
        let handle = sailor.handle.as_ref().map(ToString::to_string);
        let crew = Arc::clone(&self.0.crew);
        JOIN_CREW.spawn(
            &self.0.shutdown,
            async move { crew.join(&principal, &sailor).await },
        );
        handle
    }
}

#[async_trait]
impl SignInFlow for OAuthFlow {
    #[tracing::instrument(name = "oauth.sign_in.start", skip_all)]
    async fn start(&self, name: &str, start: FlowStart) -> Result<Url, OAuthFlowError> {
        let name = bare_name(name);
        let sailor = self.resolve(&name).await?;
        let (url, sign_in) = self.0.client.begin(&sailor, &name).await.map_err(flow_error)?;
        let kept = Kept {
            return_to: start.return_to,
            browser: hash(&start.browser.0),
            sign_in: text(sign_in.to_bytes().map_err(flow_error)?)?,
        };
        let kept = serde_json::to_vec(&kept).map_err(|_| internal("a sign-in cannot be written"))?;
        let now = self.0.clock.now();
        self.0
            .requests
            .insert(&hash(sign_in.state.expose_secret()), &kept, now + OPEN_FOR, now)
            .await?;
        Ok(url)
    }

    #[tracing::instrument(name = "oauth.sign_in.finish", skip_all)]
    async fn finish(
        &self,
        callback: CallbackQuery,
        browser: &BrowserBinding,
    ) -> Result<FinishedSignIn, OAuthFlowError> {
        let state = callback.state.as_deref().ok_or(OAuthFlowError::NoSuchRequest)?;
        let kept = self
            .0
            .requests
            .take(&hash(state), self.0.clock.now())
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
        let session = self.0.client.finish(&sign_in, answer).await.map_err(flow_error)?;
        let did = session.did.clone();
        self.0.sessions.keep(session).await?;
        tracing::info!(%did, "signed in");
        Ok(FinishedSignIn {
            handle: self.welcome(&did).await,
            did,
            return_to: kept.return_to,
        })
    }

    async fn end(&self, did: &Did) -> Result<(), OAuthFlowError> {
        Ok(self.0.sessions.end(did).await?)
    }

    async fn end_unused(&self) -> Result<usize, OAuthFlowError> {
        Ok(self.0.sessions.end_unused().await?)
    }

    async fn is_live(&self, did: &Did) -> Result<bool, OAuthFlowError> {
        match self.0.sessions.credential(did).await {
            Ok(credential) => Ok(credential.is_some()),
            Err(SessionError::Ended { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// A name as people paste it: with an `@`, an `at://`, or invisible marks around it.
fn bare_name(name: &str) -> String {
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

impl std::fmt::Debug for OAuthFlow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OAuthFlow").finish_non_exhaustive()
    }
}
