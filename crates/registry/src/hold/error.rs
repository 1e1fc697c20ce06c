//! Why a hold did not do what it was asked: one vocabulary for all that is asked of holds.

use std::time::Duration;

use crate::error::RegistryError;
use crate::hold::ports::HoldRef;

/// Why a hold, or the store behind it, did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HoldError {
    /// No token, or one that the hold does not accept.
    #[error("the hold wants a valid service token")]
    Unauthorized,
    /// The caller is known and not allowed; the text is the hold's.
    #[error("the hold refused: {message}")]
    Forbidden {
        /// The hold's sentence.
        message: String,
    },
    /// The store does not take the signed URL (any more).
    #[error("the store refuses the signed URL")]
    UrlRefused,
    /// The hold takes no more from this user; the text is the hold's.
    #[error("the quota is used up: {message}")]
    QuotaExceeded {
        /// The hold's sentence.
        message: String,
    },
    /// The hold has no such blob.
    #[error("the hold has no such blob")]
    BlobNotFound,
    /// The hold does not know the upload (any more).
    #[error("the hold does not know the upload")]
    UploadNotFound,
    /// The hold found that the bytes hash to something else.
    #[error("the hold found other content than the digest names")]
    DigestRefused,
    /// The hold asks for patience.
    #[error("the hold is busy")]
    Busy {
        /// When to come again.
        retry_after: Option<Duration>,
    },
    /// Any other answer by which it will not do it; asking again will not help.
    #[error("the hold refused: {message}")]
    Refused {
        /// Its answer, cut to a sane length.
        message: String,
    },
    /// It failed, and may do it another time.
    #[error("the hold failed: {message}")]
    Failed {
        /// Its answer, cut to a sane length.
        message: String,
    },
    /// No connection, or it broke.
    #[error("the hold cannot be reached: {reason}")]
    Unreachable {
        /// What went wrong, without addresses that carry secrets.
        reason: String,
    },
    /// No answer, or no progress, within the configured time.
    #[error("the hold did not answer in time")]
    TimedOut,
    /// An answer that does not say what it should.
    #[error("the hold's answer lacks {what}")]
    Malformed {
        /// What is missing or wrong in it.
        what: &'static str,
    },
    /// The bytes given to be sent ended early: the sender's fault, not the hold's.
    #[error("the bytes to send ended early")]
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

    /// The registry's words for it; `hold` is the one that was asked.
    #[must_use]
    pub fn at(self, hold: &HoldRef) -> RegistryError {
        let hold = hold.did.clone();
        let refused = |hold, reason: &str| RegistryError::HoldRefused {
            hold,
            reason: reason.to_owned(),
        };
        match self {
            Self::Unauthorized => RegistryError::HoldUnauthorized {
                hold,
                reason: "it serves members only, or did not accept the service token".to_owned(),
            },
            Self::Forbidden { message } => RegistryError::HoldForbidden {
                hold,
                reason: message,
            },
            Self::UrlRefused => refused(hold, "its store refuses the signed URL"),
            Self::QuotaExceeded { message } => RegistryError::QuotaExceeded {
                hold,
                reason: message,
            },
            Self::BlobNotFound => refused(hold, "it has no such blob"),
            Self::UploadNotFound => refused(hold, "it has no such upload"),
            Self::DigestRefused => refused(hold, "the content is not what the digest names"),
            Self::Busy { retry_after } => RegistryError::HoldRateLimited {
                hold,
                retry_after: retry_after.unwrap_or(DEFAULT_RETRY_AFTER),
            },
            Self::Refused { message } => refused(hold, &message),
            Self::Failed { message } => RegistryError::HoldFailed {
                hold,
                reason: message,
            },
            Self::Unreachable { reason } => RegistryError::HoldUnreachable { hold, reason },
            Self::TimedOut => RegistryError::HoldTimeout { hold },
            Self::Malformed { what } => RegistryError::HoldFailed {
                hold,
                reason: format!("its answer lacks {what}"),
            },
            Self::BodyBroken => RegistryError::Internal {
                what: "the bytes of a part ended early".to_owned(),
            },
        }
    }
}

/// What a busy hold is given when it does not say how long.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);
