//! Who is a scanner: whoever shows the hold's secret, in a header or, for the WebSocket alone, in the query.

use atcr_scan_protocol::{PATH, SECRET_HEADER, SECRET_PARAMETERS};
use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use url::form_urlencoded;

use super::auth::TokenVerifier;
use super::error::EdgeError;
use crate::scanning::Scanning;

/// A scanner of this hold.
#[derive(Clone, Copy, Debug)]
pub struct Scanner;

/// The secret that a request shows, if it shows one in the header.
pub(super) fn shown_in_header(parts: &Parts) -> Option<&str> {
    parts.headers.get(SECRET_HEADER)?.to_str().ok()
}

/// An address is written down in many places, so only the socket of an original scanner shows it there.
fn shown_in_query(parts: &Parts) -> Option<String> {
    if !PATH.ends_with(parts.uri.path()) {
        return None;
    }
    let query = parts.uri.query()?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| SECRET_PARAMETERS.contains(&&**name))
        .map(|(_, value)| value.into_owned())
}

impl<S> FromRequestParts<S> for Scanner
where
    S: Send + Sync,
    Scanning: FromRef<S>,
    TokenVerifier: FromRef<S>,
{
    type Rejection = EdgeError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let scanning = Scanning::from_ref(state);
        if !scanning.is_enabled() {
            return Err(EdgeError::MethodNotImplemented);
        }
        let shown = shown_in_header(parts)
            .map(str::to_owned)
            .or_else(|| shown_in_query(parts));
        let verifier = TokenVerifier::from_ref(state);
        if verifier.knows_secret(parts, || shown.is_some_and(|shown| scanning.knows(&shown)))? {
            return Ok(Self);
        }
        tracing::warn!("a scanner was refused: it does not know scanner.secret");
        Err(EdgeError::InvalidSecret)
    }
}
