//! What can go wrong with an outgoing request.

use std::error::Error;
use std::io;
use std::sync::Arc;

/// Why a request to a host that others name gave no usable answer.
///
/// The texts name hosts only: paths and query strings of presigned URLs are credentials. They also do not tell what is at an
/// address: a name that leads to a private address, one that does not exist, a closed port and a silent one read the same, so
/// that a peer who names hosts cannot learn through us what it cannot reach itself. [`EgressError::detail`] is for the log.
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
    /// The URL itself names an address that is not public. Retrying cannot help.
    #[error("refused to contact {host}: its address is not on the public internet")]
    AddressRefused {
        /// The address, or a name of this machine.
        host: String,
    },
    /// The host name leads only to addresses that are not public. The text is that of any host that cannot be reached.
    #[error("{host} gives no usable answer")]
    NameRefused {
        /// The host name.
        host: String,
    },
    /// The host name could not be resolved; the system does not tell an absent name from a failed look-up.
    #[error("{host} gives no usable answer")]
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
    #[error("{host} gives no usable answer")]
    Timeout {
        /// The host.
        host: String,
    },
    /// The connection could not be opened or broke.
    #[error("{host} gives no usable answer")]
    Unreachable {
        /// The host.
        host: String,
        /// The transport's error, without its URL.
        #[source]
        source: Arc<reqwest::Error>,
    },
    /// Too many requests to this host are under way. Retry later.
    #[error("too many requests to {host} are under way")]
    Busy {
        /// The host.
        host: String,
    },
    /// The answer is not read, since too many others are being worked on. Retry later.
    #[error("too many answers are being read to read that of {host}")]
    Overloaded {
        /// The host.
        host: String,
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
        if error.is_timeout() && !error.is_connect() {
            return Self::Timeout { host };
        }
        Self::Unreachable {
            host,
            source: Arc::new(error.without_url()),
        }
    }

    /// Whether this client refuses the URL as such, so that asking again gives the same answer.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::UrlRefused { .. } | Self::AddressRefused { .. })
    }

    /// The reason without the host's name, for a sentence that names it already; no more telling than the error's text.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::NameRefused { .. }
            | Self::UnknownHost { .. }
            | Self::Timeout { .. }
            | Self::Unreachable { .. } => "no usable answer".to_owned(),
            other => other.to_string(),
        }
    }

    /// What happened in truth, for the log. Never show it to a client.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::NameRefused { host } => format!("{host} leads to addresses that are not public"),
            Self::Timeout { host } => format!("{host} did not answer in time"),
            Self::UnknownHost { host, source } => format!("cannot resolve {host}: {source}"),
            Self::Unreachable { host, source } => {
                let mut text = format!("cannot reach {host}: {source}");
                let mut cause = source.source();
                while let Some(error) = cause {
                    text.push_str(": ");
                    text.push_str(&error.to_string());
                    cause = error.source();
                }
                text
            }
            other => other.to_string(),
        }
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
