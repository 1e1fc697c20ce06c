//! `com.atproto.repo.getRecord`.

use std::sync::Arc;

use atcr_atproto::syntax::AtUri;
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::require_own;
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;

/// Which record; with `cid`, only that version of it.
#[derive(Debug, Deserialize)]
pub struct Input {
    repo: String,
    collection: String,
    rkey: String,
    cid: Option<String>,
}

/// A record.
#[derive(Debug, Serialize)]
pub struct Output {
    uri: AtUri,
    cid: String,
    value: Value,
}

/// One record of the hold.
pub async fn get_record(
    State(identity): State<Arc<HoldIdentity>>,
    State(repo): State<HoldRepo>,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Json<Output>, EdgeError> {
    require_own(&identity, &input.repo)?;
    let record = repo
        .get_record(&input.collection, &input.rkey)
        .await?
        .ok_or(EdgeError::RecordNotFound)?;
    let cid = record.cid.to_string();
    if input.cid.is_some_and(|wanted| wanted != cid) {
        return Err(EdgeError::RecordNotFound);
    }
    Ok(Json(Output {
        uri: record.uri,
        cid,
        value: record.value,
    }))
}
