//! `com.atproto.sync.getRepoStatus`.

use std::sync::Arc;

use atcr_atproto::syntax::{Did, Tid};
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::{Input, require_own};
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;

/// The state of the repository.
#[derive(Debug, Serialize)]
pub struct Output {
    did: Did,
    active: bool,
    rev: Tid,
}

/// The repository is active as long as the hold answers.
pub async fn get_repo_status(
    State(identity): State<Arc<HoldIdentity>>,
    State(repo): State<HoldRepo>,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Json<Output>, EdgeError> {
    require_own(&identity, &input.did)?;
    Ok(Json(Output {
        did: identity.did().clone(),
        active: true,
        rev: repo.latest_commit().rev,
    }))
}
