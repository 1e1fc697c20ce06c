//! [`SignInFlow`] over the OAuth client: what comes of a sign-in at the account's server.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::{AuthMethod, Principal};
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use url::Url;

use super::account_sign_in::AccountSignIn;
use super::ports::Crew;
use super::renewal::OAuthSessions;
use super::{BrowserBinding, CallbackQuery, FinishedSignIn, FlowStart, OAuthFlowError, SignInFlow};
use crate::error::SessionError;
use crate::ports::SessionSource;
use crate::profile::Profiles;

/// Making a new sailor crew, in logs and metrics.
const JOIN_CREW: Task = Task::new("join_crew");

/// What the flow works with.
pub struct FlowParts {
    /// The way to the account's server and back.
    pub accounts: AccountSignIn,
    /// What comes of sign-ins.
    pub sessions: OAuthSessions,
    /// Profiles of new sailors.
    pub profiles: Arc<Profiles>,
    /// The hold they will push to.
    pub crew: Arc<dyn Crew>,
    /// Runs what the caller does not wait for.
    pub shutdown: Shutdown,
}

/// Signing in through the account's own server.
pub struct OAuthFlow(FlowParts);

impl OAuthFlow {
    /// A flow over `parts`.
    #[must_use]
    pub fn new(parts: FlowParts) -> Self {
        Self(parts)
    }

    /// What a finished sign-in sets off. None of it can fail the sign-in.
    async fn welcome(&self, did: &Did) -> Option<String> {
        let sailor = self.0.accounts.identities.resolve_did(did).await.ok()?;
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
        let sailor = self.0.accounts.resolve(name).await?;
        self.0.accounts.begin(&sailor, name, start).await
    }

    #[tracing::instrument(name = "oauth.sign_in.finish", skip_all)]
    async fn finish(
        &self,
        callback: CallbackQuery,
        browser: &BrowserBinding,
    ) -> Result<FinishedSignIn, OAuthFlowError> {
        let (session, return_to) = self.0.accounts.finish(callback, browser).await?;
        let did = session.did.clone();
        self.0.sessions.keep(session).await?;
        tracing::info!(%did, "signed in");
        Ok(FinishedSignIn {
            handle: self.welcome(&did).await,
            did,
            return_to,
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

impl std::fmt::Debug for OAuthFlow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OAuthFlow").finish_non_exhaustive()
    }
}
