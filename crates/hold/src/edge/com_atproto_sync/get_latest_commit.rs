//! `com.atproto.sync.getLatestCommit`.

use std::sync::Arc;

use atcr_atproto::syntax::Tid;
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::{Input, require_own};
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;

/// The newest commit.
#[derive(Debug, Serialize)]
pub struct Output {
    cid: String,
    rev: Tid,
}

/// The repository's newest commit.
pub async fn get_latest_commit(
    State(identity): State<Arc<HoldIdentity>>,
    State(repo): State<HoldRepo>,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Json<Output>, EdgeError> {
    require_own(&identity, &input.did)?;
    let commit = repo.latest_commit();
    Ok(Json(Output {
        cid: commit.cid.to_string(),
        rev: commit.rev,
    }))
}
