//! `com.atproto.server.describeServer`.

use std::sync::Arc;

use atcr_atproto::syntax::Did;
use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

/// What the hold is as a PDS.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    did: Did,
    available_user_domains: Vec<String>,
    invite_code_required: bool,
}

/// The hold's DID; no accounts can be made here.
pub async fn describe_server(State(identity): State<Arc<HoldIdentity>>) -> Json<Output> {
    Json(Output {
        did: identity.did().clone(),
        available_user_domains: Vec::new(),
        invite_code_required: true,
    })
}
