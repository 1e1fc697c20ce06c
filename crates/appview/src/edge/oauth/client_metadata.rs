//! Who this server is as an OAuth client: documents that authorization servers fetch, and consent pages in browsers.

use std::sync::Arc;

use atcr_auth::oauth::Registration;
use axum::extract::State;
use axum::response::Response;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL};
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use crate::edge::response::json;
use crate::state::AppState;

/// The two documents, which do not change while the server runs.
#[derive(Debug)]
pub struct OAuthDocuments {
    metadata: Value,
    jwks: Value,
}

impl OAuthDocuments {
    /// The documents of `registration`.
    ///
    /// # Errors
    /// Never in practice: a document that cannot be written.
    pub fn new(registration: &Registration) -> Result<Self, serde_json::Error> {
        Ok(Self {
            metadata: serde_json::to_value(registration.metadata())?,
            jwks: registration.jwks(),
        })
    }
}

/// `GET /oauth-client-metadata.json`, and `/client-metadata.json` as it was called once.
///
/// The address is the client's identifier. Servers fetch it at every sign-in, so it is cached shortly: a new key must spread.
pub async fn metadata(State(documents): State<Arc<OAuthDocuments>>) -> Response {
    public(&documents.metadata)
}

/// `GET /oauth-jwks.json`: the key set alone, which is in the metadata, too.
pub async fn jwks(State(documents): State<Arc<OAuthDocuments>>) -> Response {
    public(&documents.jwks)
}

fn public(document: &Value) -> Response {
    let mut response = json(StatusCode::OK, document);
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

impl axum::extract::FromRef<AppState> for Arc<OAuthDocuments> {
    fn from_ref(state: &AppState) -> Self {
        Arc::clone(&state.oauth_documents)
    }
}
