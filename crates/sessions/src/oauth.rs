//! Signing in through the account's own server: the port that pages and the token endpoint use, and its implementation.

pub mod account_sign_in;
mod failures;
pub mod flow;
mod live;
pub mod ports;
mod refreshed;
pub mod renewal;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use url::Url;

use crate::error::SessionError;

/// The dance with an authorization server, and the session that comes of it.
#[async_trait]
pub trait SignInFlow: Send + Sync {
    /// Resolves `name` (a handle or a DID), finds its authorization server and announces the request there.
    ///
    /// # Returns
    /// Where to send the browser.
    ///
    /// # Errors
    /// See [`OAuthFlowError`]; nothing is kept then.
    async fn start(&self, name: &str, start: FlowStart) -> Result<Url, OAuthFlowError>;

    /// Checks `callback` against the request that it answers, trades the code for a session and keeps that. A state is
    /// good once, whatever comes of it.
    ///
    /// # Errors
    /// See [`OAuthFlowError`]; a session from before is left as it was.
    ///
    /// # Security
    /// `browser` must be what [`FlowStart::browser`] was, or the callback belongs to a sign-in that another browser began.
    async fn finish(
        &self,
        callback: CallbackQuery,
        browser: &BrowserBinding,
    ) -> Result<FinishedSignIn, OAuthFlowError>;

    /// Ends the session of `did`: forgotten here, and revoked at its server as far as that can be reached. Ending what is not
    /// there is no error.
    ///
    /// # Errors
    /// The database's; the session goes on then.
    async fn end(&self, did: &Did) -> Result<(), OAuthFlowError>;

    /// Ends, in the same way, the sessions that no browser and no device uses or is about to use.
    ///
    /// # Returns
    /// How many there were.
    ///
    /// # Errors
    /// The database's.
    async fn end_unused(&self) -> Result<usize, OAuthFlowError>;

    /// Whether `did` has a session that works, renewed first where that is due.
    ///
    /// # Errors
    /// What keeps it from being known: the server cannot be reached, the database fails.
    async fn is_live(&self, did: &Did) -> Result<bool, OAuthFlowError>;
}

/// What a sign-in begins with.
#[derive(Clone, Debug)]
pub struct FlowStart {
    /// The local path to go to afterwards, already found harmless.
    pub return_to: String,
    /// The browser it began in.
    pub browser: BrowserBinding,
}

/// A random value that the browser keeps from the start of a sign-in to its end.
#[derive(Clone, PartialEq, Eq)]
pub struct BrowserBinding(pub String);

impl std::fmt::Debug for BrowserBinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BrowserBinding(…)")
    }
}

/// The query of the redirect that comes back from the authorization server.
#[derive(Clone, Default)]
pub struct CallbackQuery {
    /// The code to trade.
    pub code: Option<String>,
    /// Which request is answered.
    pub state: Option<String>,
    /// Who answers (RFC 9207).
    pub iss: Option<String>,
    /// Why there is no code: `access_denied` when the user said no.
    pub error: Option<String>,
    /// The same in the server's words.
    pub error_description: Option<String>,
}

impl std::fmt::Debug for CallbackQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallbackQuery")
            .field("iss", &self.iss)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// A sign-in that worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedSignIn {
    /// Who signed in.
    pub did: Did,
    /// The handle, if it agrees with the DID in both directions.
    pub handle: Option<String>,
    /// As in [`FlowStart::return_to`].
    pub return_to: String,
}

/// Why a sign-in failed. The texts are for the person who tries.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OAuthFlowError {
    /// What was typed is neither a handle nor a DID, or there is no such account. Ask again, with the sentence.
    #[error("{reason}")]
    UnknownAccount {
        /// What was typed.
        name: String,
        /// The sentence.
        reason: String,
    },
    /// The account's server cannot be reached or fails. Trying again later may help.
    #[error("{host} cannot be reached now: {reason}")]
    ServerUnavailable {
        /// The server, as it is named to people.
        host: String,
        /// Why.
        reason: String,
    },
    /// The server answers, but not as AT Protocol OAuth asks for, or refuses this client. Trying again does not help.
    #[error("{host} refused the sign-in: {reason}")]
    ServerRefused {
        /// The server, as it is named to people.
        host: String,
        /// Why.
        reason: String,
    },
    /// The user, or the server for the user, said no.
    #[error("{host} did not grant access: {reason}")]
    Denied {
        /// The server, as it is named to people.
        host: String,
        /// Why, in the server's words.
        reason: String,
    },
    /// The callback answers no request that is open: it is too old, was answered before, or was never made.
    #[error("this sign-in has expired or was used already; start again")]
    NoSuchRequest,
    /// The callback comes from another browser than the one the sign-in began in.
    #[error("this sign-in began in another browser; start again here")]
    OtherBrowser,
    /// The answer names another issuer or account than it must (`iss`, `sub`). This may be an attack.
    #[error("the answer of {host} cannot be trusted: {reason}")]
    Untrusted {
        /// The server, as it is named to people.
        host: String,
        /// What does not fit.
        reason: String,
    },
    /// The clocks of this server and the authorization server disagree too much.
    #[error(
        "the clocks of this server and of {host} differ by {seconds} seconds; the operator has to set the clock"
    )]
    ClockSkew {
        /// The server, as it is named to people.
        host: String,
        /// This clock minus that one.
        seconds: i64,
    },
    /// The database, or something else on this side.
    #[error(transparent)]
    Internal(#[from] SessionError),
}
