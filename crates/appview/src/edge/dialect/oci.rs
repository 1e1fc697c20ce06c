//! Errors in the OCI dialect: status, code, sentence, and the headers that belong to it.
//!
//! One exhaustive table. A 5xx says which server is at fault and no more; what happened is in the log under the request's id.

use std::time::Duration;

use atcr_oci::{BearerChallenge, ErrorCode, ErrorResponse, header};
use atcr_registry::error::RegistryError;
use atcr_server::request_log::RequestId;
use atcr_server::retry_after;
use atcr_sessions::SessionError;
use axum::response::Response;
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::edge::error::EdgeError;
use crate::edge::response::{json, text_header};

/// How an error looks on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rendering {
    /// The status.
    pub status: StatusCode,
    /// The code.
    pub code: ErrorCode,
    /// For `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// Status and code of `error`.
#[must_use]
pub fn rendering(error: &EdgeError) -> Rendering {
    let plain = |status, code| Rendering {
        status,
        code,
        retry_after: None,
    };
    match error {
        EdgeError::Request(error) => plain(
            StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST),
            error.code(),
        ),
        // The specification has no code for a header or parameter; 400 with the closest one.
        EdgeError::HeaderInvalid { .. } | EdgeError::ParameterInvalid { .. } => {
            plain(StatusCode::BAD_REQUEST, ErrorCode::Unsupported)
        }
        EdgeError::InvalidToken { .. } => plain(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized),
        EdgeError::Limited(limited) => Rendering {
            status: StatusCode::TOO_MANY_REQUESTS,
            code: ErrorCode::TooManyRequests,
            retry_after: Some(limited.retry_after),
        },
        EdgeError::Registry(error) => registry_rendering(error),
        EdgeError::Session(error) => session_rendering(error),
    }
}

/// Status and code of a use case's `error`.
#[must_use]
pub fn registry_rendering(error: &RegistryError) -> Rendering {
    use ErrorCode as Code;
    use RegistryError as Error;
    let plain = |status, code| Rendering {
        status,
        code,
        retry_after: None,
    };
    match error {
        Error::BodyInterrupted { .. } => plain(StatusCode::BAD_REQUEST, Code::SizeInvalid),

        Error::SignInRequired
        | Error::NotCovered
        | Error::SignedOut { .. }
        | Error::HoldUnauthorized { .. }
        | Error::SessionEnded { .. } => plain(StatusCode::UNAUTHORIZED, Code::Unauthorized),
        Error::Denied { .. } | Error::NoHold | Error::QuotaExceeded { .. } | Error::HoldForbidden { .. } => {
            plain(StatusCode::FORBIDDEN, Code::Denied)
        }
        Error::SpoolFull { retry_after } => Rendering {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: Code::Unavailable,
            retry_after: Some(*retry_after),
        },
        Error::TooManyRequests { retry_after }
        | Error::TooManyUploads { retry_after, .. }
        | Error::SpoolQuota { retry_after, .. }
        | Error::PdsRateLimited { retry_after, .. }
        | Error::HoldRateLimited { retry_after, .. } => Rendering {
            status: StatusCode::TOO_MANY_REQUESTS,
            code: Code::TooManyRequests,
            retry_after: Some(*retry_after),
        },

        Error::AccountTooLarge { .. } => plain(StatusCode::NOT_FOUND, Code::ManifestUnknown),
        Error::NameUnknown { .. } => plain(StatusCode::NOT_FOUND, Code::NameUnknown),
        Error::IdentityUnavailable { .. } => plain(StatusCode::BAD_GATEWAY, Code::Unavailable),

        Error::ManifestUnknown { .. } => plain(StatusCode::NOT_FOUND, Code::ManifestUnknown),
        Error::ManifestInvalid { .. } => plain(StatusCode::BAD_REQUEST, Code::ManifestInvalid),
        Error::ManifestTooLarge { .. } => plain(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid),
        Error::ManifestBlobUnknown { .. } => plain(StatusCode::NOT_FOUND, Code::ManifestBlobUnknown),
        // The specification lets a registry refuse a deletion with 405 and nothing else; the sentence says what to do.
        Error::ManifestReferenced { .. } => plain(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported),

        Error::BlobUnknown { .. } => plain(StatusCode::NOT_FOUND, Code::BlobUnknown),
        Error::DigestMismatch { .. } | Error::DigestRefused { .. } => {
            plain(StatusCode::BAD_REQUEST, Code::DigestInvalid)
        }
        Error::SizeInvalid { .. } => plain(StatusCode::BAD_REQUEST, Code::SizeInvalid),
        Error::UploadUnknown { .. } => plain(StatusCode::NOT_FOUND, Code::BlobUploadUnknown),
        Error::UploadInvalid { .. } => plain(StatusCode::BAD_REQUEST, Code::BlobUploadInvalid),
        Error::UploadBusy => plain(StatusCode::CONFLICT, Code::BlobUploadInvalid),
        Error::ChunkOutOfOrder { .. } => plain(StatusCode::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid),
        Error::RangeNotSatisfiable { .. } => plain(StatusCode::RANGE_NOT_SATISFIABLE, Code::SizeInvalid),
        Error::Unsupported { .. } => plain(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported),

        Error::HoldUnresolvable { .. }
        | Error::HoldUnreachable { .. }
        | Error::HoldRefused { .. }
        | Error::HoldFailed { .. }
        | Error::PdsMissing { .. }
        | Error::PdsUnreachable { .. }
        | Error::Corrupt { .. } => plain(StatusCode::BAD_GATEWAY, Code::Unavailable),
        Error::HoldTimeout { .. } | Error::PdsTimeout { .. } => {
            plain(StatusCode::GATEWAY_TIMEOUT, Code::Unavailable)
        }
        // What a PDS takes is its owner's to say; the client sees the same limit a registry may have.
        Error::PdsTooLarge { .. } => plain(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid),
        Error::PdsUnavailable { .. } => plain(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
        Error::PdsFailed { .. } | Error::RolledBack { .. } => {
            plain(StatusCode::BAD_GATEWAY, Code::Unavailable)
        }

        Error::Database(_) | Error::Disk(_) | Error::Internal { .. } => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown)
        }
    }
}

