//! Handle to DID by `https://<handle>/.well-known/atproto-did`.

use http::StatusCode;
use url::Url;

use super::IdentityError;
use super::error::{from_egress, unexpected_status};
use crate::bounds::MAX_HANDLE_BYTES;
use crate::egress::{EgressClient, EgressError};
use crate::syntax::{Did, Handle};

/// What the handle's host says.
#[derive(Debug)]
pub(super) enum Answer {
    /// It names a DID.
    Did(Did),
    /// It answers, but names no DID.
    None,
    /// The name has no address, as far as the system's resolver can tell.
    NoHost(IdentityError),
}

/// Asks the handle's own host.
///
/// # Spec
/// atproto specs "Handle", HTTPS well-known method.
pub(super) async fn resolve(egress: &EgressClient, handle: &Handle) -> Result<Answer, IdentityError> {
    match Url::parse(&format!("https://{handle}/.well-known/atproto-did")) {
        Ok(url) => ask(egress, handle, &url).await,
        Err(_) => Ok(Answer::None),
    }
}

pub(super) async fn ask(egress: &EgressClient, handle: &Handle, url: &Url) -> Result<Answer, IdentityError> {
    let answer = match egress.get_capped(url, MAX_HANDLE_BYTES, "text/plain").await {
        Ok(answer) => answer,
        // A page of that size is an ordinary website, not a DID.
        Err(EgressError::TooLarge { .. } | EgressError::TooManyRedirects { .. }) => return Ok(Answer::None),
        Err(error @ (EgressError::UnknownHost { .. } | EgressError::NameRefused { .. })) => {
            return Ok(Answer::NoHost(from_egress(
                handle.as_str(),
                handle.as_str(),
                error,
            )));
        }
        Err(error) => return Err(from_egress(handle.as_str(), handle.as_str(), error)),
    };
    match answer.status {
        StatusCode::OK => {
            let did = std::str::from_utf8(&answer.bytes)
                .ok()
                .and_then(|text| text.trim().parse().ok());
            Ok(did.map_or(Answer::None, Answer::Did))
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Err(unexpected_status(handle.as_str(), handle.as_str(), answer.status))
        }
        status if status.is_server_error() => {
            Err(unexpected_status(handle.as_str(), handle.as_str(), status))
        }
        _ => Ok(Answer::None),
    }
}
