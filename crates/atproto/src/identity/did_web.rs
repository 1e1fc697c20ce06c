//! did:web by the host's `/.well-known/did.json`.

use http::StatusCode;
use url::Url;

use super::error::{from_egress, unexpected_status};
use super::{DidDocument, IdentityError};
use crate::egress::address_ranges::is_local_host;
use crate::egress::{DEFAULT_BODY_CAP, EgressClient, EgressError};
use crate::syntax::Did;

/// Fetches the document of `did`, which must be in the form of [`Did::normalised`].
///
/// # Spec
/// did:web, with a host and an optional port only (atproto specs "DID").
pub(super) async fn resolve(
    egress: &EgressClient,
    allow_loopback: bool,
    did: &Did,
) -> Result<DidDocument, IdentityError> {
    let url = document_url(allow_loopback, did)?;
    let host = url.host_str().unwrap_or_default();
    let answer = match egress
        .get_capped(
            &url,
            DEFAULT_BODY_CAP,
            "application/did+ld+json, application/json",
        )
        .await
    {
        Ok(answer) => answer,
        Err(EgressError::TooLarge { .. }) => {
            return Err(IdentityError::InvalidDocument {
                did: did.clone(),
                reason: "it is too long",
            });
        }
        Err(error) => return Err(from_egress(did.as_str(), host, error)),
    };
    match answer.status {
        StatusCode::OK => DidDocument::parse(did, &answer.bytes),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Err(unexpected_status(did.as_str(), host, answer.status))
        }
        status if status.is_client_error() => Err(IdentityError::DidNotFound { did: did.clone() }),
        status => Err(unexpected_status(did.as_str(), host, status)),
    }
}

/// https, except for this machine and private networks under the development allowance.
fn document_url(allow_loopback: bool, did: &Did) -> Result<Url, IdentityError> {
    let unsupported = || IdentityError::UnsupportedDid { did: did.clone() };
    let authority = did.web_host().ok_or_else(unsupported)?;
    let url = |scheme: &str| {
        Url::parse(&format!("{scheme}://{authority}/.well-known/did.json")).map_err(|_| unsupported())
    };
    let secure = url("https")?;
    if allow_loopback && secure.host().is_some_and(|host| is_local_host(&host)) {
        return url("http");
    }
    Ok(secure)
}
