//! What a host serves about itself outside XRPC.

use std::sync::Arc;

use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde_json::Value;

/// `GET /.well-known/did.json`: the DID document of the hold.
pub async fn did_document(State(identity): State<Arc<HoldIdentity>>) -> Json<Value> {
    Json(identity.document())
}

/// `GET /.well-known/atproto-did`: the DID as text, which makes the host name a handle.
pub async fn atproto_did(State(identity): State<Arc<HoldIdentity>>) -> String {
    identity.did().to_string()
}

/// `GET /robots.txt`: excludes search engines.
pub async fn robots_txt() -> &'static str {
    "User-agent: *\nAllow: /$\nDisallow: /\n"
}

/// `GET /` of a hold without pages: what this is.
#[cfg(not(feature = "pages"))]
pub async fn landing(State(identity): State<Arc<HoldIdentity>>) -> String {
    landing_text(&identity)
}

/// What this is, in plain text.
pub(super) fn landing_text(identity: &HoldIdentity) -> String {
    format!(
        "This is an ATCR hold: it stores the layers of container images.\n\n\
         DID:       {did}\n\
         Document:  {endpoint}/.well-known/did.json\n\
         XRPC:      {endpoint}/xrpc/com.atproto.repo.describeRepo?repo={did}\n\n\
         A private hold protects the layers only. Everything else is public: image names, tags and manifests, which are\n\
         in the repositories of their owners, and this hold's own records: its crew, which account pushed which layer\n\
         digests, and how often an image is pulled.\n",
        did = identity.did(),
        endpoint = identity.endpoint(),
    )
}
