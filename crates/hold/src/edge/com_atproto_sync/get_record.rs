//! `com.atproto.sync.getRecord`.

use std::sync::Arc;

use atcr_atproto::syntax::{Nsid, RecordKey};
use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::{CAR, require_own};
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;

/// Which record.
#[derive(Debug, Deserialize)]
pub struct Input {
    did: String,
    collection: String,
    rkey: String,
}

/// A CAR that proves what the repository has, or has not, under this key.
pub async fn get_record(
    State(identity): State<Arc<HoldIdentity>>,
    State(repo): State<HoldRepo>,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Response, EdgeError> {
    require_own(&identity, &input.did)?;
    let malformed = |error| EdgeError::InvalidRequest {
        message: format!("{error}"),
    };
    let collection: Nsid = input.collection.parse().map_err(malformed)?;
    let rkey: RecordKey = input.rkey.parse().map_err(malformed)?;
    let car = repo.record_proof(collection.as_str(), rkey.as_str()).await?;
    Ok(([(CONTENT_TYPE, CAR)], car).into_response())
}
