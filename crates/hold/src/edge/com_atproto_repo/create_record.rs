//! `com.atproto.repo.createRecord`.

use std::sync::Arc;

use atcr_hold_pds::identity::HoldIdentity;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::require_own;
use super::write::{WrittenRecord, collection, rkey, swap};
use crate::administration::{Administration, Expected};
use crate::edge::auth::CrewAdministrator;
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcJson;

/// The new record. `validate` is ignored: everything is validated.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    repo: String,
    collection: String,
    rkey: Option<String>,
    record: Value,
    swap_commit: Option<String>,
}

/// Makes an account crew.
pub async fn create_record(
    State(identity): State<Arc<HoldIdentity>>,
    State(administration): State<Administration>,
    CrewAdministrator(grant): CrewAdministrator,
    XrpcJson(input): XrpcJson<Input>,
) -> Result<Json<WrittenRecord>, EdgeError> {
    require_own(&identity, &input.repo)?;
    let collection = collection(&input.collection)?;
    let rkey = input.rkey.as_deref().map(rkey).transpose()?;
    let swap = swap(input.swap_commit.as_deref(), Expected::Anything)?;
    let outcome = administration
        .create(&grant, &collection, rkey, input.record, swap)
        .await?;
    Ok(Json(WrittenRecord::of(outcome)?))
}
