//! The AppView's own identity: `did:web` of its host, with the key that its tokens are signed with.

use atcr_auth::appview_token::AppViewTokenSigner;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use url::Url;

use crate::state::AppState;

/// `GET /.well-known/did.json`.
pub async fn did_json(State(state): State<AppState>) -> Json<Value> {
    Json(state.did_document.as_ref().clone())
}

/// The document of the AppView at `base_url` that signs with `signer`.
#[must_use]
pub fn did_document(signer: &AppViewTokenSigner, base_url: &Url) -> Value {
    let did = signer.did();
    let key = signer.public_key().to_multikey();
    let method = |fragment: &str| {
        json!({
            "id": format!("{did}#{fragment}"),
            "type": "Multikey",
            "controller": did,
            "publicKeyMultibase": key,
        })
    };
    json!({
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
        "id": did,
        "verificationMethod": [method("atproto"), method("atcr_appview")],
        "service": [{
            "id": "#atcr_appview",
            "type": "AtcrAppView",
            "serviceEndpoint": base_url.as_str().trim_end_matches('/'),
        }],
    })
}
