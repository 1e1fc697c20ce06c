//! `com.atproto.repo.listRecords`.

use std::sync::Arc;

use atcr_atproto::syntax::AtUri;
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::require_own;
use super::write::collection;
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 100;

/// Which records.
#[derive(Debug, Deserialize)]
pub struct Input {
    repo: String,
    collection: String,
    limit: Option<usize>,
    cursor: Option<String>,
    #[serde(default)]
    reverse: bool,
}

/// A page of them.
#[derive(Debug, Serialize)]
pub struct Output {
    records: Vec<Record>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// A record.
#[derive(Debug, Serialize)]
pub struct Record {
    uri: AtUri,
    cid: String,
    value: Value,
}

/// A page of a collection: the greatest keys first, as PDSes do it, or the smallest with `reverse`.
pub async fn list_records(
    State(identity): State<Arc<HoldIdentity>>,
    State(repo): State<HoldRepo>,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Json<Output>, EdgeError> {
    require_own(&identity, &input.repo)?;
    let collection = collection(&input.collection)?;
    let limit = input.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let page = repo
        .list_records(collection.as_str(), limit, input.cursor.as_deref(), input.reverse)
        .await?;
    let records = page.records.into_iter().map(|record| Record {
        uri: record.uri,
        cid: record.cid.to_string(),
        value: record.value,
    });
    Ok(Json(Output {
        records: records.collect(),
        cursor: page.cursor,
    }))
}
