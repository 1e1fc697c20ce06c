//! Handle to DID by `com.atproto.identity.resolveHandle` of a service the operator configured.

use http::StatusCode;
use serde::Deserialize;
use url::Url;

use super::IdentityError;
use super::error::{from_egress, unexpected_status};
use crate::egress::{DEFAULT_BODY_CAP, EgressClient};
use crate::syntax::{Did, Handle};

#[derive(Deserialize)]
struct Output {
    did: Did,
}

/// What the service at `base` says: a DID, or that it knows none.
pub(super) async fn resolve(
    configured: &EgressClient,
    base: &Url,
    handle: &Handle,
) -> Result<Option<Did>, IdentityError> {
    let mut url = base.clone();
    url.set_path(&format!(
        "{}/xrpc/com.atproto.identity.resolveHandle",
        base.path().trim_end_matches('/')
    ));
    url.query_pairs_mut()
        .clear()
        .append_pair("handle", handle.as_str());
    let host = base.host_str().unwrap_or_default();
    let answer = configured
        .get_capped(&url, DEFAULT_BODY_CAP, "application/json")
        .await
        .map_err(|error| from_egress(handle.as_str(), host, error))?;
    match answer.status {
        StatusCode::OK => match answer.json::<Output>() {
            Ok(output) => Ok(Some(output.did)),
            Err(_) => Err(unexpected_status(handle.as_str(), host, answer.status)),
        },
        // A PDS answers 400 `InvalidRequest` when it cannot resolve the handle.
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Ok(None),
        status => Err(unexpected_status(handle.as_str(), host, status)),
    }
}
