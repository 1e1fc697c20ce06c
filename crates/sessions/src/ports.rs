//! What signing in needs from outside.

use async_trait::async_trait;
use atcr_atproto::dpop::DpopProver;
use atcr_atproto::pds::PdsAuth;
use atcr_atproto::syntax::Did;
use atcr_auth::service_token::ServiceTokenCache;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use url::Url;

use super::{SignInAttempt, SignedInAs};
use crate::error::SessionError;

/// What acts for an account at its PDS.
#[derive(Clone, Debug)]
pub struct PdsCredential {
    /// The sailor.
    pub did: Did,
    /// Base URL of the PDS.
    pub pds: Url,
    /// How requests are authorised there.
    pub authorization: Authorization,
}

/// How a request to a PDS is authorised.
#[derive(Clone, Debug)]
pub enum Authorization {
    /// An access token, valid without proof of a key.
    Bearer(SecretString),
    /// An access token that is good together with a key.
    Dpop {
        /// The token.
        token: SecretString,
        /// Holds the key.
        prover: DpopProver,
    },
}

impl Authorization {
    /// The same in the words of a PDS's client.
    #[must_use]
    pub fn as_pds_auth(&self) -> PdsAuth<'_> {
        match self {
            Self::Bearer(token) => PdsAuth::Bearer(token),
            Self::Dpop { token, prover } => PdsAuth::Dpop { token, prover },
        }
    }
}

/// One kind of session at a PDS: app password or OAuth.
#[async_trait]
pub trait SessionSource: Send + Sync {
    /// The credential of `did`, renewed first when it is about to expire; `None` when there is no session (any more).
    ///
    /// # Errors
    /// The PDS's and the database's; they say nothing about the session itself.
    async fn credential(&self, did: &Did) -> Result<Option<PdsCredential>, SessionError>;

    /// A credential other than `refused`, which the PDS called expired. Callers that bring the same refused credential
    /// share one renewal.
    ///
    /// # Errors
    /// As [`SessionSource::credential`].
    async fn renew(&self, did: &Did, refused: &PdsCredential) -> Result<Option<PdsCredential>, SessionError>;

    /// What a caller whose session is gone is told.
    fn ended(&self) -> SessionError {
        SessionError::app_password_session_ended()
    }
}

/// Service tokens that sessions gave, where they are kept for their next use.
pub trait ServiceTokens: Send + Sync {
    /// Forgets those of `did`, whose session is over.
    fn forget(&self, did: &Did);
}

impl ServiceTokens for ServiceTokenCache {
    fn forget(&self, did: &Did) {
        ServiceTokenCache::forget(self, did);
    }
}

/// One kind of secret that a client may send as a password.
#[async_trait]
pub trait SignIn: Send + Sync {
    /// Who the attempt belongs to; `None` when the secret is not of this kind, so that the next one is asked.
    ///
    /// # Errors
    /// [`SessionError::Rejected`] when it is of this kind and wrong.
    async fn sign_in(&self, attempt: &SignInAttempt) -> Result<Option<SignedInAs>, SessionError>;
}

/// A session with a PDS as it is kept: both tokens, and where they are good.
#[derive(Clone, Debug)]
pub struct PdsSession {
    /// The sailor.
    pub did: Did,
    /// Base URL of the PDS that gave the tokens.
    pub pds: Url,
    /// Authorises requests.
    pub access: SecretString,
    /// Gets the next pair.
    pub refresh: SecretString,
    /// When the access token expires, as far as it can be read.
    pub access_expires_at: Option<DateTime<Utc>>,
}

/// Sessions at rest; the adapter seals them.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// The session of `did`.
    ///
    /// # Errors
    /// The database's. A session that cannot be opened (another key) counts as none.
    async fn find(&self, did: &Did) -> Result<Option<PdsSession>, SessionError>;

    /// Keeps `session`, replacing the one before; durable when it returns.
    ///
    /// # Errors
    /// The database's.
    async fn save(&self, session: &PdsSession) -> Result<(), SessionError>;

    /// Forgets the session of `did`.
    ///
    /// # Errors
    /// The database's.
    async fn delete(&self, did: &Did) -> Result<(), SessionError>;
}

/// Why a PDS gave no session.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoSession {
    /// The credentials are wrong, or the token is spent; the text is the PDS's.
    #[error("{0}")]
    Refused(String),
    /// Whether they are right is not known.
    #[error(transparent)]
    Unavailable(#[from] SessionError),
}

/// The part of a PDS that makes sessions.
#[async_trait]
pub trait SessionServer: Send + Sync {
    /// Signs `did` in with an app password.
    ///
    /// # Errors
    /// See [`NoSession`].
    async fn create(&self, pds: &Url, did: &Did, password: &SecretString) -> Result<PdsSession, NoSession>;

    /// Trades the refresh token of `session` for a new pair.
    ///
    /// # Errors
    /// See [`NoSession`].
    async fn refresh(&self, session: &PdsSession) -> Result<PdsSession, NoSession>;

    /// Ends `session` at its PDS, as far as that can be reached. A failure is logged: the session is forgotten here already.
    async fn end(&self, session: &PdsSession);
}
