//! did:plc by the configured directory.

use http::StatusCode;
use url::Url;

use super::error::{from_egress, unexpected_status};
use super::{DidDocument, IdentityError};
use crate::egress::{DEFAULT_BODY_CAP, EgressClient};
use crate::syntax::Did;

/// Asks the directory for the document of `did`.
///
/// # Spec
/// did:plc, `GET /:did`: 404 for an unknown DID, 410 for a tombstoned one.
pub(super) async fn resolve(
    configured: &EgressClient,
    directory: &Url,
    did: &Did,
) -> Result<DidDocument, IdentityError> {
    if !is_plc_identifier(did.identifier()) {
        return Err(IdentityError::DidNotFound { did: did.clone() });
    }
    let mut url = directory.clone();
    url.set_path(&format!("{}/{did}", directory.path().trim_end_matches('/')));
    let host = directory.host_str().unwrap_or_default();
    let answer = configured
        .get_capped(
            &url,
            DEFAULT_BODY_CAP,
            "application/did+ld+json, application/json",
        )
        .await
        .map_err(|error| from_egress(did.as_str(), host, error))?;
    match answer.status {
        StatusCode::OK => DidDocument::parse(did, &answer.bytes),
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::BAD_REQUEST => {
            Err(IdentityError::DidNotFound { did: did.clone() })
        }
        status => Err(unexpected_status(did.as_str(), host, status)),
    }
}

/// 24 characters of lower-case base32.
fn is_plc_identifier(identifier: &str) -> bool {
    identifier.len() == 24
        && identifier
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
}