/// Status and code of a sign-in's `error`.
#[must_use]
pub fn session_rendering(error: &SessionError) -> Rendering {
    use ErrorCode as Code;
    use SessionError as Error;
    let plain = |status, code| Rendering {
        status,
        code,
        retry_after: None,
    };
    match error {
        Error::SignInRequired | Error::Rejected { .. } | Error::Ended { .. } => {
            plain(StatusCode::UNAUTHORIZED, Code::Unauthorized)
        }
        Error::TooManyAttempts { retry_after } | Error::PdsRateLimited { retry_after, .. } => Rendering {
            status: StatusCode::TOO_MANY_REQUESTS,
            code: Code::TooManyRequests,
            retry_after: Some(*retry_after),
        },
        Error::IdentityUnavailable { .. }
        | Error::PdsMissing { .. }
        | Error::PdsUnreachable { .. }
        | Error::PdsFailed { .. } => plain(StatusCode::BAD_GATEWAY, Code::Unavailable),
        Error::PdsTimeout { .. } => plain(StatusCode::GATEWAY_TIMEOUT, Code::Unavailable),
        Error::PdsUnavailable { .. } => plain(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
        Error::Database(_) | Error::Internal { .. } => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown)
        }
    }
}

/// The error that a challenge names: none for a first request.
fn challenge_error(error: &EdgeError) -> Option<&'static str> {
    match error {
        EdgeError::Registry(RegistryError::NotCovered) => Some("insufficient_scope"),
        EdgeError::InvalidToken { .. }
        | EdgeError::Registry(RegistryError::SignedOut { .. })
        | EdgeError::Session(SessionError::Rejected { .. }) => Some("invalid_token"),
        _ => None,
    }
}

/// The answer for `error`; a 401 carries `challenge`. Logs it, once.
#[must_use]
pub fn response(error: &EdgeError, challenge: Option<BearerChallenge>) -> Response {
    let Rendering {
        status,
        code,
        retry_after,
    } = rendering(error);
    log(error, status, code);
    let request_id = RequestId::current();
    let message = match (status, &request_id) {
        (StatusCode::INTERNAL_SERVER_ERROR, Some(id)) => {
            format!("internal error; the log of this registry has more under request {id}")
        }
        (StatusCode::INTERNAL_SERVER_ERROR, None) => "internal error".to_owned(),
        _ => error.to_string(),
    };
    let body = match request_id {
        Some(id) => ErrorResponse::with_detail(code, message, json!({ "requestId": id.as_str() })),
        None => ErrorResponse::new(code, message),
    };
    let mut response = json(status, &body);
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED
        && let Some(mut challenge) = challenge
    {
        if let Some(name) = challenge_error(error) {
            challenge = challenge.with_error(name);
        }
        text_header(headers, header::WWW_AUTHENTICATE, &challenge.to_string());
    }
    if let Some(wait) = retry_after {
        headers.insert(header::RETRY_AFTER, retry_after::header_value(wait));
    }
    if let EdgeError::Request(error) = error
        && let Some(allow) = error.allow()
    {
        headers.insert(http::header::ALLOW, HeaderValue::from_static(allow));
    }
    response
}

fn log(error: &EdgeError, status: StatusCode, code: ErrorCode) {
    let (status, code, cause) = (status.as_u16(), code.as_str(), error as &dyn std::error::Error);
    match status {
        500 => tracing::error!(status, code, error = cause, "the request failed"),
        501.. => tracing::warn!(
            status,
            code,
            error = cause,
            "a server behind this one failed the request"
        ),
        _ => tracing::debug!(status, code, error = cause, "the request was refused"),
    }
}

#[cfg(test)]
mod tests;
