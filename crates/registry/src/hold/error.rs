//! Why a hold did not do what it was asked: one vocabulary for all that is asked of holds.

use std::time::Duration;

use atcr_atproto::syntax::Did;

use crate::error::RegistryError;
use crate::hold::ports::HoldRef;

/// Why a hold, or the store behind it, did not do what it was asked. The texts go on from the name of the hold.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HoldError {
    /// The hold's DID does not resolve to an endpoint.
    #[error("cannot be found: {reason}")]
    Unresolvable {
        /// Why.
        reason: String,
    },
    /// No token, or one that the hold does not accept.
    #[error("asks for a sign-in: it serves members only, or did not accept the service token")]
    Unauthorized,
    /// The caller is known and not allowed; the text is the hold's.
    #[error("refuses: {message}")]
    Forbidden {
        /// The hold's sentence.
        message: String,
    },
    /// The store does not take the signed URL (any more).
    #[error("refused the request: its store refuses the signed URL")]
    UrlRefused,
    /// The hold takes no more from this user; the text is the hold's.
    #[error("takes no more from this account: {message}")]
    QuotaExceeded {
        /// The hold's sentence.
        message: String,
    },
    /// The hold has no such blob.
    #[error("refused the request: it has no such blob")]
    BlobNotFound,
    /// The hold does not know the upload (any more).
    #[error("refused the request: it has no such upload")]
    UploadNotFound,
    /// The hold found that the bytes hash to something else.
    #[error("refused the request: the content is not what the digest names")]
    DigestRefused,
    /// The hold asks for patience.
    #[error("asks to slow down; try again in {} s", retry_after.as_secs())]
    Busy {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Any other answer by which it will not do it; asking again will not help.
    #[error("refused the request: {message}")]
    Refused {
        /// Its answer, cut to a sane length.
        message: String,
    },
    /// It failed, and may do it another time.
    #[error("failed: {message}")]
    Failed {
        /// Its answer, cut to a sane length.
        message: String,
    },
    /// No connection, or it broke.
    #[error("cannot be reached: {reason}")]
    Unreachable {
        /// What went wrong, without addresses that carry secrets.
        reason: String,
    },
    /// No answer, or no progress, within the configured time.
    #[error("did not answer in time")]
    TimedOut,
    /// An answer that does not say what it should.
    #[error("failed: its answer lacks {what}")]
    Malformed {
        /// What is missing or wrong in it.
        what: &'static str,
    },
    /// The bytes given to be sent ended early: the sender's fault, not the hold's.
    #[error("did not get the whole part: the bytes to send ended early")]
    BodyBroken,
}

impl HoldError {
    /// Whether the same request may succeed when it is simply sent again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::TimedOut | Self::Busy { .. } | Self::Failed { .. }
        )
    }

    /// The registry's error for it; `hold` is the one that was asked.
    #[must_use]
    pub fn at(self, hold: &HoldRef) -> RegistryError {
        self.of(&hold.did)
    }

    /// As [`HoldError::at`], for a hold of which only the DID is known.
    #[must_use]
    pub fn of(self, hold: &Did) -> RegistryError {
        RegistryError::Hold {
            hold: hold.clone(),
            error: self,
        }
    }
}
