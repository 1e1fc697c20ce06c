//! `com.atproto.identity.resolveHandle`.

use std::sync::Arc;

use atcr_atproto::syntax::Did;
use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;

/// Whose DID.
#[derive(Debug, Deserialize)]
pub struct Input {
    handle: String,
}

/// The DID.
#[derive(Debug, Serialize)]
pub struct Output {
    did: Did,
}

/// The hold's DID for the hold's own name. The hold resolves no other name.
pub async fn resolve_handle(
    State(identity): State<Arc<HoldIdentity>>,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Json<Output>, EdgeError> {
    if input.handle.eq_ignore_ascii_case(identity.handle()) {
        Ok(Json(Output {
            did: identity.did().clone(),
        }))
    } else {
        Err(EdgeError::HandleNotFound)
    }
}
