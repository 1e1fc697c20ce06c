//! What can go wrong with an authorization server, sorted by what helps.

use std::time::Duration;

use atcr_atproto::egress::EgressError;

/// Why something did not come about. The texts are for people and hold no token.
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
    /// The user said no, or granted too little.
    #[error("{host} did not grant access: {reason}")]
    Denied {
        /// Host and port.
        host: String,
        /// Why.
        reason: String,
    },
    /// An answer that is not from, or not about, whom it must be.
    #[error("the answer of {host} cannot be trusted: {reason}")]
    Untrusted {
        /// Host and port.
        host: String,
        /// What does not fit.
        reason: String,
    },
    /// The server refused what this clock dated, and the clocks disagree.
    #[error("{host} refused what this server dated: the clocks differ by {seconds} seconds")]
    ClockSkew {
        /// Host and port.
        host: String,
        /// This clock minus that one.
        seconds: i64,
    },
    /// The session is over: its refresh token is not taken, or the account lives elsewhere now.
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
