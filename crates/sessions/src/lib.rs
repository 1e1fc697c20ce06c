//! The identity of a caller, and the sessions that act for an account at its PDS.
//!
//! [`Sessions`] is the entry point: it asks each [`SignIn`] in turn which account a user name and password belong to, and finds
//! the [`SessionSource`] for a principal's way of signing in. A new way of signing in is one more adapter of these two ports.

pub mod app_password;
pub mod devices;
pub mod error;
mod live_sessions;
pub mod oauth;
pub mod password_attempts;
pub mod ports;
pub mod profile;
pub mod refresh_token;
pub mod sign_out;
pub mod web_session;

use std::sync::Arc;

use atcr_auth::principal::{AuthMethod, Principal};
use atcr_server::client_address::ClientAddress;
use secrecy::SecretString;

use self::ports::{PdsCredential, SessionSource, SignIn};

pub use error::SessionError;

/// A user name and password as a client sent them.
#[derive(Clone, Debug)]
pub struct SignInAttempt {
    /// A handle or a DID, plain or hyphenated; a leading `@` is tolerated.
    pub username: String,
    /// An app password, or another secret that one of the sign-ins knows by its form.
    pub password: SecretString,
    /// Where the attempt comes from, for the limit on failures and for the list of devices.
    pub client: ClientAddress,
}

/// Whose secret it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedInAs {
    /// Who.
    pub principal: Principal,
    /// The public id of the device whose secret it was, if it was a device's.
    pub device: Option<String>,
}

impl From<Principal> for SignedInAs {
    fn from(principal: Principal) -> Self {
        Self {
            principal,
            device: None,
        }
    }
}

/// Every way to sign in and every kind of session.
#[derive(Clone)]
pub struct Sessions {
    sign_ins: Vec<Arc<dyn SignIn>>,
    app_passwords: Arc<dyn SessionSource>,
    oauth: Option<Arc<dyn SessionSource>>,
}

impl Sessions {
    /// Asks `sign_ins` in order; sessions made with an app password come from `app_passwords`.
    #[must_use]
    pub fn new(sign_ins: Vec<Arc<dyn SignIn>>, app_passwords: Arc<dyn SessionSource>) -> Self {
        Self {
            sign_ins,
            app_passwords,
            oauth: None,
        }
    }

    /// Takes the sessions of callers who signed in through OAuth from `source`.
    #[must_use]
    pub fn with_oauth(mut self, source: Arc<dyn SessionSource>) -> Self {
        self.oauth = Some(source);
        self
    }

    /// Who `attempt` belongs to.
    ///
    /// # Errors
    /// [`SessionError::Rejected`] for a wrong name or password, [`SessionError::TooManyAttempts`] after many of
    /// them, and what keeps the PDS from being asked.
    pub async fn sign_in(&self, attempt: &SignInAttempt) -> Result<SignedInAs, SessionError> {
        for sign_in in &self.sign_ins {
            if let Some(signed_in) = sign_in.sign_in(attempt).await? {
                return Ok(signed_in);
            }
        }
        Err(SessionError::rejected("the user name or the password is wrong"))
    }

    /// What acts for `principal` at its PDS now.
    ///
    /// # Errors
    /// [`SessionError::Rejected`] for the anonymous caller, [`SessionError::Ended`] when it has to sign
    /// in again, and what keeps a session from being renewed.
    pub async fn credential(&self, principal: &Principal) -> Result<PdsCredential, SessionError> {
        let (did, source) = self.source(principal)?;
        source.credential(did).await?.ok_or_else(|| source.ended())
    }

    /// What acts for `principal` instead of `refused`, which its PDS no longer takes.
    ///
    /// # Errors
    /// As [`Sessions::credential`].
    pub async fn renew(
        &self,
        principal: &Principal,
        refused: &PdsCredential,
    ) -> Result<PdsCredential, SessionError> {
        let (did, source) = self.source(principal)?;
        source.renew(did, refused).await?.ok_or_else(|| source.ended())
    }

    /// What `principal` is told when its session has ended.
    #[must_use]
    pub fn ended(&self, principal: &Principal) -> SessionError {
        self.source(principal)
            .map_or_else(|error| error, |(_, source)| source.ended())
    }

    fn source<'a>(
        &self,
        principal: &'a Principal,
    ) -> Result<(&'a atcr_atproto::syntax::Did, &Arc<dyn SessionSource>), SessionError> {
        match principal {
            Principal::Anonymous => Err(SessionError::SignInRequired),
            Principal::Sailor {
                did,
                auth_method: AuthMethod::AppPassword,
            } => Ok((did, &self.app_passwords)),
            Principal::Sailor {
                did,
                auth_method: AuthMethod::OAuth,
            } => self
                .oauth
                .as_ref()
                .map(|source| (did, source))
                .ok_or_else(SessionError::app_password_session_ended),
        }
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions")
            .field("sign_ins", &self.sign_ins.len())
            .finish_non_exhaustive()
    }
}
