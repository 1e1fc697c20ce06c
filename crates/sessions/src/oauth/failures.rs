//! The errors that a caller gets for a session that cannot be used.

use std::sync::Arc;

use atcr_atproto::pds::PdsFailure;
use atcr_atproto::syntax::Did;
use atcr_auth::oauth::OAuthError;
use url::Url;

use crate::error::SessionError;

/// What a caller is told when its session is over, with the `reason` if that is known.
pub(super) fn session_ended(sign_in_url: &Url, reason: Option<&str>) -> SessionError {
    let sentence = match reason {
        Some(reason) => format!("your session has ended, {reason}; sign in again at {sign_in_url}"),
        None => format!("your session has ended; sign in again at {sign_in_url}"),
    };
    SessionError::Ended { sentence }
}

/// Another process has the lease of `did` and does not release it.
pub(super) fn being_renewed(did: &Did) -> SessionError {
    SessionError::Internal {
        what: format!("the session of {did} is being renewed elsewhere, and that does not end"),
    }
}

/// What a failed refresh means to a caller.
pub(super) fn session_error(error: OAuthError) -> SessionError {
    match error {
        OAuthError::Unavailable {
            host,
            retry_after: Some(retry_after),
            ..
        } => SessionError::Pds(PdsFailure::RateLimited { host, retry_after }),
        OAuthError::Unavailable {
            ref host, ref reason, ..
        } => SessionError::Pds(PdsFailure::Unreachable {
            host: host.clone(),
            reason: reason.clone(),
            source: Arc::new(error.clone()),
        }),
        OAuthError::Unsuitable { host, reason }
        | OAuthError::Denied { host, reason }
        | OAuthError::Untrusted { host, reason } => failed(host, "InvalidAnswer".to_owned(), reason),
        OAuthError::Refused {
            host,
            error,
            description,
        } => failed(host, error, description.unwrap_or_default()),
        OAuthError::ClockSkew { host, seconds } => failed(
            host,
            "ClockSkew".to_owned(),
            format!(
                "the clock of this registry differs from its own by {seconds} seconds; the operator has to set it"
            ),
        ),
        // Ends the session before it gets here.
        OAuthError::Ended { reason } => SessionError::Internal { what: reason },
        OAuthError::Internal(what) => SessionError::Internal {
            what: what.to_owned(),
        },
    }
}

fn failed(host: String, error: String, reason: String) -> SessionError {
    SessionError::Pds(PdsFailure::Failed { host, error, reason })
}
