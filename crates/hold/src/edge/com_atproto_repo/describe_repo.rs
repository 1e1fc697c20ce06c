//! `com.atproto.repo.describeRepo`.

use std::sync::Arc;

use atcr_atproto::syntax::Did;
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::require_own;
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;

/// Which repository.
#[derive(Debug, Deserialize)]
pub struct Input {
    repo: String,
}

/// What it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    handle: String,
    did: Did,
    did_doc: Value,
    collections: Vec<String>,
    handle_is_correct: bool,
}

/// A description of the hold's repository. The handle is always correct, since it is the host that answers.
pub async fn describe_repo(
    State(identity): State<Arc<HoldIdentity>>,
    State(repo): State<HoldRepo>,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Json<Output>, EdgeError> {
    require_own(&identity, &input.repo)?;
    Ok(Json(Output {
        handle: identity.handle().to_owned(),
        did: identity.did().clone(),
        did_doc: identity.document(),
        collections: repo.collections().await?,
        handle_is_correct: true,
    }))
}
