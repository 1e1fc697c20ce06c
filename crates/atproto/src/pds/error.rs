//! Why a call to a PDS fails.

use std::time::Duration;

use http::StatusCode;

use crate::egress::EgressError;
use crate::xrpc::XrpcError;

/// Why a PDS gave no usable answer.
///
/// The texts are the same for a host that cannot be reached and for one that does not answer; see [`EgressError`].
#[derive(Debug, thiserror::Error)]
pub enum PdsError {
    /// No answer: no such host, no connection, a broken one, or a host that may not be asked. Retry later, unless
    /// [`EgressError::is_refusal`].
    #[error("the server {host} gives no usable answer")]
    Unreachable {
        /// The host.
        host: String,
        /// The reason.
        #[source]
        source: EgressError,
    },
    /// No complete answer in time. A write may or may not have happened.
    #[error("the server {host} gives no usable answer")]
    Timeout {
        /// The host.
        host: String,
    },
    /// The server refused, in the protocol's own form.
    #[error("the server refused: {0}")]
    Xrpc(XrpcError),
    /// Too many requests.
    #[error("the server {host} asks for fewer requests")]
    RateLimited {
        /// The host.
        host: String,
        /// How long to wait, if the server says.
        retry_after: Option<Duration>,
    },
    /// The answer is longer than the caller allows, or has more values than its length allows.
    #[error("the answer of {host} is longer than {limit} bytes, or too dense")]
    TooLarge {
        /// The host.
        host: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The answer is not what the protocol says, or the request could not be written. Retrying does not help.
    #[error("{host}: malformed {what}")]
    Malformed {
        /// The host.
        host: String,
        /// What is malformed.
        what: &'static str,
    },
}

impl PdsError {
    pub(super) fn from_egress(error: EgressError, host: &str) -> Self {
        match error {
            EgressError::Timeout { host } => Self::Timeout { host },
            EgressError::TooLarge { host, limit } => Self::TooLarge {
                host,
                limit: u64::try_from(limit).unwrap_or(u64::MAX),
            },
            source @ (EgressError::UrlRefused { .. }
            | EgressError::AddressRefused { .. }
            | EgressError::NameRefused { .. }
            | EgressError::Busy { .. }
            | EgressError::Overloaded { .. }
            | EgressError::UnknownHost { .. }
            | EgressError::TooManyRedirects { .. }
            | EgressError::Unreachable { .. }
            | EgressError::Setup { .. }) => Self::Unreachable {
                host: host.to_owned(),
                source,
            },
        }
    }

    /// The server's refusal, if it is one.
    #[must_use]
    pub fn as_xrpc(&self) -> Option<&XrpcError> {
        match self {
            Self::Xrpc(error) => Some(error),
            _ => None,
        }
    }

    /// True if the server did not accept the token or password: status 401, or `ExpiredToken` and `InvalidToken`, which
    /// come with status 400. Renew the session.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        let refused = |error: &XrpcError| {
            error.status == StatusCode::UNAUTHORIZED || error.is("ExpiredToken") || error.is("InvalidToken")
        };
        self.as_xrpc().is_some_and(refused)
    }

    /// True for a refusal with this name (`RecordNotFound`, `InvalidSwap`, `ExpiredToken`, …).
    #[must_use]
    pub fn is_xrpc(&self, name: &str) -> bool {
        self.as_xrpc().is_some_and(|error| error.is(name))
    }
}
