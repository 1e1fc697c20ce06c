//! What can go wrong with an outgoing request.

use std::error::Error;
use std::io;
use std::sync::Arc;

/// Why a request to a host named by somebody else gave no usable answer.
///
/// The texts name hosts only: paths and query strings of presigned URLs are credentials.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EgressError {
    /// The URL is not one this client speaks to: wrong scheme, no host, credentials inside. Retrying cannot help.
    #[error("refused to contact {origin}: {reason}")]
    UrlRefused {
        /// Scheme, host and port of the URL.
        origin: String,
        /// The rule that was broken.
        reason: &'static str,
    },
    /// The host is, or resolves only to, addresses that are not public. Retrying cannot help while that is so.
    #[error("refused to contact {host}: its address is not on the public internet")]
    AddressRefused {
        /// The host name or address.
        host: String,
    },
    /// The host name could not be resolved; the system does not tell an absent name from a failed look-up.
    #[error("cannot resolve the host name {host}")]
    UnknownHost {
        /// The host name.
        host: String,
        /// What the resolver said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The answer was a redirect too many.
    #[error("{host} redirects too often")]
    TooManyRedirects {
        /// The last host that redirected.
        host: String,
    },
    /// The body is longer than the caller reads.
    #[error("the answer of {host} is longer than {limit} bytes")]
    TooLarge {
        /// The host that answered.
        host: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// No complete answer within the time allowed.
    #[error("{host} did not answer in time")]
    Timeout {
        /// The host.
        host: String,
    },
    /// The connection could not be opened or broke.
    #[error("cannot reach {host}")]
    Unreachable {
        /// The host.
        host: String,
        /// The transport's error, without its URL.
        #[source]
        source: Arc<reqwest::Error>,
    },
    /// The client itself could not be built (TLS roots unreadable, for example).
    #[error("cannot set up the HTTP client")]
    Setup {
        /// What the HTTP library said.
        #[source]
        source: Arc<reqwest::Error>,
    },
}

impl EgressError {
    /// Sorts an error of the HTTP library, finding the guard's own refusal in its cause chain, and drops the URL.
    ///
    /// For callers that drive a [`reqwest::RequestBuilder`] from [`super::EgressClient::request`] themselves.
    #[must_use]
    pub fn from_transport(error: reqwest::Error) -> Self {
        let host = error
            .url()
            .and_then(|url| url.host_str())
            .unwrap_or("the host")
            .to_owned();
        if let Some(own) = find_own(&error) {
            return own;
        }
        if error.is_timeout() {
            return Self::Timeout { host };
        }
        Self::Unreachable {
            host,
            source: Arc::new(error.without_url()),
        }
    }

    /// Whether this client refuses the host as such, so that asking again gives the same answer.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::UrlRefused { .. } | Self::AddressRefused { .. })
    }
}

fn find_own(error: &(dyn Error + 'static)) -> Option<EgressError> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(own) = current.downcast_ref::<EgressError>() {
            return Some(own.clone());
        }
        cause = current.source();
    }
    None
}
