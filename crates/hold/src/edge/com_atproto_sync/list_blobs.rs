//! `com.atproto.sync.listBlobs`.

use std::sync::Arc;

use atcr_atproto::syntax::CidString;
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::{require_own, revision};
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;

const DEFAULT_LIMIT: usize = 500;
const MAX_LIMIT: usize = 1000;

/// Whose blobs, from where on, and of records from which revision on.
#[derive(Debug, Deserialize)]
pub struct Input {
    did: String,
    since: Option<String>,
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

/// A page of the blobs that records refer to, in the order of their names. With `since` a page may have fewer than were asked for,
/// and others after it all the same.
pub async fn list_blobs(
    State(identity): State<Arc<HoldIdentity>>,
    State(repo): State<HoldRepo>,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Json<Output>, EdgeError> {
    require_own(&identity, &input.did)?;
    let since = revision(input.since.as_deref())?;
    let limit = input.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let mut cids = repo.referenced_blobs(limit, input.cursor.as_deref()).await?;
    let is_full = cids.len() == limit;
    let cursor = cids.last().filter(|_| is_full).map(ToString::to_string);
    if let Some(since) = since {
        cids = repo.blobs_since(cids, &since).await?;
    }
    Ok(Json(Output {
        cursor,
        cids: cids.into_iter().map(CidString::from).collect(),
    }))
}
