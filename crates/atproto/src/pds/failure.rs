//! What a PDS's refusals and silences mean to a caller who waits for what it should have done.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use url::Url;

use super::PdsError;
use crate::syntax::Did;

/// The source of an error, kept for the log; shared, since callers that waited for the same answer get the same error.
pub type Source = Arc<dyn Error + Send + Sync>;

/// What a caller is told to wait when the PDS limits us and does not say for how long.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Characters of a PDS's message that are passed on.
const MESSAGE_CHARS: usize = 200;

/// Why an account's PDS did not do what a caller needs, in sentences for that caller. Cheap to clone.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PdsFailure {
    /// The account has no PDS in its DID document.
    #[error("account {did} names no PDS")]
    Missing {
        /// The account.
        did: Did,
    },
    /// The PDS cannot be reached.
    #[error("the PDS {host} cannot be reached: {reason}")]
    Unreachable {
        /// Its host.
        host: String,
        /// A short reason.
        reason: String,
        /// The transport's error.
        #[source]
        source: Source,
    },
    /// The PDS did not answer in time.
    #[error("the PDS {host} did not answer in time")]
    Timeout {
        /// Its host.
        host: String,
    },
    /// The PDS limits its callers.
    #[error("the PDS {host} asks to slow down; try again in {} s", retry_after.as_secs())]
    RateLimited {
        /// Its host.
        host: String,
        /// How long to wait.
        retry_after: Duration,
    },
    /// The PDS takes no blob or record of this size.
    #[error("the PDS {host} does not take content of this size: {reason}")]
    TooLarge {
        /// Its host.
        host: String,
        /// What it said.
        reason: String,
    },
    /// The PDS, or the proxy before it, says that it cannot serve for the moment.
    #[error("the PDS {host} cannot answer now: {reason}")]
    Unavailable {
        /// Its host.
        host: String,
        /// Its message, shortened.
        reason: String,
    },
    /// What the PDS gave is not an answer.
    #[error("the PDS {host} gave {what}")]
    Malformed {
        /// Its host.
        host: String,
        /// What it gave, with its article.
        what: String,
    },
    /// The PDS answered with an error that is none of these.
    #[error("the PDS {host} answered {error}: {reason}")]
    Failed {
        /// Its host.
        host: String,
        /// The name of its error.
        error: String,
        /// Its message, shortened.
        reason: String,
    },
}

impl PdsFailure {
    /// What `error`, by which the PDS at `base` did not do something, means to who waits for it.
    #[must_use]
    pub fn at(base: &Url, error: PdsError) -> Self {
        let host = shown_host(base);
        match error {
            PdsError::Unreachable { source, .. } => Self::Unreachable {
                host,
                reason: source.reason(),
                source: Arc::new(source),
            },
            PdsError::Timeout { .. } => Self::Timeout { host },
            PdsError::RateLimited { retry_after, .. } => Self::RateLimited {
                host,
                retry_after: retry_after.unwrap_or(DEFAULT_RETRY_AFTER),
            },
            PdsError::TooLarge { limit, .. } => Self::Malformed {
                host,
                what: format!("an answer that is longer than {limit} bytes"),
            },
            PdsError::Malformed { what, .. } => Self::Malformed {
                host,
                what: format!("a malformed {what}"),
            },
            PdsError::Xrpc(error) => {
                let reason = shortened(error.message.as_deref());
                let is_too_large = error.status == StatusCode::PAYLOAD_TOO_LARGE
                    || ["BlobTooLarge", "PayloadTooLarge", "PayloadTooLargeError"]
                        .iter()
                        .any(|name| error.is(name));
                if is_too_large {
                    Self::TooLarge { host, reason }
                } else if [
                    StatusCode::BAD_GATEWAY,
                    StatusCode::SERVICE_UNAVAILABLE,
                    StatusCode::GATEWAY_TIMEOUT,
                ]
                .contains(&error.status)
                {
                    Self::Unavailable { host, reason }
                } else {
                    Self::Failed {
                        host,
                        error: error.error,
                        reason,
                    }
                }
            }
        }
    }
}

fn shortened(message: Option<&str>) -> String {
    match message {
        Some(message) => message.chars().take(MESSAGE_CHARS).collect(),
        None => "no reason given".to_owned(),
    }
}

/// How a PDS is named to people: host, and the port if there is one.
fn shown_host(base: &Url) -> String {
    let host = base.host_str().unwrap_or_default();
    base.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
