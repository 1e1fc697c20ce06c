//! Why a caller is not signed in, or why a session cannot be used.

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::syntax::Did;

/// The source of an error, kept for the log.
pub type Source = Arc<dyn std::error::Error + Send + Sync>;

/// Why a sign-in, a session or a device could not be had. Cheap to clone, since callers that waited for the same answer share it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SessionError {
    // --- The caller -------------------------------------------------------------------------------------------
    /// No credentials were given.
    #[error("authentication required")]
    SignInRequired,
    /// The credentials that were given are not good, or no longer.
    #[error("{reason}")]
    Rejected {
        /// The sentence for people.
        reason: String,
    },
    /// Too many wrong credentials were given.
    #[error("too many requests; try again in {} s", retry_after.as_secs())]
    TooManyAttempts {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The account's server no longer takes the stored session.
    #[error("{sentence}")]
    Ended {
        /// The sentence, which says how or where to sign in again.
        sentence: String,
    },

    // --- The account and its server ---------------------------------------------------------------------------
    /// The identity could not be resolved just now.
    #[error("the identity of {name} cannot be resolved now: {reason}")]
    IdentityUnavailable {
        /// The account as it was spelled.
        name: String,
        /// Which server did not answer.
        reason: String,
        /// The resolver's error.
        #[source]
        source: Source,
    },
    /// The account has no PDS in its DID document.
    #[error("account {did} names no PDS")]
    PdsMissing {
        /// The account.
        did: Did,
    },
    /// The account's server cannot be reached.
    #[error("the PDS {host} cannot be reached: {reason}")]
    PdsUnreachable {
        /// Its host.
        host: String,
        /// A short reason.
        reason: String,
        /// The transport's error.
        #[source]
        source: Source,
    },
    /// The account's server did not answer in time.
    #[error("the PDS {host} did not answer in time")]
    PdsTimeout {
        /// Its host.
        host: String,
    },
    /// The account's server limits its callers.
    #[error("the PDS {host} asks to slow down; try again in {} s", retry_after.as_secs())]
    PdsRateLimited {
        /// Its host.
        host: String,
        /// How long to wait.
        retry_after: Duration,
    },
    /// The account's server says that it cannot serve for the moment.
    #[error("the PDS {host} is not available: {reason}")]
    PdsUnavailable {
        /// Its host.
        host: String,
        /// Its message, shortened.
        reason: String,
    },
    /// The account's server answered with an error that is none of these, or with something that is not an answer.
    #[error("the PDS {host} answered {error}: {reason}")]
    PdsFailed {
        /// Its host.
        host: String,
        /// The name of its error.
        error: String,
        /// Its message, shortened.
        reason: String,
    },

    // --- Ourselves --------------------------------------------------------------------------------------------
    /// The local database failed.
    #[error("the local database failed")]
    Database(#[source] Source),
    /// An invariant of this program does not hold.
    #[error("internal error: {what}")]
    Internal {
        /// Which.
        what: String,
    },
}

impl SessionError {
    /// A session made with an app password is over.
    #[must_use]
    pub fn app_password_session_ended() -> Self {
        Self::Ended {
            sentence: "the session with the PDS has ended; sign in again with docker login".to_owned(),
        }
    }

    /// The credentials are not good, for `reason`.
    #[must_use]
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self::Rejected {
            reason: reason.into(),
        }
    }

    /// An invariant of this program does not hold: `what`.
    #[must_use]
    pub fn internal(what: impl Into<String>) -> Self {
        Self::Internal { what: what.into() }
    }
}
