//! Failures of a call to an authorization server, grouped by what the caller can do.

use std::time::Duration;

use atcr_atproto::egress::EgressError;

/// Why a step of the flow failed. The texts are for people and contain no token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OAuthError {
    /// No usable answer: retry later. Sessions stay as they are.
    #[error("{host} cannot be used now: {reason}")]
    Unavailable {
        /// Host and port.
        host: String,
        /// Why.
        reason: String,
        /// How long to wait, if the server says.
        retry_after: Option<Duration>,
    },
    /// The server is not one that AT Protocol OAuth works with, or answers against the protocol.
    #[error("{host} cannot be used: {reason}")]
    Unsuitable {
        /// Host and port.
        host: String,
        /// Why.
        reason: String,
    },
    /// The server refused in OAuth's own form.
    #[error("{host} refused: {error}{}", description.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        /// Host and port.
        host: String,
        /// OAuth's error code.
        error: String,
        /// The server's words, shortened.
        description: Option<String>,
    },
    /// The user refused, or granted too little.
    #[error("{host} did not grant access: {reason}")]
    Denied {
        /// Host and port.
        host: String,
        /// Why.
        reason: String,
    },
    /// The answer comes from another server, or is about another account.
    #[error("the answer of {host} cannot be trusted: {reason}")]
    Untrusted {
        /// Host and port.
        host: String,
        /// What does not fit.
        reason: String,
    },
    /// The server refused a token or proof dated by this clock, and the clocks disagree.
    #[error("{host} refused what this server dated: the clocks differ by {seconds} seconds")]
    ClockSkew {
        /// Host and port.
        host: String,
        /// This clock minus that one.
        seconds: i64,
    },
    /// The session is over: its refresh token is refused, or the account has moved to another server.
    #[error("{reason}")]
    Ended {
        /// The sentence.
        reason: String,
    },
    /// A key or a document of ours cannot be written.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl OAuthError {
    pub(super) fn from_egress(host: &str, error: &EgressError) -> Self {
        if error.is_refusal() {
            return Self::Unsuitable {
                host: host.to_owned(),
                reason: error.to_string(),
            };
        }
        Self::Unavailable {
            host: host.to_owned(),
            reason: error.reason(),
            retry_after: None,
        }
    }
}
