//! Signing out.
//!
//! Browsers and devices of an account share its one OAuth session. It is ended at the account's server when the last of them
//! signs out, not before: signing out of a browser must not stop a machine that pushes at night. Browsers that expire and devices
//! that never fetch an approval do not sign out; a sweep ends the sessions that they leave.

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::syntax::Did;
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use secrecy::SecretString;

use super::app_password::AppPasswords;
use super::devices::Devices;
use super::oauth::{OAuthFlowError, SignInFlow};
use super::refresh_token::RefreshTokens;
use super::web_session::WebSessions;
use crate::error::SessionError;

/// The task, in logs and metrics.
const SWEEP: Task = Task::new("end_unused_sessions");

/// Pause between two sweeps.
const PAUSE: Duration = Duration::from_mins(10);

/// Ends what a caller leaves.
#[derive(Clone)]
pub struct SignOut {
    browsers: WebSessions,
    devices: Arc<Devices>,
    flow: Arc<dyn SignInFlow>,
    app_passwords: Arc<AppPasswords>,
    refresh_tokens: Arc<RefreshTokens>,
}

/// What signing out ends.
pub struct SignOutParts {
    /// Browsers.
    pub browsers: WebSessions,
    /// Devices.
    pub devices: Arc<Devices>,
    /// The OAuth sessions behind both.
    pub flow: Arc<dyn SignInFlow>,
    /// Sessions that app passwords gave.
    pub app_passwords: Arc<AppPasswords>,
    /// What clients keep instead of an app password.
    pub refresh_tokens: Arc<RefreshTokens>,
}

/// What a browser's leaving has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Other browsers or devices, and so the account's session.
    Others,
    /// Nothing.
    Nothing,
}

impl SignOut {
    /// Ends what is in `parts`.
    #[must_use]
    pub fn new(parts: SignOutParts) -> Self {
        Self {
            browsers: parts.browsers,
            devices: parts.devices,
            flow: parts.flow,
            app_passwords: parts.app_passwords,
            refresh_tokens: parts.refresh_tokens,
        }
    }

    /// Signs the browser with `token`, of `did`, out.
    ///
    /// # Errors
    /// The database's.
    pub async fn browser(&self, did: &Did, token: &SecretString) -> Result<Left, SessionError> {
        self.browsers.close(token).await?;
        self.end_if_unused(did).await
    }

    /// Signs the device `id` of `did` out.
    ///
    /// # Returns
    /// Whether there was one.
    ///
    /// # Errors
    /// The database's.
    pub async fn device(&self, did: &Did, id: &str) -> Result<bool, SessionError> {
        let is_gone = self.devices.revoke(did, id).await?;
        self.end_if_unused(did).await?;
        Ok(is_gone)
    }

    /// Signs the device with this secret out, if there is one.
    ///
    /// # Errors
    /// The database's.
    pub async fn device_secret(&self, secret: &SecretString) -> Result<(), SessionError> {
        if let Some(did) = self.devices.revoke_secret(secret).await? {
            self.end_if_unused(&did).await?;
        }
        Ok(())
    }

    /// Signs every browser and device of `did` out and ends every refresh token and both of its sessions with its server. All is
    /// forgotten here before a server is asked.
    ///
    /// Registry tokens that are out live on for their five minutes. They can read, as anyone can; what writes needs a session.
    ///
    /// # Errors
    /// The database's.
    pub async fn everything(&self, did: &Did) -> Result<(), SessionError> {
        self.devices.revoke_all(did).await?;
        self.browsers.close_all(did).await?;
        self.refresh_tokens.revoke_all(did).await?;
        let (oauth, app_password) = tokio::join!(self.end(did), self.app_passwords.end(did));
        oauth.and(app_password)
    }

    /// Ends the sessions that are no longer in use, every ten minutes until the soft shutdown.
    pub fn start_sweeping(&self, shutdown: &Shutdown) {
        let flow = Arc::clone(&self.flow);
        SWEEP.every_from(PAUSE, PAUSE, shutdown, move || {
            let flow = Arc::clone(&flow);
            async move {
                let ended = flow.end_unused().await?;
                if ended > 0 {
                    tracing::info!(ended, "ended sessions that are not in use");
                }
                Ok::<_, OAuthFlowError>(())
            }
        });
    }

    async fn end_if_unused(&self, did: &Did) -> Result<Left, SessionError> {
        if self.browsers.any(did).await? || self.devices.any(did).await? {
            return Ok(Left::Others);
        }
        self.end(did).await?;
        Ok(Left::Nothing)
    }

    async fn end(&self, did: &Did) -> Result<(), SessionError> {
        match self.flow.end(did).await {
            Ok(()) => Ok(()),
            Err(OAuthFlowError::Internal(error)) => Err(error),
            Err(error) => Err(SessionError::Internal {
                what: error.to_string(),
            }),
        }
    }
}

impl std::fmt::Debug for SignOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignOut").finish_non_exhaustive()
    }
}
