//! Errors in the OCI dialect: status, code, sentence, and the headers that belong to it.
//!
//! The statuses and codes are in [`super::oci_status`]. A 5xx says which server is at fault and no more; what happened is in the
//! log under the request's id.

use atcr_oci::{BearerChallenge, ErrorCode as Code, ErrorResponse, header};
use atcr_registry::error::{AccessError, RegistryError};
use atcr_server::request_log::RequestId;
use atcr_server::retry_after;
use atcr_sessions::SessionError;
use axum::response::Response;
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::oci_status::{Rendering, rendering};
use crate::edge::error::EdgeError;
use crate::edge::response::{json, text_header};

/// The error that a challenge names: none for a first request.
fn challenge_error(error: &EdgeError) -> Option<&'static str> {
    match error {
        EdgeError::NotSignedIn { .. }
        | EdgeError::Registry(RegistryError::Access(AccessError::NotCovered)) => Some("insufficient_scope"),
        EdgeError::InvalidToken { .. }
        | EdgeError::Registry(RegistryError::Access(AccessError::SignedOut { .. }))
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

fn log(error: &EdgeError, status: StatusCode, code: Code) {
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
