//! Why a caller is not signed in, or why a session cannot be used.

use std::time::Duration;

use atcr_atproto::identity::IdentityUnavailable;
use atcr_atproto::pds::PdsFailure;

pub use atcr_atproto::pds::Source;

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
    #[error(transparent)]
    Identity(#[from] IdentityUnavailable),
    /// The account's PDS did not do it.
    #[error(transparent)]
    Pds(#[from] PdsFailure),

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
