//! What a PDS's refusals and silences mean to the registry.

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::egress::EgressError;
use atcr_atproto::pds::PdsError;
use http::StatusCode;
use url::Url;

use crate::registry::error::RegistryError;

/// What a caller is told to wait when the PDS limits us and does not say for how long.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Characters of a PDS's message that are passed on.
const MESSAGE_CHARS: usize = 200;

/// Whether the PDS refused the access token as such, so that a renewed one may help.
pub fn is_token_refused(error: &PdsError) -> bool {
    error.is_xrpc("ExpiredToken")
        || error.is_xrpc("InvalidToken")
        || error
            .as_xrpc()
            .is_some_and(|error| error.status == StatusCode::UNAUTHORIZED)
}

/// Translates an error of the PDS at `base`.
pub fn registry_error(base: &Url, error: PdsError) -> RegistryError {
    let host = host(base);
    match error {
        PdsError::Unreachable { source, .. } => {
            let reason = match &source {
                EgressError::Unreachable { .. } => "no connection".to_owned(),
                other => other.to_string(),
            };
            RegistryError::PdsUnreachable {
                host,
                reason,
                source: Arc::new(source),
            }
        }
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
            let reason = match &error.message {
                Some(message) => message.chars().take(MESSAGE_CHARS).collect(),
                None => "no reason given".to_owned(),
            };
            let too_large = error.status == StatusCode::PAYLOAD_TOO_LARGE
                || ["BlobTooLarge", "PayloadTooLarge", "PayloadTooLargeError"]
                    .iter()
                    .any(|name| error.is(name));
            if too_large {
                RegistryError::PdsTooLarge { host, reason }
            } else {
                RegistryError::PdsFailed {
                    host,
                    status: error.status.as_u16(),
                    error: error.error,
                    reason,
                }
            }
        }
    }
}

/// How a PDS is named to people: host, and the port if there is one.
pub fn host(base: &Url) -> String {
    let host = base.host_str().unwrap_or_default();
    base.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
