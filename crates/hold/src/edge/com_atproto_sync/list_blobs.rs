//! `com.atproto.sync.listBlobs`.

use std::sync::Arc;

use atcr_atproto::syntax::CidString;
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::require_own;
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;

const DEFAULT_LIMIT: usize = 500;
const MAX_LIMIT: usize = 1000;

/// Whose blobs, and from where on. `since` has no effect: all blobs are listed, and a caller knows those it has by their names.
#[derive(Debug, Deserialize)]
pub struct Input {
    did: String,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Some of them.
#[derive(Debug, Serialize)]
pub struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    cids: Vec<CidString>,
}

/// A page of the blobs that records refer to, in the order of their names.
pub async fn list_blobs(
    State(identity): State<Arc<HoldIdentity>>,
    State(repo): State<HoldRepo>,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Json<Output>, EdgeError> {
    require_own(&identity, &input.did)?;
    let limit = input.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let cids = repo.referenced_blobs(limit, input.cursor.as_deref()).await?;
    let is_full = cids.len() == limit;
    Ok(Json(Output {
        cursor: cids.last().filter(|_| is_full).map(ToString::to_string),
        cids: cids.into_iter().map(CidString::from).collect(),
    }))
}
