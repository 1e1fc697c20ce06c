//! Errors of the JSON of pages and devices: `{"error": NAME, "message": SENTENCE}`.

use atcr_server::retry_after;
use axum::response::Response;
use http::header::RETRY_AFTER;

use super::page::{PageError, log, rendering};
use crate::browse::BrowseError;
use crate::edge::response::json_error;

/// The answer for `error`: the status of its page, its name, and its sentence. Logs it, once.
#[must_use]
pub fn refused(error: &PageError) -> Response {
    log(error);
    let name = match error {
        PageError::NotFound
        | PageError::NoHandle(_)
        | PageError::Browse(
            BrowseError::NoAccount { .. }
            | BrowseError::Moved { .. }
            | BrowseError::NoRepository { .. }
            | BrowseError::NoImage { .. }
            | BrowseError::Hidden { .. },
        ) => "NotFound",
        PageError::SignInFirst => "AuthenticationRequired",
        PageError::OtherSite | PageError::NotOwner { .. } => "Forbidden",
        PageError::Refused(_) => "InvalidRequest",
        PageError::Limited(_) => "RateLimitExceeded",
        PageError::SignIn(_)
        | PageError::Failed(_)
        | PageError::Browse(_)
        | PageError::NoProof(_)
        | PageError::Change(_) => "InternalServerError",
    };
    let rendering = rendering(error);
    let mut response = json_error(rendering.status, name, &rendering.text);
    if let Some(wait) = rendering.retry_after {
        response
            .headers_mut()
            .insert(RETRY_AFTER, retry_after::header_value(wait));
    }
    response
}
