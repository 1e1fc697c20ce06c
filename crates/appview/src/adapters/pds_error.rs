//! What a PDS's refusals and silences mean to the registry, and to sessions.

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::pds::PdsError;
use atcr_atproto::syntax::Did;
use atcr_registry::error::RegistryError;
use atcr_sessions::SessionError;
use http::StatusCode;
use url::Url;

/// What a caller is told to wait when the PDS limits us and does not say for how long.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Characters of a PDS's message that are passed on.
const MESSAGE_CHARS: usize = 200;

/// Why a call to an account's PDS came to nothing.
#[derive(Debug)]
pub enum PdsFailure {
    /// The account's document names no PDS.
    Missing(Did),
    /// Nothing acts for the caller there.
    Session(SessionError),
    /// The PDS at this address did not do it.
    Call(Box<(Url, PdsError)>),
}

impl PdsFailure {
    /// The PDS at `base` did not do it.
    #[must_use]
    pub fn call(base: Url, error: PdsError) -> Self {
        Self::Call(Box::new((base, error)))
    }
}

impl From<SessionError> for PdsFailure {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<PdsFailure> for RegistryError {
    fn from(failure: PdsFailure) -> Self {
        match failure {
            PdsFailure::Missing(did) => Self::PdsMissing { did },
            PdsFailure::Session(error) => no_session(error),
            PdsFailure::Call(call) => registry_error(&call.0, call.1),
        }
    }
}

impl From<PdsFailure> for SessionError {
    fn from(failure: PdsFailure) -> Self {
        match failure {
            PdsFailure::Missing(did) => Self::PdsMissing { did },
            PdsFailure::Session(error) => error,
            PdsFailure::Call(call) => session_error(&call.0, call.1),
        }
    }
}

/// Whether the PDS refused the access token as such, so that a renewed one may help.
pub fn is_token_refused(error: &PdsError) -> bool {
    error.is_xrpc("ExpiredToken")
        || error.is_xrpc("InvalidToken")
        || error
            .as_xrpc()
            .is_some_and(|error| error.status == StatusCode::UNAUTHORIZED)
}

/// What it means to the registry that a caller's session cannot be used.
pub(super) fn no_session(error: SessionError) -> RegistryError {
    match error {
        SessionError::SignInRequired => RegistryError::SignInRequired,
        SessionError::Rejected { reason } => RegistryError::SignedOut { reason },
        SessionError::TooManyAttempts { retry_after } => RegistryError::TooManyRequests { retry_after },
        SessionError::Ended { sentence } => RegistryError::SessionEnded { sentence },
        SessionError::IdentityUnavailable { name, reason, source } => {
            RegistryError::IdentityUnavailable { name, reason, source }
        }
        SessionError::PdsMissing { did } => RegistryError::PdsMissing { did },
        SessionError::PdsUnreachable { host, reason, source } => {
            RegistryError::PdsUnreachable { host, reason, source }
        }
        SessionError::PdsTimeout { host } => RegistryError::PdsTimeout { host },
        SessionError::PdsRateLimited { host, retry_after } => {
            RegistryError::PdsRateLimited { host, retry_after }
        }
        SessionError::PdsUnavailable { host, reason } => RegistryError::PdsUnavailable { host, reason },
        SessionError::PdsFailed { host, error, reason } => RegistryError::PdsFailed { host, error, reason },
        SessionError::Database(source) => RegistryError::Database(source),
        SessionError::Internal { what } => RegistryError::Internal { what },
    }
}

/// Translates an error of the PDS at `base` for the registry.
pub fn registry_error(base: &Url, error: PdsError) -> RegistryError {
    let host = host(base);
    match error {
        PdsError::Unreachable { source, .. } => RegistryError::PdsUnreachable {
            host,
            reason: source.reason(),
            source: Arc::new(source),
        },
        PdsError::Timeout { .. } => RegistryError::PdsTimeout { host },
        PdsError::RateLimited { retry_after, .. } => RegistryError::PdsRateLimited {
            host,
            retry_after: retry_after.unwrap_or(DEFAULT_RETRY_AFTER),
        },
        PdsError::TooLarge { limit, .. } => RegistryError::Corrupt {
            what: format!("the answer of the PDS {host} is longer than {limit} bytes"),
        },
        PdsError::Malformed { what, .. } => RegistryError::Corrupt {
            what: format!("the PDS {host} gave a malformed {what}"),
        },
        PdsError::Xrpc(error) => {
            let reason = shortened(error.message.as_deref());
            let too_large = error.status == StatusCode::PAYLOAD_TOO_LARGE
                || ["BlobTooLarge", "PayloadTooLarge", "PayloadTooLargeError"]
                    .iter()
                    .any(|name| error.is(name));
            if too_large {
                RegistryError::PdsTooLarge { host, reason }
            } else if error.status == StatusCode::SERVICE_UNAVAILABLE {
                RegistryError::PdsUnavailable { host, reason }
            } else {
                RegistryError::PdsFailed {
                    host,
                    error: error.error,
                    reason,
                }
            }
        }
    }
}

/// Translates an error of the PDS at `base` for sessions.
pub fn session_error(base: &Url, error: PdsError) -> SessionError {
    let host = host(base);
    let failed = |host, error: &str, reason| SessionError::PdsFailed {
        host,
        error: error.to_owned(),
        reason,
    };
    match error {
        PdsError::Unreachable { source, .. } => SessionError::PdsUnreachable {
            host,
            reason: source.reason(),
            source: Arc::new(source),
        },
        PdsError::Timeout { .. } => SessionError::PdsTimeout { host },
        PdsError::RateLimited { retry_after, .. } => SessionError::PdsRateLimited {
            host,
            retry_after: retry_after.unwrap_or(DEFAULT_RETRY_AFTER),
        },
        PdsError::TooLarge { limit, .. } => failed(host, "TooLarge", format!("more than {limit} bytes")),
        PdsError::Malformed { what, .. } => failed(host, "Malformed", what.to_string()),
        PdsError::Xrpc(error) => {
            let reason = shortened(error.message.as_deref());
            if error.status == StatusCode::SERVICE_UNAVAILABLE {
                SessionError::PdsUnavailable { host, reason }
            } else {
                failed(host, &error.error, reason)
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
pub fn host(base: &Url) -> String {
    let host = base.host_str().unwrap_or_default();
    base.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
